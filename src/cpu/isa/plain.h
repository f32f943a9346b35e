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
