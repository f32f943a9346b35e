// x += value h for few rows, reading only what is multiplied by something other than zero.
//
// `value` lies transposed, a line of D weights for every h. A block has 64 columns of D and a share
// of the lines; eight lanes take every 32nd of them, eight columns each, and pass over those whose
// h is zero in all of its rows. Who takes a line does not depend on the others, so a row's sum does
// not depend on the rows beside it. The sums go to `partial`, and the last block of a column range
// to arrive adds them up in the order of the shares: the same bits whoever comes last.
#pragma once

#include "cuda/kernels/block.h"
#include "cuda/kernels/octet.h"

namespace anser::cuda {

constexpr int kContractThreads = 256;
constexpr int kContractColumns = 64;
constexpr int kContractRows = 4;
constexpr int kContractLines = 1024;  // of h, a block's share
constexpr int kColumnLanes = kContractColumns / 8;
constexpr int kLineGroups = kContractThreads / kColumnLanes;
static_assert(kLineGroups == kWarp, "a bit of a word for every group");

// Which of the lines first to first + count have something to be multiplied with: bit l % 32 of
// word l / 32 says it of line first + l.
__device__ inline void mark_nonzero(const ContractArgs& args, int first_row, int rows, int first,
                                    int count, uint32_t* used_lines, unsigned long long& numbers) {
  for (int line = int(threadIdx.x); line < kContractLines; line += kContractThreads) {
    bool used = false;
    for (int i = 0; i < rows && line < count; ++i) {
      const bool nonzero = args.h[int64_t(first_row + i) * args.value.cols + first + line] != 0;
      numbers += nonzero;
      used |= nonzero;
    }
    const uint32_t bits = ballot(used);
    if (threadIdx.x % kWarp == 0) used_lines[line / kWarp] = bits;
  }
  block_sync();
}

template <int kRows, class O>
__device__ void contract_lines(const ContractArgs& args, int first_row, int rows, int first_line,
                               const uint32_t* used_lines, float* sums, O) {
  const int lane = int(threadIdx.x) % kColumnLanes, group = int(threadIdx.x) / kColumnLanes;
  const int octet = int(blockIdx.x) * kColumnLanes + lane;
  float sum[kRows][8] = {};
  if (8 * octet < args.value.stride) {
#pragma unroll 4
    for (int word = 0; word < kContractLines / kWarp; ++word) {
      if ((used_lines[word] >> group & 1) == 0) continue;
      const int line = first_line + word * kWarp + group;
      O weights;
      weights.load(args.value, line, octet);
      float w[8];
      weights.widen(w);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        if (i >= rows) break;
        const float h = args.h[int64_t(first_row + i) * args.value.cols + line];
#pragma unroll
        for (int j = 0; j < 8; ++j) sum[i][j] = fmaf(w[j], h, sum[i][j]);
      }
    }
  }
  // [group][row][column]
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < 8; ++j) {
      sums[(group * kRows + i) * kContractColumns + 8 * lane + j] = sum[i][j];
    }
  }
}

// grid [column ranges][shares of lines][groups of rows]
template <int kRows>
__global__ void __launch_bounds__(kContractThreads) contract_kernel(ContractArgs args) {
  __shared__ float sums[kLineGroups * kRows * kContractColumns];
  __shared__ uint32_t used_lines[kContractLines / kWarp];
  __shared__ unsigned before;
  const int D = args.value.rows, F = args.value.cols;
  const int first_row = int(blockIdx.z) * kRows;
  const int rows = args.rows - first_row < kRows ? args.rows - first_row : kRows;
  const int first_line = int(blockIdx.y) * kContractLines;
  const int lines = F - first_line < kContractLines ? F - first_line : kContractLines;
  const int first_column = int(blockIdx.x) * kContractColumns;
  const int columns = D - first_column < kContractColumns ? D - first_column : kContractColumns;
  admit_successor();
  await_predecessors();

  unsigned long long numbers = 0;
  mark_nonzero(args, first_row, rows, first_line, lines, used_lines, numbers);
  if (blockIdx.x == 0 && numbers > 0) atomic_add(args.nonzero, numbers);
  with_octet<true>(args.value.format, [&](auto octet) {
    contract_lines<kRows>(args, first_row, rows, first_line, used_lines, sums, octet);
  });
  block_sync();
  const auto partial_of = [&](int share, int i) {
    return args.partial + (int64_t(share) * args.rows + first_row + i) * D + first_column;
  };
  for (int at = int(threadIdx.x); at < rows * columns; at += kContractThreads) {
    const int i = at / columns, c = at % columns;
    float sum = 0;
    for (int g = 0; g < kLineGroups; ++g) sum += sums[(g * kRows + i) * kContractColumns + c];
    partial_of(int(blockIdx.y), i)[c] = sum;
  }
  if (blockIdx.y == 0 && blockIdx.z == 0) {
    store_shift(args.step, args.shift_offset, args.z, D, first_column, first_column + columns,
                int(threadIdx.x), kContractThreads);
  }

  // Every thread's sums are out before the block counts itself as arrived.
  grid_fence();
  block_sync();
  unsigned* arrived = args.arrived + blockIdx.z * gridDim.x + blockIdx.x;
  if (threadIdx.x == 0) before = atomic_add(arrived, 1u);
  block_sync();
  if (before != gridDim.y - 1) return;
  grid_fence();
  for (int at = int(threadIdx.x); at < rows * columns; at += kContractThreads) {
    const int i = at / columns, c = at % columns;
    float sum = 0;
    for (int share = 0; share < int(gridDim.y); ++share) {
      // Not through the level 1 cache, which may have older numbers.
      sum += *static_cast<volatile float*>(partial_of(share, i) + c);
    }
    args.x[int64_t(first_row + i) * D + first_column + c] += sum;
  }
  if (threadIdx.x == 0) *arrived = 0;
}

}  // namespace anser::cuda
