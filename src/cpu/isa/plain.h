// What all instruction-set files share outside their own namespaces: only macros, types, and what
// is always inlined; nothing that could be emitted as a function.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/exp_below_0.h"
#include "cpu/kernels.h"
#include "model/blocks.h"

// Vectors cross no function call, so that no calling convention for them matters and nothing is
// left to the inliner's taste.
#define ANSER_INLINE inline __attribute__((always_inline))
#define ANSER_INLINE_LAMBDA __attribute__((always_inline))

// Loops over registers are unrolled whole; else an array of accumulators lives in memory.
#if defined(__clang__)
#define ANSER_UNROLL _Pragma("unroll")
#else
#define ANSER_UNROLL _Pragma("GCC unroll 16")
#endif

// Says that `sum`, a vector, is read and changed here, by an instruction that there is not.
// Additions of integers may be reordered, and both g++ 12 and clang 14 do so in a tile of sums:
// they form all products of a block first, store each on the stack, and add them up afterwards.
// Behind this they cannot; sums stay in registers, and no bit changes (tools/check_spills.py counts
// the stores).
#if defined(__x86_64__)
#define ANSER_KEEP_IN_REGISTER(sum) asm("" : "+x"(sum))
#define ANSER_KEEP_IN_REGISTER_512(sum) asm("" : "+v"(sum))
#elif defined(__aarch64__)
#define ANSER_KEEP_IN_REGISTER(sum) asm("" : "+w"(sum))
#else
#define ANSER_KEEP_IN_REGISTER(sum)
#endif

namespace anser {

// Elements of a vector of the kernels' texts, whatever the register width.
constexpr int kLanes = 16;

typedef uint8_t U8x16 __attribute__((vector_size(16)));
typedef uint32_t U32x4 __attribute__((vector_size(16)));
typedef int8_t I8x16 __attribute__((vector_size(16)));

// Element types of half width, so that loads can be overloaded on them.
struct F16 {
  uint16_t bits;
};
struct Bf16 {
  uint16_t bits;
};

}  // namespace anser
