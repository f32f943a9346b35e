// Rows of any weight type to fp32, one element at a time: for the vectors of a model at load, and
// the truth that the kernels are tested against. The fast way is Kernels::widen.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace anser {

// n elements, a multiple of block_elements(type); type < kMatrixTypes. Needs no alignment.
//
// Every product below is exact in fp32 (an 11-bit scale, at most 8 bits of sub-scale and 8 of
// value, never more than 24 together), so the only rounding is that of the final sum in the types
// that have a minimum. Any order of evaluation, fused or not, gives the same bits.
void dequantize_row(DType type, const std::byte* from, int64_t n, float* to);

}  // namespace anser
