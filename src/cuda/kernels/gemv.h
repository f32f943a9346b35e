// A group of matrix products for few rows, with the norm and the shift in front of them and the
// activation behind: every weight is read once for up to four rows.
//
// A warp has two outputs; a block of eight warps has sixteen of one matrix and works the input out
// by itself, in shared memory: that costs less than a kernel of its own and a wait. A lane takes
// octet l, l + 32, ... of its outputs' weights. Weights do not depend on what other kernels do, so
// the first of them are asked for before the predecessor has ended.
#pragma once

#include "cuda/kernels/block.h"
#include "cuda/kernels/octet.h"

namespace anser::cuda {

constexpr int kGemvWarps = 8;
constexpr int kGemvThreads = kGemvWarps * kWarp;
constexpr int kWarpOutputs = 2;
constexpr int kGemvOutputs = kGemvWarps * kWarpOutputs;

// The inputs of rows first to first + count, [kRows][padded], split as octets are read.
template <int kRows>
__device__ void prepare_inputs(const GemvArgs& args, const float* mix, int first, int count,
                               float* xs) {
  const int width = args.width, padded = padded_to_octets(width);
  const auto place = [padded](int c) { return split_octets(c, padded); };
  for (int c = width + int(threadIdx.x); c < padded; c += kGemvThreads) {
    for (int i = 0; i < count; ++i) xs[i * padded + place(c)] = 0;
  }
  for (int i = 0; i < count; ++i) {
    const int row = args.row_of != nullptr ? args.row_of[first + i] : first + i;
    const float* x = args.x + int64_t(row) * width;
    if (args.source == Source::plain) {
      for (int c = int(threadIdx.x); c < width; c += kGemvThreads) xs[i * padded + place(c)] = x[c];
    } else {
      layer_norm(x, width, args.norm, xs + i * padded, place);
    }
  }
  if (args.source == Source::shift) {
    // The row before the first, where the first continues a run: once more, for there is no z yet.
    const RunEntry run = args.step.runs[args.step.rows[first].run];
    const bool continues = run.first != first;
    float* before = xs + kRows * padded;
    if (continues) layer_norm(args.x + int64_t(first - 1) * width, width, args.norm, before, place);
    for (int c = int(threadIdx.x); c < width; c += kGemvThreads) {
      // From the last row up: a row's z is needed until its successor has been mixed.
      for (int i = count - 1; i >= 0; --i) {
        const int row = first + i;
        const RunEntry own = args.step.runs[args.step.rows[row].run];
        float* at = xs + i * padded + place(c);
        const float z = *at;
        float previous;
        if (own.first == row) {
          previous = own.state[args.shift_offset + c];
        } else {
          previous = i > 0 ? xs[(i - 1) * padded + place(c)] : before[place(c)];
        }
        if (blockIdx.x == 0) args.z[int64_t(row) * width + c] = z;
        *at = z + (previous - z) * mix[c];
      }
    }
  }
  block_sync();
}

template <int kRows, class O>
__device__ void multiply_outputs(const GemvArgs& args, const GemvSegment& segment, O) {
  const DeviceMatrix& W = segment.W;
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  const int output = (int(blockIdx.x) - segment.first_block) * kGemvOutputs + warp * kWarpOutputs;
  const int octets = W.stride / 8;
  const int first = int(blockIdx.y) * kRows;
  const int count = args.rows - first < kRows ? args.rows - first : kRows;
  float* xs = shared_floats();

  O next[kWarpOutputs];
  const auto load = [&](int octet) {
    for (int o = 0; o < kWarpOutputs; ++o) {
      // An output past the end repeats the last; its sum goes nowhere.
      if (octet < octets) next[o].load(W, output + o < W.rows ? output + o : W.rows - 1, octet);
    }
  };
  load(lane);
  await_predecessors();
  prepare_inputs<kRows>(args, segment.mix, first, count, xs);
  if (output >= W.rows) return;

  const int padded = padded_to_octets(args.width);
  float sum[kWarpOutputs][kRows] = {};
#pragma unroll 2
  for (int octet = lane; octet < octets; octet += kWarp) {
    O now[kWarpOutputs];
    for (int o = 0; o < kWarpOutputs; ++o) now[o] = next[o];
    load(octet + kWarp);
    float w[kWarpOutputs][8];
#pragma unroll
    for (int o = 0; o < kWarpOutputs; ++o) now[o].widen(w[o]);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      if (i >= count) break;
      const float* x = xs + i * padded + 4 * octet;
      float v[8];
      *reinterpret_cast<float4*>(v) = *reinterpret_cast<const float4*>(x);
      *reinterpret_cast<float4*>(v + 4) = *reinterpret_cast<const float4*>(x + padded / 2);
#pragma unroll
      for (int o = 0; o < kWarpOutputs; ++o) {
#pragma unroll
        for (int j = 0; j < 8; ++j) sum[o][i] = fmaf(w[o][j], v[j], sum[o][i]);
      }
    }
  }
#pragma unroll
  for (int o = 0; o < kWarpOutputs; ++o) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      if (i >= count) break;
      const float y = warp_sum(sum[o][i]);
      if (lane != 0 || output + o >= W.rows) continue;
      float* to = segment.y + int64_t(first + i) * W.rows + output + o;
      *to = segment.epilogue == Epilogue::add ? *to + y : apply_epilogue(segment.epilogue, y);
    }
  }
}

template <int kRows>
__global__ void __launch_bounds__(kGemvThreads) gemv_kernel(GemvArgs args) {
  admit_successor();
  int s = 0;
  while (s + 1 < args.count && int(blockIdx.x) >= args.segments[s + 1].first_block) ++s;
  const GemvSegment& segment = args.segments[s];
  with_octet<false>(segment.W.format,
                    [&](auto octet) { multiply_outputs<kRows>(args, segment, octet); });
}

}  // namespace anser::cuda
