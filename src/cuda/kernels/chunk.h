// The time mix of many tokens in chunks of C = kChunkTokens = 16: what the scan of recur.h computes
// token after token, as products of matrices.
//
// With w, r, k, v and the removal pair -kk, kk a of a chunk's tokens, rows of C x N matrices, and
// W_t = w_1 (.) .. (.) w_t:
//
//   A = -kk_t (.) W_t-1    R = r_t (.) W_t           what asks, faded back to the chunk's beginning
//   B = kk_t a_t / W_t     K = k_t / W_t             what answers later tokens of the chunk
//   B' = kk_t a_t W_C/W_t  K' = k_t W_C/W_t          what is left at the chunk's end
//
// u_t = S_t-1 (-kk_t), what the state answers for the removal key, makes every step S diag(w) +
// u (kk a)^T + v k^T. Inside a chunk u_t depends on earlier u only through A B^T below its
// diagonal, so with L the part below the diagonal and LD the part with it,
//
//   U = A S^T + L(A K^T) V + L(A B^T) U        Y = R S^T + LD(R K^T) V + LD(R B^T) U
//   S = S diag(W_C) + V^T K' + U^T B'
//
// All that does not need S is done for all chunks at once (chunk_terms_kernel): U = P + A' S^T and
// Y = Q + R' S^T, where (1 - L(A B^T)) (A', P) = (A, L(A K^T) V) is solved by substitution,
// column after column, and R' = R + LD(R B^T) A', Q = LD(R K^T) V + LD(R B^T) P. What is left goes
// from chunk to chunk (chunk_scan_kernel), parallel over heads and slices of kSliceRows values.
//
// Precision. Fading and the substitution are fp32; w lies above e^-0.6065, so 1/W_t stays under
// 1.7e4. Tile products take fp32 numbers in two parts of tf32, hi + lo, and leave lo lo out. A part
// is off by 2^-11 at the most, so hi + lo is off by 2^-22 of its number, and lo lo is another
// 2^-22: 3 2^-22 of |a b| in a product. Three follow each other from S to a result: tokens with
// tokens, S with A', U with B'. So a chunk adds up to 9 2^-22 = 2.1e-6 of sum |S_ij| |r_j| to a y,
// and the same to S; errors of either sign leave a few 1e-7, two to three times what the scan
// leaves. What older chunks have added fades as S does. Tile products may cut their fp32 sums off
// instead of rounding them, which would add up where S hardly fades: S itself never passes through
// one, what is new of it is added in fp32.
//
// Bits. A chunk's results depend on its tokens' vectors and on S before it, on nothing else. Runs
// are cut into chunks at multiples of C tokens from the beginning of the context. Tokens of a run
// before its first and after its last whole chunk go through the scan's own update. So with the
// same vectors a context has the same bits however it is cut into runs, as long as every cut lies
// at a multiple of C (and states are fp32: f16 rounds where a run ends); other cuts change which
// tokens are scanned, and results within the bound above.
#pragma once

#include <bit>

#include "cuda/kernels/recur.h"

namespace anser::cuda {

// A warp has 16 key columns of S, in the scan of chunks.
constexpr int kWarpKeys = 16;
constexpr int kRaggedTokens = 8;  // whose vectors are in shared memory together
// Of a number's two parts of tf32, the products that count, small ones first.
constexpr int kParts = 3;

// Operands of mma<f32>, each number as hi + lo.
template <int kNumbers>
struct SplitOperand {
  uint32_t part[2][kNumbers];

