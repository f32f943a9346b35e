// The kernel table of NEON with matrix products of bytes: the shared texts with its registers.
#include <arm_neon.h>

#include "cpu/isa/plain.h"

namespace anser {
namespace {

#include "cpu/isa/simd_neon.h"

#define ANSER_DOTPROD 1
#define ANSER_I8MM 1
#define ANSER_INTEGERS "cpu/isa/integers_neon.h"
#include "cpu/isa/table-inl.h"

constexpr Kernels kTable = make_table("i8mm", true);

}  // namespace

const Kernels kI8mmKernels = kTable;

}  // namespace anser
