// The kernel table of AVX2: the shared texts with its registers.
#include <immintrin.h>

#include "cpu/isa/plain.h"

namespace anser {
namespace {

#include "cpu/isa/simd_avx2.h"

#define ANSER_512 0
#define ANSER_INTEGERS "cpu/isa/integers_x86.h"
#include "cpu/isa/table-inl.h"

constexpr Kernels kTable = make_table("avx2", true);

}  // namespace

const Kernels kAvx2Kernels = kTable;

}  // namespace anser