  __device__ void set(int i, float x) {
    const float hi = to_tf32(x);
    part[0][i] = std::bit_cast<uint32_t>(hi);
    part[1][i] = std::bit_cast<uint32_t>(to_tf32(x - hi));
  }
};
// d += one of the parts of a b.
__device__ inline void multiply_part(int part, float (&d)[4], const SplitOperand<4>& a,
                                     const SplitOperand<2>& b) {
  mma<Format::f32>(d, a.part[part == 0], b.part[part == 1]);
}

// Matrices of a chunk that pass from the one kernel to the other, 16 N numbers each. They take the
// places of their tokens' vectors, which nobody needs any more; V stays where it is.
enum ChunkMatrix {
  kChunkR = kR,        // R'  [N / 8][lane][4]: tokens g, g + 8 of key 2t, of key 2t + 1
  kChunkP = kW,        // P   [N / 16][2][lane][4]: tokens 2t, 2t + 1 of value g, of value g + 8
  kChunkK = kK,        // K'  [N / 8][lane][4]: tokens 2t, 2t + 1, 2t + 8, 2t + 9 of key g
  kChunkA = kMinusKk,  // A'  as R'
  kChunkB = kKkA,      // B'  as K'
};                     // in the order of operands: lane = 4 g + t; keys, values count in their tile

// Number `at` of a matrix of the chunk that begins with row `first`.
template <int N>
__device__ float* chunk_at(const RecurArgs& args, int first, int head, ChunkMatrix matrix, int at) {
  const int64_t token = int64_t(first + at / N) * args.heads + head;
  return args.vectors + (token * kVectors + matrix) * N + at % N;
}
template <int N>
__device__ float* chunk_decay(const RecurArgs& args, int first, int head) {
  return args.decays + int64_t(first / kChunkTokens) * args.heads * N + head * N;
}

// sum_s row[s] x[s] over s < count; row is shared memory.
__device__ inline float triangle_dot(const float* row, const float* x, int count, float sum) {
#pragma unroll
  for (int s = 0; s < kChunkTokens; s += 4) {
    if (s >= count) break;
    const float4 four = *reinterpret_cast<const float4*>(row + s);
    sum = fmaf(four.x, x[s], sum);
    if (s + 1 < count) sum = fmaf(four.y, x[s + 1], sum);
    if (s + 2 < count) sum = fmaf(four.z, x[s + 2], sum);
    if (s + 3 < count) sum = fmaf(four.w, x[s + 3], sum);
  }
  return sum;
}

// The first row, of 16 slot to 16 slot + 15, at which a whole chunk begins; -1: at none of them.
// All lanes of a warp call it.
__device__ inline int find_chunk(const StepTable& step, int slot) {
  const int lane = int(threadIdx.x) % kWarp, row = slot * kChunkTokens + lane;
  bool begins = false;
  if (lane < kChunkTokens && row < step.row_count) {
    const RunEntry run = step.runs[step.rows[row].run];
    const int into = row - run.first - run.before_chunks();
    begins = into >= 0 && into % kChunkTokens == 0 && into / kChunkTokens < run.chunks();
  }
  const uint32_t at = ballot(begins);
  return at == 0 ? -1 : slot * kChunkTokens + lowest_bit(at);
}

// grid [heads][ceil(rows / 16)], 2 N threads: of every column of keys and of values.
template <int N>
__global__ void __launch_bounds__(2 * N) chunk_terms_kernel(RecurArgs args) {
  constexpr int C = kChunkTokens, kWarps = 2 * N / kWarp;
  // Tile products read 8 tokens, 4 keys at once: with 4 to spare each from another bank.
  constexpr int kStride = N + 4;
  __shared__ float asks[2][C][kStride];               // A, R
  __shared__ float answers[2][C][kStride];            // B, K
  alignas(16) __shared__ float products[2][2][C][C];  // [A, R] [B, K]^T
  const int head = int(blockIdx.x), column = int(threadIdx.x) % N;
  const bool of_values = int(threadIdx.x) >= N;
  const int warp = int(threadIdx.x) / kWarp, g = int(threadIdx.x) % kWarp / 4;
  const int t = int(threadIdx.x) % 4;
  admit_successor();
  await_predecessors();
  const int first = find_chunk(args.step, int(blockIdx.y));
  if (first < 0) return;

  const float* vectors = args.vectors + (int64_t(first) * args.heads + head) * kVectors * N;
  const auto vector = [&](int which, int token) {
    return vectors[(int64_t(token) * args.heads * kVectors + which) * N + column];
  };
  float x[C], z[C];
  if (!of_values) {
    float W = 1;
#pragma unroll
    for (int i = 0; i < C; ++i) {
      x[i] = asks[0][i][column] = vector(kMinusKk, i) * W;
      W *= vector(kW, i);
      asks[1][i][column] = vector(kR, i) * W;
    }
    chunk_decay<N>(args, first, head)[column] = W;
  } else {
    // Values' threads have a key each, too, up to here.
    float w[C], W = 1, rest = 1;
#pragma unroll
    for (int i = 0; i < C; ++i) {  // all are asked for before the first division
      w[i] = vector(kW, i);
      x[i] = vector(kKkA, i);
      z[i] = vector(kK, i);
    }
#pragma unroll
    for (int i = 0; i < C; ++i) {
      W *= w[i];
      answers[0][i][column] = x[i] / W;
      answers[1][i][column] = z[i] / W;
    }
#pragma unroll
    for (int i = C - 1; i >= 0; --i) {
      x[i] *= rest;
      z[i] *= rest;
      rest *= w[i];
    }
  }
  block_sync();  // what the vectors were is here now

  if (of_values) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int at = (column / 8 * kWarp + column % 8 * 4 + i) * 4;
      *reinterpret_cast<float4*>(chunk_at<N>(args, first, head, kChunkB, at)) = {
          x[2 * i], x[2 * i + 1], x[2 * i + 8], x[2 * i + 9]};
      *reinterpret_cast<float4*>(chunk_at<N>(args, first, head, kChunkK, at)) = {
          z[2 * i], z[2 * i + 1], z[2 * i + 8], z[2 * i + 9]};
    }
#pragma unroll
    for (int i = 0; i < C; ++i) z[i] = vector(kV, i);
  }
  // Eight tiles of 16 asking by 8 answering tokens; what lies above the diagonal is not used.
  for (int tile = warp; tile < 8; tile += kWarps) {
    const int ask = tile / 4, answer = tile / 2 % 2, half = tile % 2;
    float sum[kParts][4] = {};
#pragma unroll 4
    for (int key = t; key < N; key += 8) {
      SplitOperand<4> a;
      SplitOperand<2> b;
#pragma unroll
      for (int i = 0; i < 4; ++i) a.set(i, asks[ask][g + i % 2 * 8][key + i / 2 * 4]);
#pragma unroll
      for (int i = 0; i < 2; ++i) b.set(i, answers[answer][8 * half + g][key + 4 * i]);
#pragma unroll
      for (int part = 0; part < kParts; ++part) multiply_part(part, sum[part], a, b);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      products[ask][answer][g + i / 2 * 8][8 * half + 2 * t + i % 2] =
          (sum[0][i] + sum[1][i]) + sum[2][i];
    }
  }
  block_sync();

  const auto &ab = products[0][0], &ak = products[0][1], &rb = products[1][0], &rk = products[1][1];
  if (of_values) {
    const int slice = column / kSliceRows, in_slice = column % kSliceRows;
#pragma unroll
    for (int i = 0; i < C; ++i) {
      x[i] = triangle_dot(ab[i], x, i, triangle_dot(ak[i], z, i, 0));
    }
#pragma unroll
    for (int i = 0; i < C; i += 2) {
      const int lane = in_slice % 8 * 4 + i % 8 / 2;
      const int at = ((slice * 2 + i / 8) * kWarp + lane) * 4 + in_slice / 8 * 2;
      *reinterpret_cast<float2*>(chunk_at<N>(args, first, head, kChunkP, at)) = {x[i], x[i + 1]};
    }
#pragma unroll
    for (int i = 0; i < C; ++i) {
      args.y[int64_t(first + i) * args.heads * N + head * N + column] =
          triangle_dot(rb[i], x, i + 1, triangle_dot(rk[i], z, i + 1, 0));
    }
  } else {
#pragma unroll
    for (int i = 0; i < C; ++i) x[i] = triangle_dot(ab[i], x, i, x[i]);
#pragma unroll
    for (int i = 0; i < C; ++i) z[i] = triangle_dot(rb[i], x, i + 1, asks[1][i][column]);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int lane = 4 * i + column % 8 / 2;
      const int at = (column / 8 * kWarp + lane) * 4 + column % 2 * 2;
      *reinterpret_cast<float2*>(chunk_at<N>(args, first, head, kChunkA, at)) = {x[i], x[i + 8]};
      *reinterpret_cast<float2*>(chunk_at<N>(args, first, head, kChunkR, at)) = {z[i], z[i + 8]};
    }
  }
}

