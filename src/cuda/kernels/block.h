// Sums and norms by all threads of a block. Every sum is taken in one fixed order, so that results
// never depend on timing.
#pragma once

#include "cuda/kernels.h"
#include "cuda/kernels/device.h"

namespace anser::cuda {

constexpr int kWarp = 32;
constexpr int kMaxWarps = 32;

// The sum over all threads of the block, in every thread. Whole warps only.
__device__ inline float block_sum(float x) {
  __shared__ float of_warp[kMaxWarps];
  x = warp_sum(x);
  block_sync();  // the sum before has been read
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = x;
  block_sync();
  float sum = 0;
  for (int w = 0; w < int(blockDim.x) / kWarp; ++w) sum += of_warp[w];
  return sum;
}

// Numbers that a thread asks the memory for together. The compiler does not do that by itself where
// something is stored in between that could be what is read next.
constexpr int kBatch = 8;

// Calls load(j, c) for up to kBatch columns c = begin + thread + i * threads, then use(j, c) for
// the same ones, until all up to `end` were used, in their order.
template <class Load, class Use>
__device__ void in_batches(int begin, int end, int thread, int threads, Load load, Use use) {
  for (int first = begin + thread; first < end; first += kBatch * threads) {
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      if (first + j * threads < end) load(j, first + j * threads);
    }
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      if (first + j * threads < end) use(j, first + j * threads);
    }
  }
}

// to[place(c)] = LN(x)[c], by the whole block; a thread writes the columns c = threadIdx.x + i *
// blockDim.x. The mean first, then the deviations from it: one pass over squares would cancel.
template <class Place>
__device__ void layer_norm(const float* x, int width, const NormWeights& norm, float* to,
                           Place place) {
  const int thread = int(threadIdx.x), threads = int(blockDim.x);
  float sum = 0, v[kBatch], weight[kBatch], bias[kBatch];
  in_batches(
      0, width, thread, threads, [&](int j, int c) { v[j] = x[c]; },
      [&](int j, int c) {
        to[place(c)] = v[j];
        sum += v[j];
      });
  const float mean = block_sum(sum) / float(width);
  float squares = 0;
  for (int c = thread; c < width; c += threads) {
    const float deviation = to[place(c)] - mean;
    squares = fmaf(deviation, deviation, squares);
  }
  const float scale = 1 / sqrtf(block_sum(squares) / float(width) + norm.eps);
  in_batches(
      0, width, thread, threads,
      [&](int j, int c) {
        v[j] = to[place(c)];
        weight[j] = norm.weight[c];
        bias[j] = norm.bias[c];
      },
      [&](int j, int c) { to[place(c)] = fmaf((v[j] - mean) * scale, weight[j], bias[j]); });
}

__device__ inline float sigmoid(float x) {
  return 1 / (1 + expf(-x));
}

__device__ inline float apply_epilogue(Epilogue epilogue, float x) {
  switch (epilogue) {
    case Epilogue::tanh:
      return tanhf(x);
    case Epilogue::sigmoid:
      return sigmoid(x);
    case Epilogue::relu_squared:
      x = x < 0 ? 0 : x;  // fmaxf would make a zero of a NaN
      return x * x;
    default:
      return x;
  }
}

// A number in the type that GEMMs read.
__device__ inline void store_as(Format type, void* to, int64_t at, float x) {
  if (type == Format::f32) {
    static_cast<float*>(to)[at] = x;
  } else {
    static_cast<uint16_t*>(to)[at] = type == Format::f16 ? to_f16(x) : to_bf16(x);
  }
}

// Columns begin to end of what becomes the previous z of each run's next token.
__device__ inline void store_shift(const StepTable& step, int64_t offset, const float* z, int width,
                                   int begin, int end, int thread, int threads) {
  const int columns = end - begin, count = step.run_count * columns;
  for (int first = thread; first < count; first += kBatch * threads) {
    const auto at = [&](int j) { return first + j * threads; };
    RunEntry run[kBatch];
    float last[kBatch];
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      if (at(j) < count) run[j] = step.runs[at(j) / columns];
    }
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      const int c = begin + at(j) % columns;
      if (at(j) < count) last[j] = z[int64_t(run[j].first + run[j].count - 1) * width + c];
    }
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      if (at(j) < count && run[j].state != nullptr) {
        run[j].state[offset + begin + at(j) % columns] = last[j];
      }
    }
  }
}

}  // namespace anser::cuda
