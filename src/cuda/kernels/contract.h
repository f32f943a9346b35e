// x += value h for few rows, reading only what is multiplied by something other than zero.
//
// `value` lies transposed, a line of D weights for every h. A block has 64 columns of D and a share
// of the lines; eight lanes take every 32nd of them, eight columns each, and pass over those whose
// h is zero in all of its rows. Who takes a line does not depend on the others, so a row's sum does
// not depend on the rows beside it.
#pragma once

#include "cuda/kernels/block.h"
#include "cuda/kernels/octet.h"
#include "cuda/kernels/shares.h"

namespace anser::cuda {

constexpr int kContractThreads = 256;
constexpr int kContractColumns = 64;
constexpr int kContractRows = 4;
constexpr int kColumnLanes = kContractColumns / 8;
constexpr int kLineGroups = kContractThreads / kColumnLanes;
static_assert(kLineGroups == kWarp, "a bit of a word for every group");
static_assert(kShareLines == kWarp * kWarp,
              "a word for every lane, a bit of a mask for every word");
constexpr int kTogether = 4;  // lines whose weights a thread asks for at once

// Which of the lines first to first + count have something to be multiplied with: bit l % 32 of
// word l / 32 says it of line first + l.
__device__ inline void mark_nonzero(const ContractArgs& args, int first_row, int rows, int first,
                                    int count, uint32_t* used_lines, unsigned long long& numbers) {
  constexpr int kLines = kShareLines / kContractThreads;  // a thread's
  bool used[kLines] = {};
  for (int i = 0; i < rows; ++i) {
    float h[kLines];
#pragma unroll
    for (int l = 0; l < kLines; ++l) {
      const int line = int(threadIdx.x) + l * kContractThreads;
      h[l] = line < count ? args.h[int64_t(first_row + i) * args.value.cols + first + line] : 0;
    }
#pragma unroll
    for (int l = 0; l < kLines; ++l) {
      numbers += h[l] != 0;
      used[l] |= h[l] != 0;
    }
  }
#pragma unroll
  for (int l = 0; l < kLines; ++l) {
    const uint32_t bits = ballot(used[l]);
    const int line = int(threadIdx.x) + l * kContractThreads;
    if (threadIdx.x % kWarp == 0) used_lines[line / kWarp] = bits;
  }
  block_sync();
}

// Bit w: line 32 w + group of the share is used. Whole warps.
__device__ inline uint32_t lines_of_group(const uint32_t* used_lines) {
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  constexpr int kGroups = kWarp / kColumnLanes;  // of a warp
  const uint32_t word = used_lines[lane];
  uint32_t mine = 0;
#pragma unroll
  for (int i = 0; i < kGroups; ++i) {
    const uint32_t lines = ballot(word >> (warp * kGroups + i) & 1);
    if (lane / kColumnLanes == i) mine = lines;
  }
  return mine;
}

template <int kRows, class O>
__device__ void contract_lines(const ContractArgs& args, int first_row, int rows, int first_line,
                               const uint32_t* used_lines, float* sums, O) {
  const int lane = int(threadIdx.x) % kColumnLanes, group = int(threadIdx.x) / kColumnLanes;
  const int octet = int(blockIdx.x) * kColumnLanes + lane;
  uint32_t left = lines_of_group(used_lines);
  if (8 * octet >= args.value.stride) left = 0;
  float sum[kRows][8] = {};
  while (left != 0) {
    O weights[kTogether];
    int line[kTogether];
#pragma unroll
    for (int b = 0; b < kTogether; ++b) {
      line[b] = -1;
      if (left == 0) continue;
      line[b] = first_line + lowest_bit(left) * kWarp + group;
      left &= left - 1;
      weights[b].load(args.value, line[b], octet);
    }
#pragma unroll
    for (int b = 0; b < kTogether; ++b) {
      if (line[b] < 0) continue;
      float w[8];
      weights[b].widen(w);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        if (i >= rows) break;
        const float h = args.h[int64_t(first_row + i) * args.value.cols + line[b]];
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
  __shared__ uint32_t used_lines[kShareLines / kWarp];
  const int D = args.value.rows, F = args.value.cols;
  const int first_row = int(blockIdx.z) * kRows;
  const int rows = args.rows - first_row < kRows ? args.rows - first_row : kRows;
  const int first_line = int(blockIdx.y) * kShareLines;
  const int lines = F - first_line < kShareLines ? F - first_line : kShareLines;
  const int first_column = int(blockIdx.x) * kContractColumns;
  const int columns = D - first_column < kContractColumns ? D - first_column : kContractColumns;
  admit_successor();
  await_predecessors();

  unsigned long long numbers = 0;
  mark_nonzero(args, first_row, rows, first_line, lines, used_lines, numbers);
  if (blockIdx.x == 0) {
    const float of_warp = warp_sum(float(numbers));  // exact: at most 32 x 16
    if (threadIdx.x % kWarp == 0 && of_warp > 0) {
      atomic_add(args.nonzero, static_cast<unsigned long long>(of_warp));
    }
  }
  with_octet<true>(args.value.format, [&](auto octet) {
    contract_lines<kRows>(args, first_row, rows, first_line, used_lines, sums, octet);
  });
  block_sync();
  if (blockIdx.y == 0 && blockIdx.z == 0) {
    store_shift(args.step, args.shift_offset, args.z, D, first_column, first_column + columns,
                int(threadIdx.x), kContractThreads);
  }
  const auto mine = [&](int i, int c) {
    float sum = 0;
    for (int g = 0; g < kLineGroups; ++g) sum += sums[(g * kRows + i) * kContractColumns + c];
    return sum;
  };
  add_up_shares(args.shares, {first_row, rows, first_column, columns, args.rows, D}, mine, args.x);
}

}  // namespace anser::cuda