// What a lane needs of a chunk.
template <int N>
struct ChunkOperands {
  // How many of the slice's 16 x 16 results in y are a thread's: results in a lane's hands, of all
  // warps, divided among the warps.
  static constexpr int kResults = 8 * kWarpKeys / N;

  float a[2][4], r[2][4], k[2][4], b[2][4];  // [8 keys]
  float p[2][4], v[2][4];                    // [8 tokens]
  float2 decay[2];                           // [8 keys]
  float q[kResults];

  __device__ static float* result(const RecurArgs& args, int first, int head, int slice, int i) {
    const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
    const int at = warp * kResults + i;
    const int token = at / 4 * 8 + lane % 4 * 2 + at % 2;
    const int value = slice * kSliceRows + at / 2 % 2 * 8 + lane / 4;
    return args.y + int64_t(first + token) * args.heads * N + head * N + value;
  }

  __device__ void load(const RecurArgs& args, int first, int head, int slice) {
    const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
    const auto four = [&](float* to, ChunkMatrix matrix, int tile) {
      *reinterpret_cast<float4*>(to) = *reinterpret_cast<const float4*>(
          chunk_at<N>(args, first, head, matrix, (tile * kWarp + lane) * 4));
    };
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      four(a[j], kChunkA, 2 * warp + j);
      four(r[j], kChunkR, 2 * warp + j);
      four(k[j], kChunkK, 2 * warp + j);
      four(b[j], kChunkB, 2 * warp + j);
      four(p[j], kChunkP, 2 * slice + j);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int token = 8 * j + lane % 4 * 2 + i / 2;
        const int value = slice * kSliceRows + i % 2 * 8 + lane / 4;
        const int64_t at = int64_t(first + token) * args.heads + head;
        v[j][i] = args.vectors[(at * kVectors + kV) * N + value];
      }
      decay[j] = *reinterpret_cast<const float2*>(chunk_decay<N>(args, first, head) +
                                                  warp * kWarpKeys + 8 * j + lane % 4 * 2);
    }
