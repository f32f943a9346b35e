// The kernels without a matrix: embedding, inputs of GEMMs, activations, widening of weights.
#pragma once

#include "cuda/kernels/block.h"
#include "cuda/kernels/octet.h"

namespace anser::cuda {

constexpr int kRowThreads = 256;

// grid [rows]
__global__ void __launch_bounds__(kRowThreads) embed_kernel(EmbedArgs args) {
  const int D = args.table.cols, row = int(blockIdx.x);
  float* x = args.x + int64_t(row) * D;
  admit_successor();
  await_predecessors();
  const int token = args.step.rows[row].token;
  with_octet<false>(args.table.format, [&](auto octet) {
    for (int o = int(threadIdx.x); 8 * o < D; o += kRowThreads) {
      octet.load(args.table, token, o);
      float e[8];
      octet.widen(e);
      for (int i = 0; i < 8 && 8 * o + i < D; ++i) x[8 * o + i] = e[i];
    }
  });
  block_sync();
  layer_norm(x, D, args.norm, x, [](int c) { return c; });
}

constexpr int kMostMixes = int(sizeof(MixArgs::mix) / sizeof(const float*));

// Before await_predecessors(): the vectors that mix_kernel() reads, by one block for all.
__device__ inline void prefetch_vectors(const MixArgs& args) {
  if (blockIdx.x != 0) return;
  for (int c = int(threadIdx.x) * (kCacheLine / 4); c < args.width;
       c += kRowThreads * (kCacheLine / 4)) {
    prefetch(args.norm.weight + c);
    prefetch(args.norm.bias + c);
    for (int m = 0; m < args.count; ++m) {
      if (args.mix[m] != nullptr) prefetch(args.mix[m] + c);
    }
  }
}

// grid [rows]; shared: z of this row and of the one before.
__global__ void __launch_bounds__(kRowThreads) mix_kernel(MixArgs args) {
  const int D = args.width, row = int(blockIdx.x);
  float *z = shared_floats(), *before = z + D;
  admit_successor();
  prefetch_vectors(args);
  await_predecessors();
  const auto same = [](int c) { return c; };
  const int from = args.row_of != nullptr ? args.row_of[row] : row;
  layer_norm(args.x + int64_t(from) * D, D, args.norm, z, same);
  const float* previous = nullptr;
  if (args.row_of == nullptr) {
    const RunEntry run = args.step.runs[args.step.rows[row].run];
    if (run.first == row) {
      previous = run.state + args.shift_offset;
    } else {
      layer_norm(args.x + int64_t(row - 1) * D, D, args.norm, before, same);
      previous = before;
    }
  }
  constexpr int kTogether = 2;  // columns for which all is read before anything is written
  for (int first = int(threadIdx.x); first < D; first += kTogether * kRowThreads) {
    float now[kTogether], change[kTogether], share[kTogether][kMostMixes];
#pragma unroll
    for (int j = 0; j < kTogether; ++j) {
      const int c = first + j * kRowThreads;
      if (c >= D) break;
      now[j] = z[c];
      change[j] = previous == nullptr ? 0 : previous[c] - now[j];
#pragma unroll
      for (int m = 0; m < kMostMixes; ++m) {
        share[j][m] = m < args.count && args.mix[m] != nullptr ? args.mix[m][c] : 0;
      }
    }
#pragma unroll
    for (int j = 0; j < kTogether; ++j) {
      const int c = first + j * kRowThreads;
      if (c >= D) break;
      const int64_t at = int64_t(row) * D + c;
      if (args.z != nullptr) args.z[at] = now[j];
#pragma unroll
      for (int m = 0; m < kMostMixes; ++m) {
        if (m >= args.count) break;
        const float mixed = args.mix[m] == nullptr ? now[j] : fmaf(change[j], share[j][m], now[j]);
        store_as(args.type, args.to[m], at, mixed);
      }
    }
  }
}

__device__ inline int64_t first_of_grid() {
  return int64_t(blockIdx.x) * kRowThreads + int(threadIdx.x);
}
__device__ inline int64_t grid_step() {
  return int64_t(gridDim.x) * kRowThreads;
}

__global__ void __launch_bounds__(kRowThreads) convert_kernel(ConvertArgs args) {
  admit_successor();
  await_predecessors();
  for (int64_t i = first_of_grid(); i < args.count; i += grid_step()) {
    store_as(args.type, args.to, i, args.from[i]);
  }
}

__global__ void __launch_bounds__(kRowThreads) relu_squared_kernel(ReluSquaredArgs args) {
  admit_successor();
  await_predecessors();
  const int padded = padded_to_octets(args.ffn);
  for (int64_t i = first_of_grid(); i < int64_t(args.rows) * padded; i += grid_step()) {
    const int row = int(i / padded), c = int(i % padded);
    const float key = c < args.ffn ? args.key[int64_t(row) * args.ffn + c] : 0;
    store_as(args.type, args.to, i, apply_epilogue(Epilogue::relu_squared, key) * args.scale);
  }
  store_shift(args.step, args.shift_offset, args.z, args.width, 0, args.width, int(first_of_grid()),
              int(grid_step()));
}

template <bool kAcross>
__global__ void __launch_bounds__(kRowThreads) widen_kernel(WidenArgs args) {
  const int lines = kAcross ? args.W.cols : args.W.rows;
  const int width = kAcross ? args.W.rows : args.W.cols;
  const int octets = (width + 7) / 8;
  admit_successor();
  await_predecessors();
  with_octet<kAcross>(args.W.format, [&](auto octet) {
    for (int64_t at = first_of_grid(); at < int64_t(lines) * octets; at += grid_step()) {
      const int64_t line = at / octets;
      const int o = int(at % octets);
      octet.load(args.W, line, o);
      float w[8];
      octet.widen(w);
      for (int i = 0; i < 8 && 8 * o + i < width; ++i) {
        store_as(args.type, args.to, line * width + 8 * o + i, w[i]);
      }
    }
  });
}

__global__ void __launch_bounds__(kRowThreads) read_kernel(ReadArgs args) {
  const auto* from = static_cast<const uint4*>(args.from);
  const int64_t count = args.bytes / int64_t(sizeof(uint4));
  admit_successor();
  await_predecessors();
  unsigned bits = 0;
#pragma unroll 8
  for (int64_t i = first_of_grid(); i < count; i += grid_step()) {
    const uint4 words = from[i];
    bits |= words.x | words.y | words.z | words.w;
  }
  // Never so; but the compiler cannot know.
  if (bits == 0x12345678) *args.sum = 1;
}

__global__ void __launch_bounds__(kRowThreads) noise_kernel(NoiseArgs args) {
  admit_successor();
  await_predecessors();
  for (int64_t i = first_of_grid(); i < args.count; i += grid_step()) {
    unsigned x = unsigned(i) * 2654435761u + args.seed;
    x ^= x >> 15, x *= 2246822519u, x ^= x >> 13;
    store_as(Format::f16, args.to, i, float(int(x >> 8)) * 0x1p-23f - 1);
  }
}

}  // namespace anser::cuda
