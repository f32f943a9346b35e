// The CUDA backend: the five phases of model/forward.h as kernels in one queue.
//
// Up to four rows go through kernels that compute in fp32 and read every weight once; more through
// tensor cores, with activations in f16 or bf16: ours while the weights' bytes are the cost,
// cuBLASLt's beyond; where all matrices are quantised, with activations in 8 bits, as on the CPU,
// before cuBLASLt's or in their place. All sum in fp32 and keep states in fp32 or, if asked to,
// f16. A step whose shape was seen before is replayed from a recording.
//
// States live in device memory: a State that comes from the host is taken over at its first step.
#pragma once

#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "anser/engine.h"
#include "anser/model.h"
#include "anser/sampling.h"
#include "cuda/candidate_search.h"
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
  static constexpr bool kKeepsLogits = true;

  // On the first device. options.max_rows of 0: as many as an eighth of the free memory is enough
  // for, up to 4096. Throws Error: no device, too old a device, too little memory, heads of a size
  // without kernels.
  CudaBackend(const Model& model, const EngineOptions& options);
  ~CudaBackend();

  int layers() const { return h_.layers; }
  int max_rows() const { return max_rows_; }
  int threads() const { return 1; }
  std::string name() const;
  // Up to so many rows weights are skipped where h is zero: beyond, most are needed by some row.
  int few_rows() const { return kSparseRows; }
  size_t state_bytes() const { return states_->layout().floats() * sizeof(float); }

  // The phases; model/forward.h says what each computes. logits() returns when the step is queued,
  // and before that waits only for rows that go to the host.
  void embed(const Rows& rows);
  void project(int layer, const Rows& rows);
  void recur(int layer, const Rows& rows);
  void output(int layer, const Rows& rows);
  void expand(int layer, const Rows& rows);
  void contract(int layer, const Rows& rows);
  void logits(const Rows& rows);

  // Waits for all steps. Throws Error when the device failed, or a wanted logit was not finite:
  // once for all steps since the last time. embed() throws it, too, of the step before the last,
  // and so do states of this backend when they are looked at.
  void wait();

  // Where this backend has a state's logits, to look for candidates in them; nullptr when it has
  // not.
  const float* find_logits(const State& state) const;
  // The largest of rows that find_logits() returned, each for its query. Waits, and throws like
  // wait(). Valid until the next call.
  std::span<const Candidates> candidates(std::span<const float* const> logits,
                                         std::span<const CandidateQuery> queries);

  double zero_share() const;

  // For measuring, after a step of the same rows; the states are of no use afterwards. Of rows
  // whose logits are wanted the first kLogitRows count.
  PhaseSeconds time_phases(const Rows& rows);

  // For Trace: x, r, k, v, y and h of few rows. Steps are not recorded any more.
  std::vector<float> view(const std::string& name, int rows);

 private:
  static constexpr int kLogitRows = 256;  // that are computed together
  // h is multiplied by this where GEMMs read it in f16: relu^2 of 2047 is still finite then, and
  // what is lost below, 2^-24 / scale, is far under f16's rounding of the sums.
  static constexpr float kHiddenScale = 0x1p-6f;

  // Rows up to which products are computed in fp32: those that share one read of the weights.
  static constexpr int kFewRows = 4;
  // With nine zeros in ten, eight rows need 57 % of the lines.
  static constexpr int kSparseRows = 8;
  // Rows up to which our tensor-core kernels are taken: about where arithmetic begins to cost more
  // than the weights' bytes; for codes, where reading them again for every 32 rows costs what
  // writing them out as f16 for cuBLASLt does. Both are reckoned, not measured.
  static constexpr int kTileRows = 64, kCodedTileRows = 256;
  // Products of integers, where all matrices are codes, begin behind kTileRows, where tiles would
  // read weights a third time. On devices whose cuBLASLt is faster in f16 (kernels/integers.h has
  // the figures) they end at so many rows: about there its copy of the weights, five bytes of
  // traffic each, has paid. Elsewhere they do not end. Reckoned, too.
  static constexpr int kIntegerRows = 512;
  // Rows whose sums are shared between blocks at a time.
  static constexpr int kShareRows = 256;

  // From so many rows on a step is computed in two halves. About where half of the rows still keep
  // tensor cores as busy as all of them; reckoned, not measured.
  static constexpr int kHalvedRows = 512;

  // How the products of a step are computed.
  enum class Way { fp32, tiles, integers, gemm };
  Way way(int rows) const;
  bool sparse(int rows) const {
    return activations_ == cuda::Format::f32 || (rows <= kSparseRows && !invariant_);
  }
  float hidden_scale() const { return activations_ == cuda::Format::f16 ? kHiddenScale : 1; }

  struct Activations {
    float *x, *z, *r, *k, *v, *v_first, *y;  // [rows][D]
    float *w_up, *a_up, *g_up, *v_up;        // [rows][D]
    float *w1, *a1, *g1, *v1;                // [rows][rank]
    float* h;                                // [rows][F]
    float *vectors, *bonus, *decays;         // RecurArgs
    // Of activations_, as TileSegment's x, or of Format::bytes, which needs less.
    void *mixed[6], *y16, *h16;
    void *w1_16, *a1_16, *g1_16, *v1_16;
  };

  // What the phases work on: all rows of a step, or one of its halves, as if it were a step.
  struct Part {
    int first_row = 0, rows = 0, first_run = 0, runs = 0;
    bool chunked = false;  // a whole chunk of tokens goes through the recurrence together
    cuda::StepTable step = {};
    Activations act = {};
  };
  // The phases of one part, beside model/forward.h.
  void project(int layer, const Part& part);
  void recur(cuda::Stream& stream, int layer, const Part& part);
  void output(int layer, const Part& part);
  void expand(int layer, const Part& part);
  void contract(int layer, const Part& part);
  // Divides a step into parts, if that pays.
  void divide(const Rows& rows, int padding);
  void finish_half(int layer);
  bool chunked(std::span<const Run> runs) const;
  Activations from_row(int first) const;
  void join(cuda::Stream& stream, const cuda::Event& event);

  // Rows of the kinds that decide which kernels a step has.
  struct StepKey {
    int rows, runs, wanted;
    auto operator<=>(const StepKey&) const = default;
  };
  // Rows for which a step of `rows` that decodes is recorded.
  static int recorded_rows(int rows);

  // Of a step's tables, one after the other from tables_.begin on. Returns their bytes.
  size_t place_tables(int rows, int runs, int wanted);
  // Rows, and those that are wanted, are filled up to rows_ and wanted_.
  void upload_tables(const Rows& rows);
  // Of the wanted rows first to first + count, into logits_.
  void queue_logits(int first, int count);
  // From there to where they go: states, on the device; the host.
  void deliver_logits(int first, int count);
  void download_logits(std::span<const LogitRow> rows);
  int64_t layer_offset(int layer) const;
  cuda::NormWeights norm(const CudaNorm& norm) const {
    return {norm.weight, norm.bias, h_.norm_eps};
  }
  // y = alpha W x + beta y by cuBLASLt, x as TileSegment's.
  void multiply(const cuda::DeviceMatrix& W, const void* x, float* y, int rows, float alpha = 1,
                float beta = 0);
  // Segments without a matrix are passed over.
  void multiply_tiles(cuda::Stream& stream, std::initializer_list<cuda::TileSegment> segments,
                      int rows);
  // All of matrices of codes, with x of Format::bytes.
  void multiply_integers(std::initializer_list<cuda::IntegersSegment> segments, int rows);
  // An input of products: of Format::bytes or activations_. Those without a place are passed over.
  struct Mixed {
    const float* mix;
    void* to;
    bool coded = false;
  };
  void norm_and_shift(const CudaNorm& weights, int64_t shift_offset, const Part& part,
                      std::initializer_list<Mixed> mixes);
  cuda::RecurArgs recur_args(int layer, const Part& part) const;

  const Model model_;
  const Hyperparameters h_;
  const cuda::DeviceInfo device_;
  const cuda::Card card_;
  mutable cuda::Stream stream_;
  const CudaWeights weights_;
  cuda::Gemm gemm_;
  const std::shared_ptr<StatePool> states_;
  // Of what products read where there are more than few rows. f32, of models whose matrices are,
  // has no tensor cores: all rows count as few.
  cuda::Format activations_ = cuda::Format::f16;
  const bool invariant_;
  const bool records_;      // not with ANSER_CUDA_PLAIN=1 in the environment
  const bool chunks_;       // the device and the model can, and the options let them
  const int integer_rows_;  // up to which Way::integers is taken; 0: never
  int max_rows_;

  Activations act_ = {};  // of max_rows rows
  // What all parts share.
  float* logits_ = nullptr;  // [kLogitRows][V]
  cuda::Shares shares_ = {};
  unsigned long long* nonzero_ = nullptr;
  void* widened_ = nullptr;  // one matrix of a layer
  int* joints_ = nullptr;    // [1] that join() writes
  struct Tables {            // of a step, where place_tables() puts them:
    std::byte* begin;
    cuda::RowEntry* rows;
    cuda::RunEntry* runs;
    int* wanted;        // [wanted] rows
    float** logits_to;  // [wanted] in states; nullptr: to the host
    int* not_finite;    // [wanted] whether one of the row's logits is not
  } tables_ = {};
  cuda::Buffer memory_;
  cuda::PinnedBuffer host_logits_;  // [kLogitRows][V]

  // What a step has on the host, twice: one is prepared while the device is at the other.
  struct HostSide {
    cuda::PinnedBuffer tables;      // as on the device
    cuda::PinnedBuffer not_finite;  // as on the device, when `done`
    cuda::Event done;
    std::vector<uint64_t> tokens;  // of each wanted row; empty when not_finite has been looked at
  };
  // Waits for the step and looks at not_finite.
  void finish(HostSide& step);
  HostSide host_[2];
  int now_ = 0;           // the step's part of host_
  std::mutex finishing_;  // other threads may look at states
  CandidateSearch search_;

  // Of the step: one or two, and for two of them the queue beside stream_ in which recurrences run.
  Part parts_[2];
  int part_count_ = 1, rows_ = 0, wanted_ = 0;  // with those that fill up
  cuda::Stream side_;
  cuda::Event projected_[2], recurred_[2];
  const float* v_ = nullptr;  // this layer's v, for view()

  // Shapes are computed plainly once, which lets the GEMMs choose their algorithms, then recorded.
  std::map<StepKey, std::optional<cuda::Graph>> steps_;
  // queueing_: between embed() and the end of logits().
  bool queueing_ = false, recording_ = false, replaying_ = false, traced_ = false;
  uint64_t hidden_ = 0;  // numbers of h in steps of few rows so far
};

}  // namespace anser
