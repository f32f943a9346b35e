// The quantisers of Q4_K, Q5_K and Q6_K; see quantize.h, and blocks.h for where the bits lie.
#pragma once

#include "model/blocks.h"

namespace anser::quantize {

// x [256]
void quantize_block(const float* x, BlockQ4K& to);
void quantize_block(const float* x, BlockQ5K& to);
void quantize_block(const float* x, BlockQ6K& to);

}  // namespace anser::quantize
