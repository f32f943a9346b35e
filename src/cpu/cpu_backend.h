// The CPU backend: the five phases of model/forward.h over the kernel table and a thread pool.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "anser/model.h"
#include "base/aligned_buffer.h"
#include "base/thread_pool.h"
#include "cpu/cpu_weights.h"
#include "cpu/kernels.h"
#include "model/rows.h"

namespace anser {

class CpuBackend {
 public:
  // Everything that a step needs is allocated here, for up to max_rows rows.
  CpuBackend(const Model& model, int threads, int max_rows, const Kernels& kernels);

  int layers() const { return h_.layers; }
  int max_rows() const { return max_rows_; }
  int threads() { return pool_.size(); }
  const Kernels& kernels() const { return kernels_; }

  // The phases; model/forward.h says what each computes.
  void embed(const Rows& rows);
  void project(int layer, const Rows& rows);
  void recur(int layer, const Rows& rows);
  void output(int layer, const Rows& rows);
  void expand(int layer, const Rows& rows);
  void contract(int layer, const Rows& rows);
  void logits(const Rows& rows);

  // The share of zeros in the channel mix's h over all steps of few rows so far.
  double zero_share() const { return zeros_of_ > 0 ? double(zeros_) / double(zeros_of_) : 0; }

  // For Trace: a copy of the first `rows` rows of a buffer by its name in the equations.
  std::vector<float> view(const std::string& name, int rows) const;

 private:
  // One matrix product of a phase: y = epilogue(W x + bias), x [rows][W.cols], y [rows][W.rows].
  struct Product {
    const Matrix& W;
    const float* x;
    float* y;
    Epilogue epilogue = Epilogue::store;
    const float* bias = nullptr;
    float density = 1;  // share of x that is not zero
  };
  // The products share no output, so all of them are one parallel region, divided by the bytes that
  // each worker reads. Before it, inputs of quantised matrices are quantised.
  void multiply(std::span<const Product> products, int rows);

  // Quantised copies of the inputs of the running products, one for each distinct x.
  struct QuantisedInput {
    const float* x;
    int width;
    QuantisedRows rows;
  };
  size_t quantised_bytes(int width, int rows) const;
  void quantise_inputs(std::span<const Product> products, int rows);
  QuantisedRows quantised(const float* x) const;

  // Calls work(row) for every row, the rows divided over the workers.
  template <class Work>
  void for_rows(int rows, Work&& work);

  // z = norm(x), row by row.
  void norm_rows(const Norm& norm, int rows);

  // Token shift: to = z + (previous z - z) * mu for every row and mix. The previous z of a run's
  // first row is in the state; afterwards the run's last z is.
  struct Mix {
    const Vector& mu;
    float* to;
  };
  template <class ShiftOf>
  void shift_rows(const Rows& rows, ShiftOf shift, std::span<const Mix> mixes);

  // Logits are computed for this many rows at a time: enough to read the head seldom, few enough
  // for their 65536 columns to take 8 MB.
  static constexpr int kLogitRows = 32;

  const Hyperparameters h_;
  const Kernels& kernels_;
  const int max_rows_;
  ThreadPool pool_;
  const CpuWeights weights_;

  // Activations, [max_rows][D] but for the last ones. Also their order in storage.
  struct Activations {
    AlignedBuffer<float> storage;
    float *x, *z;                              // residual stream; its norm
    float *z_r, *z_w, *z_k, *z_v, *z_a, *z_g;  // token-shifted inputs; z_k serves both mixes
    float *r, *w, *k, *v, *a, *g;              // outputs of project
    float *v_first, *nu, *y;
    float *w1, *a1, *v1, *g1;  // [max_rows][rank]
    float* h;                  // [max_rows][F]
  } act_;
  float* v_ = nullptr;  // this layer's v: v_first in layer 0
  // Room for the quantised inputs of a phase: q, d and sums of up to four x.
  AlignedBuffer<std::byte> quantised_storage_;
  std::vector<QuantisedInput> quantised_;
  int64_t zeros_ = 0, zeros_of_ = 0;  // of h, in steps of few rows
  AlignedBuffer<float> logits_;       // [kLogitRows][V]
};

}  // namespace anser
