// The baseline kernel table, for any machine of the architecture: the shared texts with its
// registers.
#include "cpu/isa/plain.h"

namespace anser {
namespace {

#include "cpu/isa/simd_baseline.h"

#define ANSER_INTEGERS "cpu/isa/integers_plain.h"
#include "cpu/isa/table-inl.h"

constexpr Kernels kTable = make_table("baseline", false);

}  // namespace

const Kernels kBaselineKernels = kTable;

}  // namespace anser
