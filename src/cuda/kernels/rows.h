// The kernels without a matrix: embedding, inputs of GEMMs, activations, widening of weights.
#pragma once

#include "cuda/kernels/block.h"
#include "cuda/kernels/codes.h"
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
  if (args.norm.weight == nullptr) return;
  block_sync();
  layer_norm(x, D, args.norm, x, [](int c) { return c; });
}

// LN of a row, one number after the other: layer_norm()'s sums in its order, without a place for
// all numbers.
struct NormedRow {
  const float* x;
  float mean, scale;

  // By the whole block.
  __device__ NormedRow(const float* x, int width, const NormWeights& norm) : x(x) {
    float sum = 0;
    for (int c = int(threadIdx.x); c < width; c += int(blockDim.x)) sum += x[c];
    mean = block_sum(sum) / float(width);
    float squares = 0;
    for (int c = int(threadIdx.x); c < width; c += int(blockDim.x)) {
      const float v = x[c] - mean;
      squares = fmaf(v, v, squares);
    }
    scale = 1 / sqrtf(block_sum(squares) / float(width) + norm.eps);
  }
  __device__ float at(int c, const NormWeights& norm) const {
    return fmaf((x[c] - mean) * scale, norm.weight[c], norm.bias[c]);
  }
};

// Before await_predecessors(): the vectors that mix_kernel() reads, by one block for all.
__device__ inline void prefetch_vectors(const MixArgs& args) {
  if (blockIdx.x != 0 || blockIdx.y != 0) return;
  for (int c = int(threadIdx.x) * (kCacheLine / 4); c < args.width;
       c += kRowThreads * (kCacheLine / 4)) {
    prefetch(args.norm.weight + c);
    prefetch(args.norm.bias + c);
    for (int m = 0; m < args.count; ++m) {
      if (args.mix[m] != nullptr) prefetch(args.mix[m] + c);
    }
  }
}

// grid [rows][parts of the columns]: a block alone would need long to write six rows of them.
__global__ void __launch_bounds__(kRowThreads) mix_kernel(MixArgs args) {
  const int D = args.width, row = int(blockIdx.x);
  admit_successor();
  prefetch_vectors(args);
  await_predecessors();
  const int from = args.row_of != nullptr ? args.row_of[row] : row;
  const NormedRow z_row(args.x + int64_t(from) * D, D, args.norm);
  // Of the token before: from its row, from the state, or nobody asks for it.
  const float* state = nullptr;
  bool continues = false;
  if (args.row_of == nullptr) {
    const RunEntry run = args.step.runs[args.step.rows[row].run];
    continues = run.first != row;
    if (!continues && run.state != nullptr) state = run.state + args.shift_offset;
  }
  const NormedRow before = continues ? NormedRow(z_row.x - D, D, args.norm) : z_row;
  // Whole groups of codes.
  const int groups = (D + kCodeGroup - 1) / kCodeGroup;
  const int part = (groups + int(gridDim.y) - 1) / int(gridDim.y) * kCodeGroup;
  const int begin = part * int(blockIdx.y);
  const int end = begin + part < D ? begin + part : D;
  // Of what the columns of z become, all is read before anything is written.
  constexpr int kMost = int(sizeof(args.mix) / sizeof(args.mix[0]));
  const auto change_of = [&](int c, float z) {
    return (state != nullptr ? state[c] : before.at(c, args.norm)) - z;
  };
  for (int c = begin + int(threadIdx.x); c < end; c += kRowThreads) {
    const int64_t at = int64_t(row) * D + c;
    const float z = z_row.at(c, args.norm), change = change_of(c, z);
    float share[kMost];
#pragma unroll
    for (int m = 0; m < kMost; ++m) {
      share[m] = m < args.count && args.mix[m] != nullptr ? args.mix[m][c] : 0;
    }
    if (args.z != nullptr) args.z[at] = z;
#pragma unroll
    for (int m = 0; m < kMost; ++m) {
      if (m >= args.count || (args.coded >> m & 1) != 0) continue;
      store_as(args.type, args.to[m], at, fmaf(change, share[m], z));
    }
  }
  for (int m = 0; m < args.count; ++m) {
    if ((args.coded >> m & 1) == 0) continue;
    store_codes(args.to[m], int64_t(args.rows) * D, int64_t(row) * D + begin, end - begin,
                int(threadIdx.x), kRowThreads, [&](int64_t i) {
                  const int c = begin + int(i);
                  const float z = z_row.at(c, args.norm);
                  return args.mix[m] == nullptr ? z : fmaf(change_of(c, z), args.mix[m][c], z);
                });
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
  if (args.type == Format::bytes) {
    store_codes(args.to, args.count, 0, args.count, first_of_grid(), grid_step(),
                [&](int64_t i) { return args.from[i]; });
    return;
  }
  for (int64_t i = first_of_grid(); i < args.count; i += grid_step()) {
    store_as(args.type, args.to, i, args.from[i]);
  }
}

__global__ void __launch_bounds__(kRowThreads) relu_squared_kernel(ReluSquaredArgs args) {
  admit_successor();
  await_predecessors();
  const auto h = [&](float key) {
    return apply_epilogue(Epilogue::relu_squared, key) * args.scale;
  };
  if (args.type == Format::bytes) {
    const int64_t count = int64_t(args.rows) * args.ffn;
    store_codes(args.to, count, 0, count, first_of_grid(), grid_step(),
                [&](int64_t i) { return h(args.key[i]); });
  } else {
    const int padded = padded_to_octets(args.ffn);
    for (int64_t i = first_of_grid(); i < int64_t(args.rows) * padded; i += grid_step()) {
      const int row = int(i / padded), c = int(i % padded);
      store_as(args.type, args.to, i, h(c < args.ffn ? args.key[int64_t(row) * args.ffn + c] : 0));
    }
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
