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

// Octets of a lane's share of a line that are on their way together.
template <class O>
constexpr int quad_ahead() {
  return sizeof(O) > 16 ? 1 : sizeof(O) > 12 ? 4 : 2;
}

// Blocks of 4 N threads that a processor has places for: of few rows there are few blocks, and to
// compute the low-rank pairs, too, takes registers.
template <int N, bool kLowRank>
constexpr int kBlocks = N > 64 ? 1 : (kLowRank ? 128 : 192) / N;

// W[channel] . x, four lanes together; the sum in each of them. x is shared memory, as many numbers
// as a line of W has with its padding.
__device__ inline float quad_dot(const DeviceMatrix& W, int channel, const float* x, int quarter) {
  float sum = 0;
  with_octet<false>(W.format, [&](auto octet) {
    constexpr int kAhead = quad_ahead<decltype(octet)>();
    const int octets = W.stride / 8;
#pragma unroll 1
    for (int first = quarter; first < octets; first += 4 * kAhead) {
      decltype(octet) ahead[kAhead];
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        if (first + 4 * a < octets) ahead[a].load(W, channel, first + 4 * a);
      }
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        if (first + 4 * a >= octets) continue;
        float w[8], v[8];
        ahead[a].widen(w);
        const float* at = x + 8 * (first + 4 * a);
        *reinterpret_cast<float4*>(v) = *reinterpret_cast<const float4*>(at);
        *reinterpret_cast<float4*>(v + 4) = *reinterpret_cast<const float4*>(at + 4);
#pragma unroll
        for (int i = 0; i < 8; ++i) sum = fmaf(w[i], v[i], sum);
      }
    }
  });
  return quad_sum(sum);
}

// What the first halves of the low-rank pairs gave for a row, in shared memory: as quad_dot() wants
// it. nullptr where there is none. kLowRank: the second halves are computed here.
struct LowRank {
  const float *w = nullptr, *a = nullptr, *v = nullptr, *g = nullptr;
};

// By the whole block, into the launch's shared memory. Ends with block_sync().
template <bool kLowRank>
__device__ LowRank stage_low_rank(const RecurArgs& args, int row) {
  LowRank staged;
  if constexpr (!kLowRank) return staged;
  const bool blends = args.v_first != nullptr;
  float* w = shared_floats();
  float* a = w + args.w2.stride;
  float* g = a + args.a2.stride;
  float* v = g + args.g2.stride;
  const auto number = [row](const DeviceMatrix& W, const float* rows, int c) {
    return c < W.cols ? rows[int64_t(row) * W.cols + c] : 0.0f;
  };
  int most = args.w2.stride > args.a2.stride ? args.w2.stride : args.a2.stride;
  most = args.g2.stride > most ? args.g2.stride : most;
  most = blends && args.v2.stride > most ? args.v2.stride : most;
  for (int c = int(threadIdx.x); c < most; c += int(blockDim.x)) {
    // Asked for together.
    const float of_w = number(args.w2, args.w1, c), of_a = number(args.a2, args.a1, c);
    const float of_g = number(args.g2, args.g1, c);
    const float of_v = blends ? number(args.v2, args.v1, c) : 0;
    if (c < args.w2.stride) w[c] = of_w;
    if (c < args.a2.stride) a[c] = of_a;
    if (c < args.g2.stride) g[c] = of_g;
    if (blends && c < args.v2.stride) v[c] = of_v;
  }
  block_sync();
  return {w, a, v, g};
}

// Before await_predecessors(): a head's lines of the second halves, which are read next, and which
// are too few to keep the memory busy when they are asked for one after the other.
template <int N>
__device__ void prefetch_low_rank(const RecurArgs& args, int head) {
  prefetch_lines(args.w2, head * N, N);
  prefetch_lines(args.a2, head * N, N);
  prefetch_lines(args.g2, head * N, N);
  if (args.v_first != nullptr) prefetch_lines(args.v2, head * N, N);
}

