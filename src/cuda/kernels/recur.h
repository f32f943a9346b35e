// The time mix: kk, gates and blends of a token's vectors; the state's update; norm, bonus and
// gate.
//
// A head of N has 4 N threads in the kernel for few rows: four for every channel, who are also the
// four of a row of S, each with a quarter of its columns in registers. The kernels for many rows
// are the same three parts, one after the other, and S is cut into kSliceRows rows a block, so that
// one prompt fills the card: heads * N / kSliceRows blocks.
#pragma once

#include "cuda/kernels/block.h"
#include "cuda/kernels/octet.h"

namespace anser::cuda {

constexpr int kSliceRows = 16;
constexpr int kScanTokens = 16;  // whose vectors are in shared memory together
constexpr int kVectors = 6;

// A token's vectors of one head, [kVectors][N].
enum Vectors { kR, kW, kK, kMinusKk, kKkA, kV };

// W[channel] . x, four lanes together; the sum in each of them.
__device__ inline float quad_dot(const DeviceMatrix& W, int channel, const float* x, int quarter) {
  float sum = 0;
  with_octet<false>(W.format, [&](auto octet) {
    for (int o = quarter; 8 * o < W.stride; o += 4) {
      octet.load(W, channel, o);
      float w[8];
      octet.widen(w);
      for (int i = 0; i < 8 && 8 * o + i < W.cols; ++i) sum = fmaf(w[i], x[8 * o + i], sum);
    }
  });
  return quad_sum(sum);
}

// Asks for a line of plain weights, four lanes together, 128 bytes at a time.
__device__ inline void prefetch_line(const DeviceMatrix& W, int line, int quarter) {
  if (W.codes == nullptr || !is_plain(W.format)) return;
  const int64_t bytes = int64_t(W.stride) * (W.format == Format::f32 ? 4 : 2);
  const auto* from = static_cast<const char*>(W.codes) + line * bytes;
  for (int64_t at = 128 * quarter; at < bytes; at += 4 * 128) prefetch(from + at);
}

// Calls with all 4 N threads. Returns the bonus' factor, sum_j r_j k_j r_k_j.
template <int N>
__device__ float prepare_head(const RecurArgs& args, int row, int head, float* vectors) {
  const int n = int(threadIdx.x) / 4, quarter = int(threadIdx.x) % 4;
  const int D = args.heads * N, channel = head * N + n;
  const int64_t at = int64_t(row) * D + channel;

  float w, a, nu = 0;
  if (args.w_up != nullptr) {
    w = args.w_up[at];
    a = args.a_up[at];
    if (args.v_first != nullptr) nu = args.v_up[at];
  } else {
    w = quad_dot(args.w2, channel, args.w1 + int64_t(row) * args.w2.cols, quarter);
    a = quad_dot(args.a2, channel, args.a1 + int64_t(row) * args.a2.cols, quarter);
    if (args.v_first != nullptr) {
      nu = quad_dot(args.v2, channel, args.v1 + int64_t(row) * args.v2.cols, quarter);
    }
  }
  const float r = args.r[at];
  float k = args.k[at], v = args.v[at];
  // e^(-1/2) in the exponent: the decay lies between 0.545 and 1.
  w = expf(-0.60653065971263342f * sigmoid(args.w0[channel] + w));
  a = sigmoid(args.a0[channel] + a);
  if (args.v_first != nullptr) {
    v = v + (args.v_first[at] - v) * sigmoid(args.v0[channel] + nu);
  }
  float kk = k * args.k_k[channel];
  k = k * (1 + (a - 1) * args.k_a[channel]);

  // Every channel once.
  const float squares = block_sum(quarter == 0 ? kk * kk : 0);
  const float bonus = block_sum(quarter == 0 ? r * k * args.r_k[channel] : 0);
  kk = kk / fmaxf(sqrtf(squares), 1e-12f);
  if (quarter == 0) {
    vectors[kR * N + n] = r;
    vectors[kW * N + n] = w;
    vectors[kK * N + n] = k;
    vectors[kMinusKk * N + n] = -kk;
    vectors[kKkA * N + n] = kk * a;
    vectors[kV * N + n] = v;
  }
  return bonus;
}

// A thread's quarter of a row of S: columns 16 m + 4 quarter + e, so that the four read 64
// neighbouring bytes.
template <int N>
struct StateRow {
  float s[N / 4];