#pragma unroll
    for (int i = 0; i < kResults; ++i) q[i] = *result(args, first, head, slice, i);
  }
};

// A lane's part of the slice's S: values g, g + 8 of keys 2t, 2t + 1 in each of the warp's two
// tiles of 8 keys. As mma lays results out; and the same four numbers are an operand [16 values]
// [8 keys], if keys 2t, 2t + 1 count as columns t, t + 4. So S never leaves its registers. The same
// holds for U^T, with tokens for keys.
__device__ inline SplitOperand<4> as_operand(const float (&s)[4]) {
  SplitOperand<4> operand;
  operand.set(0, s[0]);
  operand.set(1, s[2]);
  operand.set(2, s[1]);
  operand.set(3, s[3]);
  return operand;
}

// grid [heads][N / kSliceRows][runs], 2 N threads: a warp for every 16 keys.
template <int N>
__global__ void __launch_bounds__(2 * N) chunk_scan_kernel(RecurArgs args) {
  constexpr int kWarps = N / kWarpKeys;
  constexpr int kSums = 2 * kWarps * 2 * kWarp * 4;  // of U and Y, in one half
  static_assert(2 * kSums >= kRaggedTokens * kVectors * N);
  alignas(16) __shared__ float work[2 * kSums];  // the warps' sums, in turns; vectors to scan
  alignas(16) __shared__ float slice_of_S[kSliceRows][N];
  const int head = int(blockIdx.x), slice = int(blockIdx.y);
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  admit_successor();
  await_predecessors();
  const RunEntry run = args.step.runs[blockIdx.z];
  const int before = run.before_chunks(), chunks = run.chunks();
  const int chunked = chunks * kChunkTokens;

  // Threads of rows of S: the first 4 kSliceRows.
  const bool scans = int(threadIdx.x) < 4 * kSliceRows;
  const int in_slice = int(threadIdx.x) / 4 % kSliceRows, quarter = int(threadIdx.x) % 4;
  const int n = slice * kSliceRows + in_slice;
  const StateAccess<N> state(args, run, head, n, quarter);
  StateRow<N> row;
  if (scans) state.load(row);
  scan_tokens<N, kRaggedTokens>(args, head, n, run.first, before, work, row);

  if (chunks > 0) {
    ChunkOperands<N> next;
    int first = run.first + before;
    next.load(args, first, head, slice);
    if (scans) row.store(slice_of_S[in_slice], quarter);
    block_sync();
    float* corner = &slice_of_S[lane / 4][warp * kWarpKeys + lane % 4 * 2];
    float s[2][4];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) s[j][i] = corner[i / 2 * 8 * N + 8 * j + i % 2];
    }

    for (int chunk = 0; chunk < chunks; ++chunk, first += kChunkTokens) {
      const ChunkOperands<N> now = next;
      if (chunk + 1 < chunks) next.load(args, first + kChunkTokens, head, slice);

      // This warp's keys' part of (A' S^T)^T and (R' S^T)^T: [16 values][2][8 tokens].
      float sums[2][2][4] = {};
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const SplitOperand<4> S = as_operand(s[j]);
        SplitOperand<2> b[2][2];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          b[0][i % 2].set(i / 2, now.a[j][i]);
          b[1][i % 2].set(i / 2, now.r[j][i]);
        }
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
#pragma unroll
          for (int i = 0; i < 4; ++i) multiply_part(part, sums[i / 2][i % 2], S, b[i / 2][i % 2]);
        }
      }
      float* half = work + chunk % 2 * kSums;
      const auto sums_at = [&](int of_warp, int which, int tokens) {
        return half + (((of_warp * 2 + which) * 2 + tokens) * kWarp + lane) * 4;
      };
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        *reinterpret_cast<float4*>(sums_at(warp, i / 2, i % 2)) =
            *reinterpret_cast<const float4*>(sums[i / 2][i % 2]);
      }

      // V^T K', while others arrive.
      float added[2][4] = {};
      const auto add_product = [&](int tokens, const SplitOperand<4>& values,
                                   const float(&keys)[2][4]) {
        SplitOperand<2> b[2];
#pragma unroll
        for (int i = 0; i < 4; ++i) b[i / 2].set(i % 2, keys[i / 2][2 * tokens + i % 2]);
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
#pragma unroll
          for (int j = 0; j < 2; ++j) multiply_part(part, added[j], values, b[j]);
        }
      };
