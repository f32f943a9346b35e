// The kernel table of AVX-512 with VNNI, its integer dot products: the shared texts with its
// registers.

// g++ 12 warns of its own header: an "undefined" operand there is a variable set to itself.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include "cpu/isa/plain.h"

namespace anser {
namespace {

#include "cpu/isa/simd_avx512.h"

#define ANSER_INTEGERS "cpu/isa/integers_vnni.h"
#include "cpu/isa/table-inl.h"

constexpr Kernels kTable = make_table("avx512vnni", true);

}  // namespace

const Kernels kAvx512VnniKernels = kTable;

}  // namespace anser
