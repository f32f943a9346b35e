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

// to[place(c)] = LN(x)[c], by the whole block; a thread writes the columns c = threadIdx.x + i *
// blockDim.x. The mean first, then the deviations from it: one pass over squares would cancel.
template <class Place>
__device__ void layer_norm(const float* x, int width, const NormWeights& norm, float* to,
                           Place place) {
  float sum = 0;
  for (int c = int(threadIdx.x); c < width; c += int(blockDim.x)) {
    const float v = x[c];
    to[place(c)] = v;
    sum += v;
  }
  const float mean = block_sum(sum) / float(width);
  float squares = 0;
  for (int c = int(threadIdx.x); c < width; c += int(blockDim.x)) {
    const float v = to[place(c)] - mean;
    squares = fmaf(v, v, squares);
  }
  const float scale = 1 / sqrtf(block_sum(squares) / float(width) + norm.eps);
  for (int c = int(threadIdx.x); c < width; c += int(blockDim.x)) {
    to[place(c)] = fmaf((to[place(c)] - mean) * scale, norm.weight[c], norm.bias[c]);
  }
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
  for (int run = 0; run < step.run_count; ++run) {
    const RunEntry entry = step.runs[run];
    if (entry.state == nullptr) continue;
    const float* last = z + int64_t(entry.first + entry.count - 1) * width;
    for (int c = begin + thread; c < end; c += threads) entry.state[offset + c] = last[c];
  }
}

}  // namespace anser::cuda
