// A group of matrix products on tensor cores, for more rows than gemv.h serves and as many as still
// leave the weights' bytes the cost: every weight is read once for up to 32 rows and becomes f16 or
// bf16 in registers, whatever it was.
//
// A warp computes 16 outputs for all rows over a quarter of the inputs: of every four units of 64
// inputs the one that is its part. The four warps that share outputs add up in one order. How many
// outputs a block has, and how many rows a step, changes no bit of a result.
//
// The inputs of a product can be taken in any order, if weights and activations are taken in the
// same. A lane of a quad takes eight neighbours of 32 inputs, 16 bytes of f16, and these are its
// columns of two tiles: nothing needs to be rearranged, and no weight goes through shared memory.
//
//   inputs of a row       0 .. 7    8 .. 15   16 .. 23  24 .. 31
//   lane of the quad      0         1         2         3
//   tile and its columns  first: 2t, 2t+1, 2t+8, 2t+9; then the same of the second
#pragma once

#include "cuda/kernels/block.h"
#include "cuda/kernels/octet.h"
#include "cuda/kernels/shares.h"

namespace anser::cuda {

constexpr int kTileParts = 4;  // warps that share outputs
constexpr int kTileOutputs = 16;
constexpr int kTileRows = 8;  // of one column of tiles; a kernel has kTiles of them
constexpr int kUnitOctets = 8;
// Units whose weights are on their way; of wide weights one, for there are not registers for more.
template <class O>
constexpr int units_ahead() {
  return sizeof(O) > 16 ? 1 : 2;
}
constexpr int kMostTileWarps = 16;

// Numbers from one row of sums to the next: four more than outputs, so that the lanes of a tile
// reach different banks.
constexpr int tile_sum_pitch(int outputs) {
  return outputs + 4;
}

// Calls add(first) in the parts' order, a part's warps together: sums are the same in every run.
template <class Add>
__device__ void in_turns(int part, Add add) {
  for (int turn = 0; turn < kTileParts; ++turn) {
    if (turn == part) add(turn == 0);
    block_sync();
  }
}

// sums [kTiles * kTileRows][pitch]; `column_of(i)` is the column of element i of a tile.
template <int kTiles, class ColumnOf>
__device__ void add_tiles(const float (&sum)[kTiles][4], bool first, float* sums, int pitch,
                          ColumnOf column_of) {
  const int t = int(threadIdx.x) % 4;
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float& to = sums[(j * kTileRows + 2 * t + i % 2) * pitch + column_of(i)];
      to = first ? sum[j][i] : to + sum[j][i];
    }
  }
}

// The units after those that are on their way already, of 16 outputs: a line of the level 2 cache
// holds one or more of an output.
constexpr int kPrefetchedUnits = 4;
template <class O>
__device__ void prefetch_units(const DeviceMatrix& W, int first_output, int part, int units) {
  const int lane = int(threadIdx.x) % kWarp;
  for (int i = lane; i < kTileOutputs * kPrefetchedUnits; i += kWarp) {
    const int output = first_output + i % kTileOutputs;
    const int unit = part + (units_ahead<O>() + i / kTileOutputs) * kTileParts;
    if (output >= W.rows || unit >= units) continue;
    const int64_t number = int64_t(output) * W.stride + unit * 8 * kUnitOctets;
    prefetch(static_cast<const char*>(W.codes) + number * bits_of(W.format) / 8);
  }
}

