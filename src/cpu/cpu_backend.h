// The CPU backend: the five phases of model/forward.h over the kernel table and a thread pool.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "anser/engine.h"
#include "anser/model.h"
#include "base/aligned_buffer.h"
#include "base/thread_pool.h"
#include "cpu/cpu_weights.h"
#include "cpu/kernels.h"
#include "model/rows.h"

namespace anser {

class ObservedBackend;  // cpu/observed_backend.h

class CpuBackend {
 public:
  using Observed = ObservedBackend;
  static constexpr Device kDevice = Device::cpu;
  static constexpr bool kKeepsLogits = false;

  // Everything that a step needs is allocated here, for up to max_rows rows.
  CpuBackend(const Model& model, int threads, int max_rows, const Kernels& kernels);

  int layers() const { return h_.layers; }
  int heads() const { return h_.heads; }
  ThreadPool& pool() { return pool_; }
  int max_rows() const { return max_rows_; }
  int threads() const { return pool_.size(); }
  std::string name() const { return kernels_.name; }
  int few_rows() const { return kFewRows; }
  size_t state_bytes() const {
    return StateShape{h_.layers, h_.width, h_.heads, h_.head_size}.floats() * sizeof(float);
  }
  bool all_finite(std::span<const float> x) const {
    return kernels_.all_finite(x.data(), int64_t(x.size()));
  }

  // The phases; model/forward.h says what each computes.
  void embed(const Rows& rows);
  void project(int layer, const Rows& rows);
  void recur(int layer, const Rows& rows);
  void output(int layer, const Rows& rows);
  void expand(int layer, const Rows& rows);
  void contract(int layer, const Rows& rows);
  void logits(const Rows& rows);

  // The share of zeros in the channel mix's h over all steps of few rows so far; -1: there was
  // none.
  double zero_share() const { return zeros_of_ > 0 ? double(zeros_) / double(zeros_of_) : -1; }

  // What the recurrence of a head takes, from the end of recur() to the next phase that writes it.
  RecurArgs recur_args(int layer, const Run& run, int head) const;

  // For Trace: a copy of the first `rows` rows of a buffer by its name in the equations.
  std::vector<float> view(const std::string& name, int rows) const;

 private:
  // Activations that matrices read, [max_rows][width], and their quantised form for those matrices
  // that are quantised.
  struct Input {
    float* x = nullptr;
    int width = 0;
    std::byte* q = nullptr;   // [max_rows][width] of Kernels::activation_bytes each
    float* d = nullptr;       // [max_rows][width / 32]
    int32_t* sums = nullptr;  // [max_rows][width / 16]
  };
  // Columns of all rows. The one who writes an Input quantises what it wrote, so that nobody waits.
  void quantise(const Input& input, int row, Part columns) const;

  // One matrix product of a phase: y = epilogue(W x + bias), x [rows][W.cols], y [rows][W.rows].
  struct Product {
    const Matrix& W;
    const Input& x;
    float* y;
    Epilogue epilogue = Epilogue::store;
    const float* bias = nullptr;
    const Input* quantise = nullptr;  // y as an Input, if a quantised matrix reads it
    float density = 1;                // share of x that is not zero
    float* const* y_rows = nullptr;   // instead of y, of all rows
  };
  // Some outputs of a product for some rows.
  void multiply_columns(const Product& product, Part rows, Part columns) const;
  // This worker's part of products that share no output, divided by the bytes that each reads.
  void multiply_part(std::span<const Product> products, int rows, int worker) const;

  // Calls work(row) for every row, the rows divided over the workers.
  template <class Work>
  void for_rows(int rows, Work&& work);

  // Layer norm and token shift: z = norm(x), to = z + (previous z - z) * mu for every row and mix.
  // The previous z of a run's first row is in the state; afterwards the run's last z is.
  struct Mix {
    const Vector& mu;
    const Input& to;
    bool quantise;
  };
  template <class ShiftOf>
  void norm_and_shift(const Norm& norm, const Rows& rows, ShiftOf shift,
                      std::span<const Mix> mixes);

  // Rows up to which every worker works out all moments itself rather than wait for another's.
  static constexpr int kOwnMoments = 32;

  const Hyperparameters h_;
  const Kernels& kernels_;
  const int max_rows_;
  ThreadPool pool_;
  const CpuWeights weights_;

  // Activations, [max_rows][D] but for the last ones.
  struct Activations {
    float *x, *z;                        // residual stream; its norm
    Input z_r, z_w, z_k, z_v, z_a, z_g;  // token-shifted inputs; z_k serves both mixes
    float *r, *w, *k, *v, *a, *g;        // outputs of project and recur
    float *v_first, *nu;
    Input y;
    Input w1, a1, v1, g1;  // [max_rows][rank]
    Input h;               // [max_rows][F]
    AlignedBuffer<std::byte> storage;
  } act_;
  float* v_ = nullptr;                // this layer's v: v_first in layer 0
  std::vector<Moments> moments_;      // [max_rows]
  int64_t zeros_ = 0, zeros_of_ = 0;  // of h, in steps of few rows
  std::vector<float*> logit_rows_;    // where the rows of logits go
};

}  // namespace anser
