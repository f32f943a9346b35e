// A matrix of any type in the layout that the device reads, still in host memory.
#pragma once

#include <cstddef>

#include "base/thread_pool.h"
#include "cuda/device_matrix.h"
#include "model/weights.h"

namespace anser {

// Format and sizes; the pointers are offsets from the matrix' beginning. `bytes`: of everything.
struct EncodedLayout {
  cuda::DeviceMatrix matrix;
  size_t scales_at = 0, minima_at = 0, bytes = 0;
};
// `across`: lines are inputs (DeviceMatrix::transposed).
EncodedLayout encoded_layout(const Matrix& W, bool across);

// Writes layout.bytes bytes.
void encode(const Matrix& W, const EncodedLayout& layout, std::byte* to, ThreadPool& pool);

}  // namespace anser