template <Format F, int kTiles, class O>
__device__ void multiply_tiles(const TileSegment& segment, int first_output, int first_row,
                               int rows, int part, float (&sum)[kTiles][4], O) {
  const DeviceMatrix& W = segment.W;
  const int lane = int(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  const int octets = W.stride / 8, units = (octets + kUnitOctets - 1) / kUnitOctets;
  // An output past the end repeats the last; its sum goes nowhere.
  const auto line = [&](int half) {
    const int output = first_output + g + 8 * half;
    return output < W.rows ? output : W.rows - 1;
  };

  constexpr int kAhead = units_ahead<O>();
  O ahead[kAhead][2][2];  // [][32 inputs][half of the 16 outputs]
  const auto load = [&](O(&to)[2][2], int unit) {
#pragma unroll
    for (int b = 0; b < 2; ++b) {
      const int octet = unit * kUnitOctets + 4 * b + t;
      for (int half = 0; half < 2; ++half) {
        to[b][half].load(W, line(half), octet < octets ? octet : octets - 1);
      }
    }
  };
#pragma unroll
  for (int a = 0; a < kAhead; ++a) {
    if (part + a * kTileParts < units) load(ahead[a], part + a * kTileParts);
  }
  prefetch_units<O>(W, first_output, part, units);
  await_predecessors();

  const auto* x = static_cast<const uint4*>(segment.x);  // [rows][octets]
  for (int base = part; base < units; base += kAhead * kTileParts) {
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const int unit = base + a * kTileParts;
      if (unit >= units) break;
      uint32_t w[2][2][4];
#pragma unroll
      for (int b = 0; b < 2; ++b) {
        ahead[a][b][0].template pairs<F>(w[b][0]);
        ahead[a][b][1].template pairs<F>(w[b][1]);
      }
      const int next = unit + kAhead * kTileParts;
      if (next < units) load(ahead[a], next);
#pragma unroll
      for (int b = 0; b < 2; ++b) {
        const int octet = unit * kUnitOctets + 4 * b + t;
#pragma unroll
        for (int j = 0; j < kTiles; ++j) {
          const int row = first_row + j * kTileRows + g;
          uint4 v = {0, 0, 0, 0};
          if (octet < octets && row < rows) v = x[int64_t(row) * octets + octet];
          const uint32_t(&low)[4] = w[b][0], (&high)[4] = w[b][1];
          mma<F>(sum[j], {low[0], high[0], low[1], high[1]}, {v.x, v.y});
          mma<F>(sum[j], {low[2], high[2], low[3], high[3]}, {v.z, v.w});
        }
      }
    }
  }
}

// grid [outputs of all segments][groups of kTiles * kTileRows rows]; blocks of kTileParts warps, or
// two or four times as many, for every 16 outputs. Shared: sums [rows][tile_sum_pitch].
template <Format F, int kTiles>
__global__ void __launch_bounds__(kMostTileWarps* kWarp) tiles_kernel(TilesArgs args) {
  const int warp = int(threadIdx.x) / kWarp, g = int(threadIdx.x) % kWarp / 4;
  const int part = warp % kTileParts, tile = warp / kTileParts;
  const int outputs = int(blockDim.x) / (kTileParts * kWarp) * kTileOutputs;
  admit_successor();
  int s = 0;
  while (s + 1 < args.count && int(blockIdx.x) >= args.segments[s + 1].first_block) ++s;
  const TileSegment& segment = args.segments[s];
  const int first_output = (int(blockIdx.x) - segment.first_block) * outputs;
  const int first_row = int(blockIdx.y) * kTiles * kTileRows;

  float sum[kTiles][4] = {};
  with_octet<false>(segment.W.format, [&](auto octet) {
    multiply_tiles<F>(segment, first_output + tile * kTileOutputs, first_row, args.rows, part, sum,
                      octet);
  });
  float* sums = shared_floats();
  const int pitch = tile_sum_pitch(outputs);
  in_turns(part, [&](bool first) {
    add_tiles(sum, first, sums, pitch, [&](int i) { return tile * kTileOutputs + g + i / 2 * 8; });
  });

  const int height = segment.W.rows, padded = padded_to_octets(height);
  for (int at = int(threadIdx.x); at < outputs * kTiles * kTileRows; at += int(blockDim.x)) {
    const int output = first_output + at % outputs, row = first_row + at / outputs;
    if (row >= args.rows) break;
    const float y = apply_epilogue(segment.epilogue, sums[at / outputs * pitch + at % outputs]);
    if (segment.halves) {
      if (output < padded) {
        static_cast<uint16_t*>(segment.y)[int64_t(row) * padded + output] =
            output < height ? to_half<F>(y * segment.scale) : uint16_t(0);
      }
    } else if (output < height) {
      float* to = static_cast<float*>(segment.y) + int64_t(row) * height + output;
      *to = segment.epilogue == Epilogue::add ? *to + y : y;
    }
  }
}

// x += scale W h with W transposed, a line of outputs for every input, as contract.h's sparse form
// wants it. A warp has 64 outputs and takes 16 lines at a time, four a lane, eight neighbouring
// outputs of each; pairs of lines are what tiles hold, so two words exchange halves. Of the eight
// outputs of a lane, two each make the rows g and g + 8 of four tiles.
constexpr int kAcrossOutputs = 64;
constexpr int kAcrossLines = 16;