// Calls with all 4 N threads. Returns the bonus' factor, sum_j r_j k_j r_k_j.
//
// fmaf() here and in finish_head(), so that all kernels that share them round alike: where a
// product is left to be joined with a sum, each kernel's compilation decides.
template <int N, bool kLowRank>
__device__ float prepare_head(const RecurArgs& args, int row, int head, const LowRank& low_rank,
                              float* vectors) {
  const int n = int(threadIdx.x) / 4, quarter = int(threadIdx.x) % 4;
  const int D = args.heads * N, channel = head * N + n;
  const int64_t at = int64_t(row) * D + channel;
  const bool blends = args.v_first != nullptr;

  // All that is read of the channel is asked for before the first of it is needed.
  const float r = args.r[at], w0 = args.w0[channel], a0 = args.a0[channel];
  const float k_k = args.k_k[channel], k_a = args.k_a[channel], r_k = args.r_k[channel];
  const float v_first = blends ? args.v_first[at] : 0, v0 = blends ? args.v0[channel] : 0;
  float k = args.k[at], v = args.v[at];
  float w, a, nu = 0;
  if constexpr (!kLowRank) {
    w = args.w_up[at];
    a = args.a_up[at];
    if (blends) nu = args.v_up[at];
  } else {
    w = quad_dot(args.w2, channel, low_rank.w, quarter);
    a = quad_dot(args.a2, channel, low_rank.a, quarter);
    if (blends) nu = quad_dot(args.v2, channel, low_rank.v, quarter);
  }
  // e^(-1/2) in the exponent: the decay lies between 0.545 and 1.
  w = expf(-0.60653065971263342f * sigmoid(w0 + w));
  a = sigmoid(a0 + a);
  if (blends) v = fmaf(v_first - v, sigmoid(v0 + nu), v);
  float kk = k * k_k;
  k = k * fmaf(a - 1, k_a, 1);

  // Every channel once.
  const float squares = block_sum(quarter == 0 ? kk * kk : 0);
  const float bonus = block_sum(quarter == 0 ? r * k * r_k : 0);
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
template <int N, bool kLowRank>
__device__ void finish_head(const RecurArgs& args, int row, int head, const LowRank& low_rank,
                            float y, float bonus, float v) {
  const int n = int(threadIdx.x) / 4, quarter = int(threadIdx.x) % 4;
  const int D = args.heads * N, channel = head * N + n;
  const int64_t at = int64_t(row) * D + channel;
  const float weight = args.ln_x.weight[channel], bias = args.ln_x.bias[channel];
  float g;
  if constexpr (kLowRank) {
    g = quad_dot(args.g2, channel, low_rank.g, quarter);
  } else {
    g = args.g_up[at];
  }
  const float mean = block_sum(quarter == 0 ? y : 0) / N;
  const float centred = y - mean;
  const float variance = block_sum(quarter == 0 ? centred * centred : 0) / N;
  if (quarter != 0) return;
  y = fmaf(centred / sqrtf(variance + args.ln_x.eps), weight, bias);
  y = fmaf(bonus, v, y) * g;
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
template <int N, bool kLowRank>
__global__ void __launch_bounds__(4 * N, kBlocks<N, kLowRank>) recur_kernel(RecurArgs args) {
  alignas(16) __shared__ float vectors[kVectors * N];
  const int n = int(threadIdx.x) / 4, quarter = int(threadIdx.x) % 4;
  const int head = int(blockIdx.x);
  admit_successor();
  // Tables and states are as they were before the step began, with a copy that waited for all
  // earlier work: they and weights are on their way while the predecessor ends.
  if constexpr (kLowRank) prefetch_low_rank<N>(args, head);
  const RunEntry run = args.step.runs[blockIdx.y];
  StateRow<N> s = {};
  const StateAccess<N> state(args, run, head, n, quarter);
  if (run.state != nullptr) state.load(s);
  await_predecessors();
  for (int t = 0; t < run.count; ++t) {
    const int row = run.first + t;
    const LowRank low_rank = stage_low_rank<kLowRank>(args, row);
    const float bonus = prepare_head<N, kLowRank>(args, row, head, low_rank, vectors);
    block_sync();
    const float v = vectors[kV * N + n];
    const float y = s.advance(vectors, v, quarter);
    finish_head<N, kLowRank>(args, row, head, low_rank, y, bonus, v);
    block_sync();  // all have read the vectors, and what was staged
  }
  if (run.state != nullptr) state.store(s);
}

// grid [heads][rows], 4 N threads.
template <int N, bool kLowRank>
__global__ void __launch_bounds__(4 * N, kBlocks<N, kLowRank>) prepare_kernel(RecurArgs args) {
  const int head = int(blockIdx.x), row = int(blockIdx.y);
  admit_successor();
  await_predecessors();
  const int64_t at = int64_t(row) * args.heads + head;
  const LowRank low_rank = stage_low_rank<kLowRank>(args, row);
  const float bonus =
      prepare_head<N, kLowRank>(args, row, head, low_rank, args.vectors + at * kVectors * N);
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
    float4 four[kBatch];
    in_batches(
        0, tokens * kVectors * N / 4, int(threadIdx.x), int(blockDim.x),
        [&](int j, int i) {
          const int token = i / (kVectors * N / 4), rest = i % (kVectors * N / 4);
          const int64_t at = int64_t(first + t + token) * args.heads + head;
          four[j] = reinterpret_cast<const float4*>(args.vectors + at * kVectors * N)[rest];
        },
        [&](int j, int i) { reinterpret_cast<float4*>(staged)[i] = four[j]; });
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
  alignas(16) __shared__ float staged[kScanTokens * kVectors * N];
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
template <int N, bool kLowRank>
__global__ void __launch_bounds__(4 * N, kBlocks<N, kLowRank>) finish_kernel(RecurArgs args) {
  const int n = int(threadIdx.x) / 4, head = int(blockIdx.x), row = int(blockIdx.y);
  admit_successor();
  await_predecessors();
  const int64_t at = int64_t(row) * args.heads + head;
  const float y = args.y[int64_t(row) * args.heads * N + head * N + n];
  finish_head<N, kLowRank>(args, row, head, stage_low_rank<kLowRank>(args, row), y, args.bonus[at],
                           args.vectors[at * kVectors * N + kV * N + n]);
}

}  // namespace anser::cuda