  __device__ void load(const float* row, int quarter) {
    for (int m = 0; m < N / 16; ++m) {
      *reinterpret_cast<float4*>(s + 4 * m) =
          *reinterpret_cast<const float4*>(row + 16 * m + 4 * quarter);
    }
  }
  __device__ void store(float* row, int quarter) const {
    for (int m = 0; m < N / 16; ++m) {
      *reinterpret_cast<float4*>(row + 16 * m + 4 * quarter) =
          *reinterpret_cast<const float4*>(s + 4 * m);
    }
  }
  // The same of a row of f16.
  __device__ void load(const uint16_t* row, int quarter) {
    for (int m = 0; m < N / 16; ++m) {
      const uint2 four = *reinterpret_cast<const uint2*>(row + 16 * m + 4 * quarter);
      s[4 * m] = from_f16(uint16_t(four.x));
      s[4 * m + 1] = from_f16(uint16_t(four.x >> 16));
      s[4 * m + 2] = from_f16(uint16_t(four.y));
      s[4 * m + 3] = from_f16(uint16_t(four.y >> 16));
    }
  }
  __device__ void store(uint16_t* row, int quarter) const {
    for (int m = 0; m < N / 16; ++m) {
      uint2 four;
      four.x = to_f16(s[4 * m]) | uint32_t(to_f16(s[4 * m + 1])) << 16;
      four.y = to_f16(s[4 * m + 2]) | uint32_t(to_f16(s[4 * m + 3])) << 16;
      *reinterpret_cast<uint2*>(row + 16 * m + 4 * quarter) = four;
    }
  }
  // S = S diag(w) - (S kk) (kk a)^T + v k^T; returns S r, in each of the four.
  __device__ float advance(const float* vectors, float v, int quarter) {
    const auto vector = [&](int which, int m) {
      return vectors + which * N + 16 * m + 4 * quarter;
    };
    float removed = 0;
#pragma unroll
    for (int m = 0; m < N / 16; ++m) {
      const float* minus_kk = vector(kMinusKk, m);
#pragma unroll
      for (int e = 0; e < 4; ++e) removed = fmaf(s[4 * m + e], minus_kk[e], removed);
    }
    removed = quad_sum(removed);
    float y = 0;
#pragma unroll
    for (int m = 0; m < N / 16; ++m) {
      const float *w = vector(kW, m), *kk_a = vector(kKkA, m), *k = vector(kK, m);
      const float* r = vector(kR, m);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float& x = s[4 * m + e];
        x = fmaf(x, w[e], fmaf(removed, kk_a[e], v * k[e]));
        y = fmaf(x, r[e], y);
      }
    }
    return quad_sum(y);
  }
};

// y = (group norm of y + bonus v) (.) g, with all 4 N threads; y of channel n in its four threads.
template <int N>
__device__ void finish_head(const RecurArgs& args, int row, int head, float y, float bonus,
                            float v) {
  const int n = int(threadIdx.x) / 4, quarter = int(threadIdx.x) % 4;
  const int D = args.heads * N, channel = head * N + n;
  const int64_t at = int64_t(row) * D + channel;
  const float mean = block_sum(quarter == 0 ? y : 0) / N;
  const float centred = y - mean;
  const float variance = block_sum(quarter == 0 ? centred * centred : 0) / N;
  y = centred / sqrtf(variance + args.ln_x.eps) * args.ln_x.weight[channel] +
      args.ln_x.bias[channel];
  const float g = args.g_up != nullptr
                      ? args.g_up[at]
                      : quad_dot(args.g2, channel, args.g1 + int64_t(row) * args.g2.cols, quarter);
  if (quarter != 0) return;
  y = (y + bonus * v) * g;
  if (args.halves != nullptr) {
    store_as(args.halves_type, args.halves, at, y);
  } else {
    args.y[at] = y;
  }
}

// Row n of a head's S, and n's place in the shift, between a run's state and registers.
template <int N>
struct StateAccess {
  float *wkv, *shift;
  const float* z;
  int64_t row;  // of wkv, in numbers
  int quarter;
  bool state16;

  __device__ StateAccess(const RecurArgs& args, const RunEntry& run, int head, int n, int quarter)
      : quarter(quarter), state16(args.state16) {
    const int D = args.heads * N, channel = head * N + n;
    float* layer = run.state + args.layer_offset;
    shift = layer + channel;
    wkv = layer + 2 * D;
    row = int64_t(channel) * N;
    z = args.z + int64_t(run.first + run.count - 1) * D + channel;
  }
  __device__ void load(StateRow<N>& s) const {
    if (state16) {
      s.load(reinterpret_cast<const uint16_t*>(wkv) + row, quarter);
    } else {
      s.load(wkv + row, quarter);
    }
  }
  // The shift is the last token's z. No other block reads this head's part of it in this kernel.
  __device__ void store(const StateRow<N>& s) const {
    if (state16) {
      s.store(reinterpret_cast<uint16_t*>(wkv) + row, quarter);
    } else {
      s.store(wkv + row, quarter);
    }
    if (quarter == 0) *shift = *z;
  }
};

