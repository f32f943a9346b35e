// Rows of fp32 to any weight type that anser writes: the other direction of dequantize.h.
//
// Q8_0 rounds to nearest. The types of 4 to 6 bits look for the scales with the least squared
// error: candidates around the scale that just covers the largest weight, each followed by the
// least-squares scale of the codes it gives; then the scales are rounded to what the type stores
// and the codes made again. The plain scales are always among the candidates. All weights count the
// same: weighting errors by the size of the weight, or by the norm in front of the matrix, changed
// the divergence of a trained model by no more than its noise.
//
// Deterministic: a block depends on its own weights only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace anser {

// F32, F16, BF16, Q8_0, Q4_0, Q5_0, Q4_K, Q5_K, Q6_K.
bool can_quantize_to(DType type);

// The largest magnitude that quantize_row takes. fp16 ends at 65504, and so do the types whose
// scales are fp16 (they could hold some more, but no weight is that large).
float largest_weight(DType type);

// n elements, a multiple of block_elements(type), finite and not beyond largest_weight(type).
void quantize_row(DType type, const float* from, int64_t n, std::byte* to);

}  // namespace anser