template <Format F, int kTiles, class O>
__device__ void multiply_lines(const LinesArgs& args, int first_output, int first_row, int first,
                               int end, int part, float (&sum)[4][kTiles][4], O) {
  const DeviceMatrix& W = args.W;
  const int lane = int(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  const int octets = W.stride / 8, pitch = padded_to_octets(W.cols);
  int octet = first_output / 8 + g;
  if (octet >= octets) octet = octets - 1;

  constexpr int kAhead = units_ahead<O>();
  O ahead[kAhead][4];
  const auto load = [&](O(&to)[4], int from) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int line = from + 4 * t + i;
      to[i].load(W, line < end ? line : end - 1, octet);
    }
  };
  constexpr int kStep = kAcrossLines * kTileParts;
  const int begin = first + part * kAcrossLines;
#pragma unroll
  for (int a = 0; a < kAhead; ++a) {
    if (begin + a * kStep < end) load(ahead[a], begin + a * kStep);
  }
  await_predecessors();

  const auto* h = static_cast<const uint16_t*>(args.h);
  for (int base = begin; base < end; base += kAhead * kStep) {
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const int from = base + a * kStep;
      if (from >= end) break;
      uint32_t w[4][4];
#pragma unroll
      for (int i = 0; i < 4; ++i) ahead[a][i].template pairs<F>(w[i]);
      if (from + kAhead * kStep < end) load(ahead[a], from + kAhead * kStep);
      const int line = from + 4 * t;
#pragma unroll
      for (int j = 0; j < kTiles; ++j) {
        const int row = first_row + j * kTileRows + g;
        // h is zero behind its end, up to whole octets.
        uint2 v = {0, 0};
        if (line < end && row < args.rows) {
          v = *reinterpret_cast<const uint2*>(h + int64_t(row) * pitch + line);
        }
#pragma unroll
        for (int m = 0; m < 4; ++m) {
          mma<F>(sum[m][j],
                 {pick_bytes(w[0][m], w[1][m], 0x5410), pick_bytes(w[0][m], w[1][m], 0x7632),
                  pick_bytes(w[2][m], w[3][m], 0x5410), pick_bytes(w[2][m], w[3][m], 0x7632)},
                 {v.x, v.y});
        }
      }
    }
  }
}

// grid [outputs / 64][shares of lines][groups of rows]
template <Format F, int kTiles>
__global__ void __launch_bounds__(kTileParts* kWarp) lines_kernel(LinesArgs args) {
  constexpr int kRows = kTiles * kTileRows;
  constexpr int kPitch = tile_sum_pitch(kAcrossOutputs);
  __shared__ float sums[kRows * kPitch];
  const int part = int(threadIdx.x) / kWarp, g = int(threadIdx.x) % kWarp / 4;
  const int D = args.W.rows, F_ = args.W.cols;
  const int first_output = int(blockIdx.x) * kAcrossOutputs;
  const int first_row = int(blockIdx.z) * kRows;
  const int first_line = int(blockIdx.y) * kShareLines;
  const int end = first_line + kShareLines < F_ ? first_line + kShareLines : F_;
  admit_successor();

  float sum[4][kTiles][4] = {};
  with_octet<true>(args.W.format, [&](auto octet) {
    multiply_lines<F>(args, first_output, first_row, first_line, end, part, sum, octet);
  });
  in_turns(part, [&](bool first_part) {
#pragma unroll
    for (int m = 0; m < 4; ++m) {
      add_tiles(sum[m], first_part, sums, kPitch, [&](int i) { return 8 * g + 2 * m + i / 2; });
    }
  });
  const int rows = args.rows - first_row < kRows ? args.rows - first_row : kRows;
  const int columns = D - first_output < kAcrossOutputs ? D - first_output : kAcrossOutputs;
  if (blockIdx.y == 0 && blockIdx.z == 0) {
    store_shift(args.step, args.shift_offset, args.z, D, first_output, first_output + columns,
                int(threadIdx.x), int(blockDim.x));
  }
  add_up_shares(
      args.shares, {first_row, rows, first_output, columns, args.rows, D},
      [&](int i, int c) { return sums[i * kPitch + c] * args.scale; }, args.x);
}

}  // namespace anser::cuda