#pragma unroll
      for (int tokens = 0; tokens < 2; ++tokens) {
        SplitOperand<4> V;
#pragma unroll
        for (int i = 0; i < 4; ++i) V.set(i, now.v[tokens][i]);
        add_product(tokens, V, now.k);
      }
      block_sync();  // also: what the half was before has been read

      // U^T B', with the sum over all keys in every warp; Y's results divided among them.
#pragma unroll
      for (int tokens = 0; tokens < 2; ++tokens) {
        float u[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) u[i] = now.p[tokens][i];
#pragma unroll
        for (int w = 0; w < kWarps; ++w) {
          const float4 part = *reinterpret_cast<const float4*>(sums_at(w, 0, tokens));
          u[0] += part.x;
          u[1] += part.y;
          u[2] += part.z;
          u[3] += part.w;
        }
        add_product(tokens, as_operand(u), now.b);
      }
#pragma unroll
      for (int j = 0; j < 2; ++j) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          s[j][i] = fmaf(s[j][i], i % 2 == 0 ? now.decay[j].x : now.decay[j].y, added[j][i]);
        }
      }
#pragma unroll
      for (int i = 0; i < ChunkOperands<N>::kResults; ++i) {
        const int at = warp * ChunkOperands<N>::kResults + i;
        float y = now.q[i];
#pragma unroll
        for (int w = 0; w < kWarps; ++w) y += sums_at(w, 1, at / 4)[at % 4];
        *ChunkOperands<N>::result(args, first, head, slice, i) = y;
      }
    }

#pragma unroll
    for (int j = 0; j < 2; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) corner[i / 2 * 8 * N + 8 * j + i % 2] = s[j][i];
    }
    block_sync();
    if (scans) row.load(slice_of_S[in_slice], quarter);
  }

  scan_tokens<N, kRaggedTokens>(args, head, n, run.first + before + chunked,
                                run.count - before - chunked, work, row);
  if (scans) state.store(row);
}

}  // namespace anser::cuda
