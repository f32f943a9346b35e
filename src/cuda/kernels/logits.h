// Logits from where they are computed to where they stay.
#pragma once

#include "cuda/kernels/block.h"

namespace anser::cuda {

constexpr int kDeliverThreads = 256;
constexpr int kDeliverLogits = 4096;  // that a block copies

// grid [slices of a row][rows]. Whoever finds a number that is not finite says so; it does not
// matter who is the last to.
__global__ void __launch_bounds__(kDeliverThreads) deliver_kernel(DeliverArgs args) {
  admit_successor();
  await_predecessors();
  const int row = int(blockIdx.y), begin = int(blockIdx.x) * kDeliverLogits;
  const int end = begin + kDeliverLogits < args.vocab ? begin + kDeliverLogits : args.vocab;
  const float* from = args.from + int64_t(row) * args.vocab;
  float* to = args.to[row];
  bool finite = true;
  float x[kBatch];
  in_batches(
      begin, end, int(threadIdx.x), kDeliverThreads, [&](int j, int i) { x[j] = from[i]; },
      [&](int j, int i) {
        finite = finite && x[j] - x[j] == 0;  // NaN - NaN and inf - inf are NaN
        if (to != nullptr) to[i] = x[j];
      });
  if (!finite) args.not_finite[row] = 1;
}

}  // namespace anser::cuda
