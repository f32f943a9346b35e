// The kernel table: everything the CPU backend computes, as function pointers, one table per
// instruction set. Kernels are single-threaded and allocate nothing; the phases (phases.cpp) split
// the work over threads.
//
// The same texts (isa/*-inl.h) are compiled once per instruction set inside a namespace of its own.
// They compute with vectors of 16 lanes whatever the register width, and sum in one fixed order:
//   - a result depends neither on how many rows are computed together nor on the thread count, so
//     prefill, token by token and batches agree bit for bit;
//   - tables whose machine fuses multiply-add (all but baseline) agree with each other bit for bit.
//
// All float arrays may be unaligned and of any length >= 1 unless said otherwise. A matmul takes
// about 200 KiB of stack.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "model/limits.h"

namespace anser {

// Rows of a product up to which the weights of inputs that are zero may be skipped.
constexpr int kFewRows = 8;

// What happens to z = (W x)[o] + bias[o] on its way to memory.
enum class Epilogue : uint8_t {
  store,         // y  = z
  add,           // y += z
  tanh,          // y  = tanh(z)
  sigmoid,       // y  = 1 / (1 + exp(-z))
  relu_squared,  // y  = max(z, 0)^2
  decay,         // y  = exp(-exp(-1/2) sigmoid(z)), the RWKV-7 decay, in (0.545, 1)
};

// Rows of activations as quantised weights are multiplied with: every 32 inputs of a row have a
// scale, x = d * q with |q| <= 127, and every 16 the sum of their q.
struct QuantisedRows {
  const void* q;        // [rows][inputs] of Kernels::activation_bytes each
  const float* d;       // [rows][inputs / 32]
  const int32_t* sums;  // [rows][inputs / 16]
};

// y[t][o] = epilogue(sum_i W[o][i] x[t][i] + bias[o]) for o in [begin, end) and t in [0, rows).
//
// Plain types sum products in fp32, 256 inputs at a time in their order, and add these sums up.
// Quantised types multiply codes with quantised activations: 32 inputs (16 in Q6_K) are summed
// exactly in integers, and the blocks in fp32 in their order. So neither the number of rows nor the
// instruction set changes a bit; nor do zeros, whose weights are not read when rows are few.
struct MatmulArgs {
  const std::byte* weights;  // packed, see packed.h, in the type of the table entry
  int inputs, outputs;       // i, o
  int begin, end;            // begin a multiple of 64; end too, or equal to outputs
  const float* x;            // [rows][inputs]; of plain types
  QuantisedRows quantised;   // of the others
  float* y;                  // [rows][outputs]
  int rows;                  // t
  const float* bias;         // [outputs]; null: none
  Epilogue epilogue;
  float density = 1;  // share of x that is not zero: a hint to look for zeros; changes no result
  float* const* y_rows = nullptr;  // [rows] of [outputs]: instead of y, where its rows are apart
};

// The time mix of one head over a run of consecutive tokens of one sequence, from the projections
// to the gated output (reference equations 6 to 11; S row = value i, column = key j):
//
//   v   = v + (v_first - v) * nu                      (not in layer 0: nu is null)
//   kk  = k * k_k;  kk /= max(|kk|, 1e-12)            removal key
//   k   = k * (1 + (a - 1) * k_a)                     replacement key
//   u_i = sum_j S_ij * -kk_j
//   S_ij = S_ij * w_j + u_i * (kk_j * a_j) + v_i * k_j
//   y_i = sum_j S_ij * r_j
//   y   = (y - mean(y)) / sqrt(var(y) + eps) * ln_x.weight + ln_x.bias
//   y  += (sum_j r_j * k_j * r_k_j) * v
//   out = y * g
struct RecurArgs {
  int head_size;  // N, at most kMaxHeadSize
  int tokens;
  int64_t stride;  // floats between the rows of two tokens in all [tokens][N] arrays below
  const float *r, *w, *k, *v, *a, *g;  // [tokens][N]
  const float *v_first, *nu;           // [tokens][N]; null in layer 0
  const float *k_k, *k_a, *r_k;        // [N]
  const float *ln_weight, *ln_bias;    // [N]
  float ln_eps;
  float* state;  // S [N][N], advanced
  float* out;    // [tokens][N]
};

// Of the numbers that a layer norm is about.
struct Moments {
  float mean, scale;  // scale: 1 / sqrt(var + eps)
};

// Of a row of logits.
struct Largest {
  float value;
  bool well_formed;  // none is NaN or +inf; otherwise `value` means nothing
};

struct Kernels {
  const char* name;
  bool fused_multiply_add;
  int activation_bytes;  // of one q: what the machine's dot products take

  void (*matmul[kMatrixTypes])(const MatmulArgs&);

  // A row of n activations, n a multiple of 32, for products with quantised weights: q[n], d[n /
  // 32] and sums[n / 16]. d is the largest magnitude of a block / 127, q = x / d rounded to
  // nearest.
  void (*quantise)(const float* x, int n, void* q, float* d, int32_t* sums);

  // How many of n numbers are zero.
  int64_t (*count_zeros)(const float* x, int64_t n);

  // n elements to fp32, exactly. n is a multiple of the type's block.
  void (*widen[kMatrixTypes])(const std::byte* from, int64_t n, float* to);

  // Layer norm, y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias with biased variance, whole
  // and in its two halves: what it needs to know of all n numbers, and its work on any of them.
  // y may be x.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int n,
                     float* y);
  Moments (*moments)(const float* x, float eps, int n);
  void (*normalise)(const float* x, Moments of, const float* weight, const float* bias, int n,
                    float* y);

  // y = x + (previous - x) * mu
  void (*shift_mix)(const float* x, const float* previous, const float* mu, int n, float* y);

  void (*recur)(const RecurArgs&);

  // True when all n numbers are finite.
  bool (*all_finite)(const float* x, int64_t n);

  // Elementwise x = epilogue(x + bias), for the tests of the functions themselves; bias may be
  // null. Epilogue::add does the same as store: there is nothing else to add to.
  void (*apply)(Epilogue epilogue, const float* bias, int64_t n, float* x);

  // For drawing tokens, over n logits. Sums are of fp32 in pieces of 256, and of these in double.
  Largest (*largest)(const float* x, int64_t n);
  // weights[i] = exp((x[i] - highest) * inverse_temperature), e^-87 where it is less; returns their
  // sum. highest is the largest x; it and the inverse are finite.
  double (*weigh)(const float* x, int64_t n, float highest, float inverse_temperature,
                  float* weights);
  // Lists in ids[n] which x are larger than `above`, finite, in order; returns how many.
  int64_t (*list_above)(const float* x, int64_t n, float above, int32_t* ids);
  // As weigh(), in double precision: exp_below_0(). All sums are of double, too.
  double (*weigh_exactly)(const float* x, int64_t n, float highest, double inverse_temperature,
                          double* weights);
};

extern const Kernels kBaselineKernels;
extern const Kernels kAvx2Kernels;        // AVX2, FMA, F16C
extern const Kernels kAvx512Kernels;      // AVX-512 F, BW, DQ, VL
extern const Kernels kAvx512VnniKernels;  // and VNNI
extern const Kernels kNeonKernels;        // any aarch64
extern const Kernels kDotprodKernels;     // and dot products of bytes
extern const Kernels kI8mmKernels;        // and matrix products of bytes

}  // namespace anser
