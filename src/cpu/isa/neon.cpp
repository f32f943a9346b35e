// The kernel table of NEON, for any aarch64: the shared texts with its registers.
#include <arm_neon.h>

#include "cpu/isa/plain.h"

namespace anser {
namespace {

#include "cpu/isa/simd_neon.h"

#define ANSER_DOTPROD 0
#define ANSER_I8MM 0
#define ANSER_INTEGERS "cpu/isa/integers_neon.h"
#include "cpu/isa/table-inl.h"

constexpr Kernels kTable = make_table("neon", true);

}  // namespace

const Kernels kNeonKernels = kTable;

}  // namespace anser
