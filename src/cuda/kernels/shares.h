// The end of kernels in which several blocks have a share each of the same sums: the shares go to
// memory, and the last block to arrive adds them up in their order: the same bits whoever is last.
#pragma once

#include "cuda/kernels/block.h"

namespace anser::cuda {

constexpr int kShareLines = 1024;  // of the channel mix's h, a block's share

// The part of x [rows][width] that a block has a share of.
struct Patch {
  int first_row, rows, first_column, columns;
  int all_rows, width;
};

// x += the shares of all blocks along gridDim.y; mine(row, column) is this block's, of the patch.
template <class Mine>
__device__ void add_up_shares(const Shares& shares, const Patch& patch, Mine mine, float* x) {
  __shared__ unsigned before;
  const int count = patch.rows * patch.columns;
  const auto partial_of = [&](int share, int i, int c) {
    return shares.partial + (int64_t(share) * patch.all_rows + patch.first_row + i) * patch.width +
           patch.first_column + c;
  };
  for (int at = int(threadIdx.x); at < count; at += int(blockDim.x)) {
    const int i = at / patch.columns, c = at % patch.columns;
    *partial_of(int(blockIdx.y), i, c) = mine(i, c);
  }
  // Every thread's sums are out before the block counts itself as arrived.
  grid_fence();
  block_sync();
  unsigned* arrived = shares.arrived + blockIdx.z * gridDim.x + blockIdx.x;
  if (threadIdx.x == 0) before = atomic_add(arrived, 1u);
  block_sync();
  if (before != gridDim.y - 1) return;
  grid_fence();
  for (int at = int(threadIdx.x); at < count; at += int(blockDim.x)) {
    const int i = at / patch.columns, c = at % patch.columns;
    float* to = x + int64_t(patch.first_row + i) * patch.width + patch.first_column + c;
    const float old = *to;
    float sum = 0;
    for (int first = 0; first < int(gridDim.y); first += kBatch) {
      float part[kBatch];
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        // Not through the level 1 cache, which may have older numbers.
        if (first + j < int(gridDim.y)) {
          part[j] = *static_cast<volatile float*>(partial_of(first + j, i, c));
        }
      }
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        if (first + j < int(gridDim.y)) sum += part[j];
      }
    }
    *to = old + sum;
  }
  if (threadIdx.x == 0) *arrived = 0;
}

}  // namespace anser::cuda
