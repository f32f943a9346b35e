// The CUDA backend: the five phases of model/forward.h as kernels in one queue.
//
// Few rows go through kernels that read every weight once for up to four of them; many rows through
// cuBLASLt, with activations in the weights' own 16-bit type. Both sum in fp32 and keep states in
// fp32. A step whose shape was seen before is replayed from a recording.
//
// States live in device memory: a State that comes from the host is taken over at its first step.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "anser/engine.h"
#include "anser/model.h"
#include "cuda/cuda_weights.h"
#include "cuda/gemm.h"
#include "cuda/kernels.h"
#include "cuda/runtime.h"
#include "cuda/state_pool.h"
#include "model/phases.h"
#include "model/rows.h"

namespace anser {

class CudaBackend {
 public:
  static constexpr Device kDevice = Device::cuda;

  // On the first device. max_rows of 0: as many as an eighth of the free memory is enough for, up
  // to 4096. Throws Error: no device, too old a device, too little memory, heads of a size without
  // kernels.
  CudaBackend(const Model& model, int max_rows);
  ~CudaBackend();

  int layers() const { return h_.layers; }
  int max_rows() const { return max_rows_; }
  int threads() const { return 1; }
  std::string name() const;
  // Up to so many rows weights are skipped where h is zero.
  int few_rows() const { return few_rows_; }
  bool all_finite(std::span<const float> x) const;

  // The phases; model/forward.h says what each computes. The results of a step are there when
  // logits() returns.
  void embed(const Rows& rows);
  void project(int layer, const Rows& rows);
  void recur(int layer, const Rows& rows);
  void output(int layer, const Rows& rows);
  void expand(int layer, const Rows& rows);
  void contract(int layer, const Rows& rows);
  void logits(const Rows& rows);

  double zero_share() const;

  // For measuring, after a step of the same rows; the states are of no use afterwards. Of rows
  // whose logits are wanted the first kLogitRows count.
  PhaseSeconds time_phases(const Rows& rows);

  // For Trace: x, r, k, v, y and h of few rows. Steps are not recorded any more.
  std::vector<float> view(const std::string& name, int rows);

 private:
  static constexpr int kLogitRows = 64;  // that are computed together
  // h is multiplied by this where GEMMs read it in f16: relu^2 of 2047 is still finite then, and
  // what is lost below, 2^-24 / scale, is far under f16's rounding of the sums.
  static constexpr float kHiddenScale = 0x1p-6f;

  struct StepKey {
    int rows, runs, wanted;
    auto operator<=>(const StepKey&) const = default;
  };

  bool few(const Rows& rows) const { return rows.count() <= few_rows_; }
  void upload_tables(const Rows& rows);
  // Of the wanted rows first to first + count, into act_.logits; from there to where they go.
  void queue_logits(int first, int count);
  void download_logits(std::span<const LogitRow> rows);
  int64_t layer_offset(int layer) const;
  cuda::NormWeights norm(const CudaNorm& norm) const {
    return {norm.weight, norm.bias, h_.norm_eps};
  }
  // y = W x + beta y with x in the GEMMs' type.
  void multiply(const cuda::DeviceMatrix& W, const void* x, float* y, int rows, float alpha = 1,
                float beta = 0);
  cuda::RecurArgs recur_args(int layer) const;

  const Hyperparameters h_;
  cuda::DeviceInfo device_;
  mutable cuda::Stream stream_;
  const CudaWeights weights_;
  cuda::Gemm gemm_;
  const std::shared_ptr<StatePool> states_;
  cuda::Format gemm_type_ = cuda::Format::f16;
  int max_rows_, few_rows_ = 8;

  struct Activations {
    float *x, *z, *r, *k, *v, *v_first, *y;  // [max_rows][D]
    float *w_up, *a_up, *g_up, *v_up;        // [max_rows][D]
    float *w1, *a1, *g1, *v1;                // [max_rows][rank]
    float* h;                                // [max_rows][F]
    float *vectors, *bonus;                  // RecurArgs
    float* logits;                           // [kLogitRows][V]
    float* partial;                          // ContractArgs
    unsigned* arrived;
    unsigned long long* nonzero;
    void *mixed[6], *y16, *h16;  // in the GEMMs' type
    void *w1_16, *a1_16, *g1_16, *v1_16;
    void* widened;         // one matrix
    cuda::RowEntry* rows;  // the step's tables, one after the other
    cuda::RunEntry* runs;
    int* wanted;
  } act_ = {};
  cuda::Buffer memory_;
  size_t table_bytes_ = 0;
  cuda::PinnedBuffer tables_;       // as on the device, from act_.rows on
  cuda::PinnedBuffer host_logits_;  // [kLogitRows][V]
  cuda::StepTable step_ = {};
  float* v_ = nullptr;  // this layer's v: v_first in layer 0

  // Shapes are computed plainly once, which lets the GEMMs choose their algorithms, then recorded.
  std::map<StepKey, std::optional<cuda::Graph>> steps_;
  bool recording_ = false, replaying_ = false, traced_ = false;
  uint64_t hidden_ = 0;  // numbers of h in steps of few rows so far
};

}  // namespace anser
