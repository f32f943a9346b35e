// A group of matrix products for few rows, with the norm and the shift in front of them and the
// activation behind: every weight is read once for up to four rows.
//
// There are as many blocks as the device runs at once, each with a share of one matrix' outputs. A
// block works the input out by itself, in shared memory: that costs less than a kernel of its own
// and a wait. A warp takes two outputs at a time, a lane octets l, l + 32, ... of their weights,
// with the next ones always on their way, across the ends of outputs. Weights do not depend on what
// other kernels do, so the first of them are asked for before the predecessor has ended.
#pragma once

#include "cuda/kernels/block.h"
#include "cuda/kernels/octet.h"

namespace anser::cuda {

constexpr int kGemvWarps = 8;
constexpr int kGemvThreads = kGemvWarps * kWarp;
constexpr int kWarpOutputs = 2;
constexpr int kGemvOutputs = kGemvWarps * kWarpOutputs;
constexpr int kGemvBlocks = 2;  // of a processor at once, by their registers
// Bytes that a block asks for before its predecessor has ended: together 13 MB on a large card,
// what its memory gives in three microseconds, and a fraction of its level 2 cache. Reckoned.
constexpr int kGemvPrefetch = 48 * 1024;

// Octets of an output that are on their way: about 32 bytes of codes.
template <class O>
constexpr int octets_ahead() {
  return sizeof(O) > 16 ? 1 : sizeof(O) > 12 ? 2 : 4;
}

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
    float* before = xs + kRows * padded;
    // From the last row up: a row's z is needed until its successor has been mixed.
    for (int i = count - 1; i >= 0; --i) {
      const int row = first + i;
      const RunEntry own = args.step.runs[args.step.rows[row].run];
      const bool begins = own.first == row;
      if (!begins && i == 0) {
        layer_norm(args.x + int64_t(row - 1) * width, width, args.norm, before, place);
      }
      const float* in_state = own.state + args.shift_offset;
      const float* in_step = i > 0 ? xs + (i - 1) * padded : before;
      float previous[kBatch], share[kBatch];
      in_batches(
          0, width, int(threadIdx.x), kGemvThreads,
          [&](int j, int c) {
            share[j] = mix[c];
            if (begins) previous[j] = own.state == nullptr ? 0 : in_state[c];
          },
          [&](int j, int c) {
            float* at = xs + i * padded + place(c);
            const float z = *at;
            if (blockIdx.x == 0) args.z[int64_t(row) * width + c] = z;
            *at = fmaf((begins ? previous[j] : in_step[place(c)]) - z, share[j], z);
          });
    }
  }
  block_sync();
}

// Before await_predecessors(): the vectors that prepare_inputs() reads, by one block for all.
__device__ inline void prefetch_vectors(const GemvArgs& args, const GemvSegment& segment) {
  if (int(blockIdx.x) != segment.first_block || blockIdx.y != 0) return;
  for (int c = int(threadIdx.x) * (kCacheLine / 4); c < args.width;
       c += kGemvThreads * (kCacheLine / 4)) {
    if (args.source == Source::shift) prefetch(segment.mix + c);
    if (args.source != Source::plain && blockIdx.x == 0) {
      prefetch(args.norm.weight + c);
      prefetch(args.norm.bias + c);
    }
  }
}

template <int kRows, class O>
__device__ void multiply_outputs(const GemvArgs& args, const GemvSegment& segment, O) {
  const DeviceMatrix& W = segment.W;
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  const int block = int(blockIdx.x) - segment.first_block;
  const int begin = int(int64_t(W.rows) * block / segment.blocks) + warp * kWarpOutputs;
  const int end = int(int64_t(W.rows) * (block + 1) / segment.blocks);
  const int octets = W.stride / 8;
  const int first = int(blockIdx.y) * kRows;
  const int count = args.rows - first < kRows ? args.rows - first : kRows;
  float* xs = shared_floats();

  // What is loaded runs ahead of what is multiplied by kAhead steps; an output has a multiple of
  // them, so that a step's registers are known when this is compiled.
  constexpr int kAhead = octets_ahead<O>();
  const int steps = (octets + kWarp * kAhead - 1) / (kWarp * kAhead) * kAhead;
  O ahead[kAhead][kWarpOutputs];
  int next_output = begin, next_step = 0;
  const auto load = [&](O(&to)[kWarpOutputs]) {
    const int octet = lane + kWarp * next_step;
    if (next_output < end && octet < octets) {
#pragma unroll
      for (int o = 0; o < kWarpOutputs; ++o) {
        // An output past the end repeats the last; its sum goes nowhere.
        to[o].load(W, next_output + o < end ? next_output + o : end - 1, octet);
      }
    }
    if (++next_step == steps) {
      next_step = 0;
      next_output += kGemvOutputs;
    }
  };
#pragma unroll
  for (int a = 0; a < kAhead; ++a) load(ahead[a]);
  prefetch_vectors(args, segment);
  // And what the block reads first of all: while it waits, and while it works its input out.
  const int64_t line_bytes = int64_t(W.stride) * bits_of(W.format) / 8;
  const int block_begin = begin - warp * kWarpOutputs;
  const int lines = int((kGemvPrefetch + line_bytes - 1) / line_bytes);
  prefetch_lines(W, block_begin, lines < end - block_begin ? lines : end - block_begin);
  await_predecessors();
  prepare_inputs<kRows>(args, segment.mix, first, count, xs);

  const int padded = padded_to_octets(args.width);
  for (int output = begin; output < end; output += kGemvOutputs) {
    float sum[kWarpOutputs][kRows] = {};
    for (int step = 0; step < steps; step += kAhead) {
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        const int octet = lane + kWarp * (step + a);
        float w[kWarpOutputs][8];
        if (octet < octets) {
#pragma unroll
          for (int o = 0; o < kWarpOutputs; ++o) ahead[a][o].widen(w[o]);
        }
        load(ahead[a]);
        if (octet >= octets) continue;
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
    }
#pragma unroll
    for (int o = 0; o < kWarpOutputs; ++o) {
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        if (i >= count) break;
        const float y = warp_sum(sum[o][i]);
        if (lane != 0 || output + o >= end) continue;
        float* to = segment.y + int64_t(first + i) * W.rows + output + o;
        *to = segment.epilogue == Epilogue::add ? *to + y : apply_epilogue(segment.epilogue, y);
      }
    }
  }
}

template <int kRows>
__global__ void __launch_bounds__(kGemvThreads, kGemvBlocks) gemv_kernel(GemvArgs args) {
  admit_successor();
  int s = 0;
  while (s + 1 < args.count && int(blockIdx.x) >= args.segments[s + 1].first_block) ++s;
  const GemvSegment& segment = args.segments[s];
  with_octet<false>(segment.W.format,
                    [&](auto octet) { multiply_outputs<kRows>(args, segment, octet); });
}

}  // namespace anser::cuda