// grid [heads][runs], 4 N threads.
template <int N>
__global__ void __launch_bounds__(4 * N) recur_kernel(RecurArgs args) {
  __shared__ float vectors[kVectors * N];
  const int n = int(threadIdx.x) / 4, quarter = int(threadIdx.x) % 4;
  const int head = int(blockIdx.x);
  admit_successor();
  // Tables and states are as they were before the step began, with a copy that waited for all
  // earlier work: they and weights are on their way while the predecessor ends.
  const RunEntry run = args.step.runs[blockIdx.y];
  StateRow<N> s = {};
  const StateAccess<N> state(args, run, head, n, quarter);
  if (run.state != nullptr) state.load(s);
  if (args.w_up == nullptr) {
    for (const DeviceMatrix* W : {&args.w2, &args.a2, &args.g2, &args.v2}) {
      prefetch_line(*W, head * N + n, quarter);
    }
  }
  await_predecessors();
  for (int t = 0; t < run.count; ++t) {
    const int row = run.first + t;
    const float bonus = prepare_head<N>(args, row, head, vectors);
    block_sync();
    const float v = vectors[kV * N + n];
    const float y = s.advance(vectors, v, quarter);
    finish_head<N>(args, row, head, y, bonus, v);
    block_sync();  // all have read the vectors
  }
  if (run.state != nullptr) state.store(s);
}

// grid [heads][rows], 4 N threads.
template <int N>
__global__ void __launch_bounds__(4 * N) prepare_kernel(RecurArgs args) {
  const int head = int(blockIdx.x), row = int(blockIdx.y);
  admit_successor();
  await_predecessors();
  const int64_t at = int64_t(row) * args.heads + head;
  const float bonus = prepare_head<N>(args, row, head, args.vectors + at * kVectors * N);
  if (threadIdx.x == 0) args.bonus[at] = bonus;
}

// Rows first to first + count, token after token. The whole block calls; its first 4 kSliceRows
// threads have the rows of S, value n each. `staged` is shared: [kTokens][kVectors][N].
template <int N, int kTokens>
__device__ void scan_tokens(const RecurArgs& args, int head, int n, int first, int count,
                            float* staged, StateRow<N>& s) {
  const int quarter = int(threadIdx.x) % 4, D = args.heads * N;
  for (int t = 0; t < count; t += kTokens) {
    const int tokens = count - t < kTokens ? count - t : kTokens;
    for (int i = int(threadIdx.x); i < tokens * kVectors * N / 4; i += int(blockDim.x)) {
      const int token = i / (kVectors * N / 4), rest = i % (kVectors * N / 4);
      const int64_t at = int64_t(first + t + token) * args.heads + head;
      reinterpret_cast<float4*>(staged)[i] =
          reinterpret_cast<const float4*>(args.vectors + at * kVectors * N)[rest];
    }
    block_sync();
    for (int token = 0; token < tokens && threadIdx.x < 4 * kSliceRows; ++token) {
      const float* of_token = staged + token * kVectors * N;
      const float y = s.advance(of_token, of_token[kV * N + n], quarter);
      if (quarter == 0) args.y[int64_t(first + t + token) * D + head * N + n] = y;
    }
    block_sync();
  }
}

// grid [heads][N / kSliceRows][runs], 4 kSliceRows threads.
template <int N>
__global__ void __launch_bounds__(4 * kSliceRows) scan_kernel(RecurArgs args) {
  __shared__ float staged[kScanTokens * kVectors * N];
  const int quarter = int(threadIdx.x) % 4, head = int(blockIdx.x);
  const int n = int(blockIdx.y) * kSliceRows + int(threadIdx.x) / 4;
  admit_successor();
  await_predecessors();
  const RunEntry run = args.step.runs[blockIdx.z];
  const StateAccess<N> state(args, run, head, n, quarter);
  StateRow<N> s;
  state.load(s);
  scan_tokens<N, kScanTokens>(args, head, n, run.first, run.count, staged, s);
  state.store(s);
}

// grid [heads][rows], 4 N threads.
template <int N>
__global__ void __launch_bounds__(4 * N) finish_kernel(RecurArgs args) {
  const int n = int(threadIdx.x) / 4, head = int(blockIdx.x), row = int(blockIdx.y);
  admit_successor();
  await_predecessors();
  const int64_t at = int64_t(row) * args.heads + head;
  const float y = args.y[int64_t(row) * args.heads * N + head * N + n];
  finish_head<N>(args, row, head, y, args.bonus[at], args.vectors[at * kVectors * N + kV * N + n]);
}

}  // namespace anser::cuda
