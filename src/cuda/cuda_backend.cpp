#include "cuda/cuda_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "anser/error.h"
#include "base/check.h"
#include "model/load_weights.h"

namespace anser {
namespace {

using namespace cuda;

constexpr size_t kMostGraphs = 128;
constexpr int kMostRows = 4096, kLeastRows = 64;  // where the backend chooses

DeviceInfo choose_device(const Hyperparameters& h) {
  std::string why;
  const std::vector<DeviceInfo> found = usable_devices(why);
  if (found.empty()) throw Error(why + "; use the CPU (--device cpu)");
  if (!recur_supports(h.head_size)) {
    throw Error(
        fmt::format("no CUDA kernels for heads of {}; there are for 16, 32, 64 and 128. "
                    "Use --device cpu",
                    h.head_size));
  }
  select(found.front().index);
  return found.front();
}

bool all_coded(const CudaWeights& weights) {
  return std::all_of(weights.layers.begin(), weights.layers.end(), [](const CudaLayer& l) {
    for (const DeviceMatrix* m :
         {&l.att.receptance, &l.att.key, &l.att.value, &l.att.output, &l.ffn.key, &l.ffn.value}) {
      if (is_plain(m->format)) return false;
    }
    return true;
  });
}

// The data centre's devices: consumers' have f16 products with sums in fp32 at half the rate.
bool fast_f16(const DeviceInfo& device) {
  const int version = 10 * device.major + device.minor;
  return version == 80 || version == 90 || device.major == 10;
}

}  // namespace

CudaBackend::CudaBackend(const Model& model, const EngineOptions& options)
    : model_(model),
      h_(model.hyperparameters()),
      device_(choose_device(h_)),
      card_{device_.processors, device_.shared_bytes - kOwnSharedBytes},
      weights_(model.weights(), h_, stream_),
      states_(std::make_shared<StatePool>(
          device_.index, StateLayout{model.initial_state().shape(), options.state16},
          size_t(h_.vocab))),
      invariant_(options.invariant),
      records_(!plain_launches()),
      chunks_(!invariant_ && device_.major >= 8 && chunks_support(h_.head_size)),
      integer_rows_(invariant_ || !all_coded(weights_)       ? 0
                    : fast_f16(device_) && Gemm::available() ? kIntegerRows
                                                             : std::numeric_limits<int>::max()) {
  states_->set_wait([this] { wait(); });
  const Format key = weights_.layers[0].ffn.key.format;
  activations_ = is_plain(key) ? key : Format::f16;
  // Tensor cores of compute capability 7.5 know no bf16.
  if (activations_ == Format::bf16 && device_.major < 8) activations_ = Format::f16;
  max_rows_ = options.max_rows > 0 ? std::min(options.max_rows, kGridRows) : kMostRows;

  // Once to count the bytes, once to hand them out.
  std::byte* base = nullptr;
  size_t taken = 0;
  const auto take = [&](auto*& to, size_t bytes) {
    to = reinterpret_cast<std::remove_reference_t<decltype(to)>>(base + taken);
    taken += aligned(bytes);
  };
  const size_t D = size_t(h_.width), F = size_t(h_.ffn);
  const size_t half = activations_ == Format::f32 ? 0 : sizeof(uint16_t);
  // cuBLASLt reads matrices in the activations' type only.
  size_t widened_numbers = 0;
  for (const CudaLayer& layer : weights_.layers) {
    for (const DeviceMatrix* W : {&layer.att.receptance, &layer.att.key, &layer.att.value,
                                  &layer.att.output, &layer.ffn.key, &layer.ffn.value}) {
      if (W->format == activations_) continue;
      widened_numbers = std::max(widened_numbers, size_t(W->rows) * size_t(W->cols));
    }
  }
  size_t counter_bytes = 0;
  const auto hand_out = [&](size_t rows) {
    taken = 0;
    for (float** to : {&act_.x, &act_.z, &act_.r, &act_.k, &act_.v, &act_.v_first, &act_.y,
                       &act_.w_up, &act_.a_up, &act_.g_up, &act_.v_up}) {
      take(*to, rows * D * sizeof(float));
    }
    const std::pair<std::pair<float**, void**>, int> ranks[] = {
        {{&act_.w1, &act_.w1_16}, h_.rank_w},
        {{&act_.a1, &act_.a1_16}, h_.rank_a},
        {{&act_.g1, &act_.g1_16}, h_.rank_g},
        {{&act_.v1, &act_.v1_16}, h_.rank_v}};
    for (const auto& [to, rank] : ranks) {
      take(*to.first, rows * size_t(rank) * sizeof(float));
      take(*to.second, rows * size_t(padded_to_octets(rank)) * half);
    }
    take(act_.h, rows * F * sizeof(float));
    take(act_.vectors, rows * D * 6 * sizeof(float));
    take(act_.bonus, rows * size_t(h_.heads) * sizeof(float));
    take(act_.decays, ((rows + kChunkTokens - 1) / kChunkTokens + 1) * D * sizeof(float));
    take(logits_, std::min<size_t>(rows, kLogitRows) * size_t(h_.vocab) * sizeof(float));
    const int shared_rows = int(std::min<size_t>(rows, kShareRows));
    take(shares_.partial, size_t(share_floats(h_.ffn, shared_rows, h_.width)) * sizeof(float));
    counter_bytes = size_t(share_counters(shared_rows, h_.width)) * sizeof(unsigned);
    take(shares_.arrived, counter_bytes);
    take(nonzero_, sizeof(*nonzero_));
    for (void*& to : act_.mixed) take(to, rows * D * half);
    take(act_.y16, rows * D * half);
    take(act_.h16, rows * size_t(padded_to_octets(h_.ffn)) * half);
    take(widened_, widened_numbers * half);
    take(joints_, sizeof(int));
    take(tables_.begin, place_tables(int(rows), int(rows), int(rows)));
  };
  hand_out(size_t(max_rows_));
  // The device's choice: no more than an eighth of the memory that the weights leave.
  const size_t free = device_.free_bytes - std::min(device_.free_bytes, weights_.memory.bytes());
  while (options.max_rows == 0 && max_rows_ > kLeastRows && taken > free / 8) {
    hand_out(size_t(max_rows_ /= 2));
  }
  memory_ = Buffer(taken);
  base = memory_.as<std::byte>();
  hand_out(size_t(max_rows_));
  for (HostSide& host : host_) {
    host.tables = PinnedBuffer(place_tables(max_rows_, max_rows_, max_rows_));
    host.not_finite = PinnedBuffer(size_t(max_rows_) * sizeof(int));
  }
  stream_.zero(shares_.arrived, counter_bytes);
  stream_.zero(nonzero_, sizeof(*nonzero_));
  stream_.wait();
}

CudaBackend::~CudaBackend() {
  try {
    stream_.wait();
  } catch (const Error&) {
    // The device has failed; whoever stepped last was told.
  }
  states_->set_wait(nullptr);
}

std::string CudaBackend::name() const {
  return fmt::format("cuda:{} {}", device_.index, device_.name);
}

void CudaBackend::wait() {
  // Not for the queue, which the engine's thread may be recording while others look at states.
  for (HostSide& host : host_) finish(host);
}

void CudaBackend::finish(HostSide& step) {
  const std::lock_guard lock(finishing_);
  step.done.wait();
  const auto* not_finite = reinterpret_cast<const int*>(step.not_finite.data());
  for (size_t i = 0; i < step.tokens.size(); ++i) {
    if (not_finite[i] == 0) continue;
    const uint64_t tokens = step.tokens[i];
    // One cause makes all steps fail that follow; it is reported once.
    for (HostSide& host : host_) host.tokens.clear();
    fail_not_finite(model_, tokens);
  }
  step.tokens.clear();
}

int64_t CudaBackend::layer_offset(int layer) const {
  return layer * int64_t(states_->layout().layer_floats());
}

// Close together, so that a step of few rows uploads little; the same places for all steps of one
// StepKey, since recordings have them.
size_t CudaBackend::place_tables(int rows, int runs, int wanted) {
  size_t taken = 0;
  const auto take = [&](auto*& to, int count) {
    to = reinterpret_cast<std::remove_reference_t<decltype(to)>>(tables_.begin + taken);
    taken += aligned(size_t(count) * sizeof(*to));
  };
  take(tables_.rows, rows);
  take(tables_.runs, runs);
  take(tables_.wanted, wanted);
  take(tables_.logits_to, wanted);
  take(tables_.not_finite, wanted);
  return taken;
}

void CudaBackend::upload_tables(const Rows& rows) {
  now_ ^= 1;
  HostSide& host = host_[now_];
  finish(host);  // its memory is written anew
  const int padding = rows_ - rows.count();
  const int runs = int(rows.runs.size()) + padding;
  const size_t bytes = place_tables(rows_, runs, wanted_);
  divide(rows, padding);
  const auto at = [&](auto* on_device) {
    return reinterpret_cast<decltype(on_device)>(
        host.tables.data() + (reinterpret_cast<std::byte*>(on_device) - tables_.begin));
  };
  RowEntry* row_entries = at(tables_.rows);
  RunEntry* run_entries = at(tables_.runs);
  for (const Part& part : std::span(parts_, size_t(part_count_))) {
    for (int i = 0; i < part.runs; ++i) {
      const size_t index = size_t(part.first_run + i);
      const bool pads = index >= rows.runs.size();  // by one row each
      const Run run = pads ? Run{nullptr, rows.count() + int(index - rows.runs.size()), 1, 0}
                           : rows.runs[index];
      run_entries[index] = {pads ? nullptr : states_->take_over(*run.state),
                            run.first - part.first_row, run.count,
                            int(run.position % kChunkTokens)};
      for (int row = run.first; row < run.first + run.count; ++row) {
        row_entries[row] = {pads ? 0 : rows.tokens[size_t(row)], i};
      }
    }
  }
  // A row's state is that of its run; runs and wanted rows are both in the order of rows.
  size_t run = 0;
  for (int i = 0; i < wanted_; ++i) {
    const bool pads = i >= int(rows.wanted.size());
    const int row = pads ? 0 : rows.wanted[size_t(i)].row;
    while (!pads && row >= rows.runs[run].first + rows.runs[run].count) ++run;
    const bool to_state = !pads && rows.wanted[size_t(i)].logits == nullptr;
    at(tables_.wanted)[i] = row;
    at(tables_.logits_to)[i] = to_state ? states_->logits_of(run_entries[run].state) : nullptr;
    at(tables_.not_finite)[i] = 0;
  }
  stream_.upload(tables_.begin, host.tables.data(), bytes);
}

// Recordings are made for few of the numbers of rows that a server's batch may have; rows that fill
// up cost as good as nothing where weights are what a step reads.
int CudaBackend::recorded_rows(int rows) {
  const int step = rows <= 8 ? 1 : rows <= 64 ? 8 : rows <= 256 ? 32 : 128;
  return (rows + step - 1) / step * step;
}

void CudaBackend::embed(const Rows& rows) {
  select(device_.index);
  if (queueing_) {  // an earlier step failed half-way
    if (std::exchange(recording_, false)) stream_.drop_recording();
    stream_.wait();
  }
  queueing_ = true;
  replaying_ = false;
  const int count = rows.count(), wanted = int(rows.wanted.size());
  // Recordings cannot wait in between, as rows that go to the host must.
  const bool decoding =
      !traced_ && rows.runs.size() == rows.tokens.size() &&
      std::none_of(rows.wanted.begin(), rows.wanted.end(),
                   [](const LogitRow& wanted) { return wanted.logits != nullptr; });
  rows_ = decoding ? std::min(recorded_rows(count), max_rows_) : count;
  wanted_ = wanted == count ? rows_ : wanted;
  upload_tables(rows);
  if (decoding) {
    const StepKey key = {rows_, rows_, wanted_};
    const auto [at, is_new] = steps_.try_emplace(key);
    if (at->second) {
      replaying_ = true;
      return;
    }
    recording_ = records_ && !is_new && steps_.size() <= kMostGraphs;
    if (recording_) stream_.begin_recording();
  }
  const StepTable step = {tables_.rows, tables_.runs, rows_, 0};
  cuda::embed(stream_.handle(), {step, weights_.emb, norm(weights_.ln0), act_.x});
}

void CudaBackend::queue_logits(int first, int count) {
  if (count == 0) return;
  const NormWeights ln_out = norm(weights_.ln_out);
  if (way(count) == Way::fp32) {
    GemvArgs args;
    args.segments[0] = {weights_.head, nullptr, logits_};
    args.count = 1;
    args.source = Source::norm;
    args.x = act_.x;
    args.row_of = tables_.wanted + first;
    args.rows = count;
    args.width = h_.width;
    args.norm = ln_out;
    gemv(stream_.handle(), args, card_);
    return;
  }
  MixArgs args = {};
  args.x = act_.x;
  args.width = h_.width;
  args.norm = ln_out;
  args.to[0] = act_.mixed[0];
  args.count = 1;
  args.type = activations_;
  args.row_of = tables_.wanted + first;
  args.rows = count;
  cuda::mix(stream_.handle(), args);
  const bool many = way(count) == Way::gemm && weights_.head.format == activations_;
  many ? multiply(weights_.head, act_.mixed[0], logits_, count)
       : multiply_tiles(stream_, {{weights_.head, act_.mixed[0], logits_}}, count);
}

void CudaBackend::deliver_logits(int first, int count) {
  deliver(stream_.handle(), {.from = logits_,
                             .to = tables_.logits_to + first,
                             .not_finite = tables_.not_finite + first,
                             .rows = count,
                             .vocab = h_.vocab});
}

void CudaBackend::download_logits(std::span<const LogitRow> rows) {
  const auto on_host = [](const LogitRow& wanted) { return wanted.logits != nullptr; };
  if (std::none_of(rows.begin(), rows.end(), on_host)) return;
  const size_t bytes = size_t(h_.vocab) * sizeof(float);
  if (host_logits_.data() == nullptr) {
    host_logits_ = PinnedBuffer(size_t(std::min(max_rows_, kLogitRows)) * bytes);
  }
  stream_.download(host_logits_.data(), logits_, rows.size() * bytes);
  stream_.wait();
  for (size_t i = 0; i < rows.size(); ++i) {
    if (on_host(rows[i])) std::memcpy(rows[i].logits, host_logits_.data() + i * bytes, bytes);
  }
}

void CudaBackend::logits(const Rows& rows) {
  const int count = int(rows.wanted.size());
  for (int first = 0; first < wanted_ && !replaying_; first += kLogitRows) {
    const int here = std::min(kLogitRows, wanted_ - first);
    queue_logits(first, here);
    deliver_logits(first, here);
    if (!recording_ && wanted_ == count) {
      download_logits(rows.wanted.subspan(size_t(first), size_t(here)));
    }
  }
  if (recording_ || replaying_) {
    auto& graph = steps_.at({rows_, rows_, wanted_});
    if (recording_) {
      recording_ = false;
      graph.emplace(stream_.end_recording());
    }
    stream_.launch(*graph);
  }

  HostSide& host = host_[now_];
  const std::lock_guard lock(finishing_);
  if (count > 0) {
    stream_.download(host.not_finite.data(), tables_.not_finite, size_t(count) * sizeof(int));
  }
  for (const LogitRow& wanted : rows.wanted) host.tokens.push_back(wanted.tokens);
  stream_.record(host.done);
  queueing_ = false;
}

const float* CudaBackend::find_logits(const State& state) const {
  return candidates_support(h_.vocab) ? states_->find_logits(state) : nullptr;
}

std::span<const Candidates> CudaBackend::candidates(std::span<const float* const> logits,
                                                    std::span<const CandidateQuery> queries) {
  select(device_.index);
  search_.queue(stream_, h_.vocab, logits, queries);
  stream_.wait();
  wait();
  return search_.found();
}

double CudaBackend::zero_share() const {
  if (hidden_ == 0) return -1;
  unsigned long long nonzero = 0;
  stream_.download(&nonzero, nonzero_, sizeof(nonzero));
  stream_.wait();
  return 1 - double(nonzero) / double(hidden_);
}

std::vector<float> CudaBackend::view(const std::string& name, int rows) {
  traced_ = true;
  const std::pair<const char*, std::pair<const float*, int>> buffers[] = {
      {"x", {act_.x, h_.width}}, {"r", {act_.r, h_.width}}, {"k", {act_.k, h_.width}},
      {"v", {v_, h_.width}},     {"y", {act_.y, h_.width}}, {"h", {act_.h, h_.ffn}},
  };
  for (const auto& [known, buffer] : buffers) {
    if (name != known) continue;
    std::vector<float> copy(size_t(rows) * size_t(buffer.second));
    stream_.download(copy.data(), buffer.first, copy.size() * sizeof(float));
    stream_.wait();
    return copy;
  }
  ANSER_CHECK(!"a buffer of this name");
  return {};
}

}  // namespace anser
