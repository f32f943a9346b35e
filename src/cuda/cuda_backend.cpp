#include "cuda/cuda_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "anser/error.h"
#include "base/check.h"

namespace anser {
namespace {

using namespace cuda;

constexpr size_t kMostGraphs = 128;

DeviceInfo choose_device(const Hyperparameters& h) {
  std::string why;
  const std::vector<DeviceInfo> found = devices(why);
  if (found.empty()) throw Error(why + "; use the CPU (--device cpu)");
  const DeviceInfo& device = found.front();
  if (device.major * 10 + device.minor < 75) {
    throw Error(
        fmt::format("{} has compute capability {}.{}; CUDA needs 7.5 or newer here. Use "
                    "--device cpu",
                    device.name, device.major, device.minor));
  }
  if (!recur_supports(h.head_size)) {
    throw Error(
        fmt::format("no CUDA kernels for heads of {}; there are for 16, 32, 64 and 128. "
                    "Use --device cpu",
                    h.head_size));
  }
  select(device.index);
  return device;
}

bool is_quantised(const DeviceMatrix& W) {
  return W.format == Format::bytes || W.format == Format::nibbles;
}

size_t padded(size_t bytes) {
  return (bytes + 255) / 256 * 256;
}

}  // namespace

CudaBackend::CudaBackend(const Model& model, int max_rows)
    : h_(model.hyperparameters()),
      max_rows_(max_rows),
      device_(choose_device(h_)),
      weights_(model.weights(), h_, stream_),
      states_(std::make_shared<StatePool>(device_.index, model.initial_state().shape().floats())) {
  states_->set_work(&stream_);
  const DeviceMatrix& key = weights_.layers[0].ffn.key;
  if (is_quantised(key)) {
    // Reading a byte of weight four times costs what widening it once for a GEMM does.
    few_rows_ = 16;
  } else {
    gemm_type_ = key.format;
  }
  few_rows_ = std::min(few_rows_, max_rows);

  // Once to count the bytes, once to hand them out.
  std::byte* base = nullptr;
  size_t taken = 0;
  const auto take = [&](auto*& to, size_t bytes) {
    to = reinterpret_cast<std::remove_reference_t<decltype(to)>>(base + taken);
    taken += padded(bytes);
  };
  const size_t rows = size_t(max_rows), D = size_t(h_.width), F = size_t(h_.ffn);
  const size_t gemm_size = gemm_type_ == Format::f32 ? 4 : 2;
  const auto hand_out = [&] {
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
      take(*to.second, rows * size_t(rank) * gemm_size);
    }
    take(act_.h, rows * F * sizeof(float));
    take(act_.vectors, rows * D * 6 * sizeof(float));
    take(act_.bonus, rows * size_t(h_.heads) * sizeof(float));
    take(act_.logits, size_t(kLogitRows) * size_t(h_.vocab) * sizeof(float));
    take(act_.partial,
         size_t(contract_partial_floats(h_.ffn, few_rows_, h_.width)) * sizeof(float));
    take(act_.arrived, size_t(contract_counters(few_rows_, h_.width)) * sizeof(unsigned));
    take(act_.nonzero, sizeof(unsigned));
    for (void*& to : act_.mixed) take(to, rows * D * gemm_size);
    take(act_.y16, rows * D * gemm_size);
    take(act_.h16, rows * F * gemm_size);
    take(act_.widened, std::max(size_t(h_.vocab), std::max(F, D)) * D * gemm_size);
    const size_t tables_at = taken;
    take(act_.rows, rows * sizeof(RowEntry));
    take(act_.runs, rows * sizeof(RunEntry));
    take(act_.wanted, rows * sizeof(int));
    table_bytes_ = taken - tables_at;
  };
  hand_out();
  memory_ = Buffer(taken);
  base = memory_.as<std::byte>();
  hand_out();
  tables_ = PinnedBuffer(table_bytes_);
  host_logits_ = PinnedBuffer(size_t(kLogitRows) * size_t(h_.vocab) * sizeof(float));
  stream_.zero(act_.arrived, size_t(contract_counters(few_rows_, h_.width)) * sizeof(unsigned));
  stream_.zero(act_.nonzero, sizeof(unsigned));
  stream_.wait();
}

CudaBackend::~CudaBackend() {
  try {
    stream_.wait();
  } catch (const Error&) {
    // The device has failed; whoever stepped last was told.
  }
  states_->set_work(nullptr);
}

std::string CudaBackend::name() const {
  return fmt::format("cuda:{} {}", device_.index, device_.name);
}

bool CudaBackend::all_finite(std::span<const float> x) const {
  return std::all_of(x.begin(), x.end(), [](float v) { return std::isfinite(v); });
}

int64_t CudaBackend::layer_offset(int layer) const {
  return layer * int64_t(StateShape{h_.layers, h_.width, h_.heads, h_.head_size}.layer_floats());
}

void CudaBackend::take_states(const Rows& rows) {
  for (const Run& run : rows.runs) {
    if (states_->find(*run.state) == nullptr) {
      auto made = states_->make();
      // Copied before the state lets go of its numbers.
      State probe;
      probe.take(made);
      states_->upload(states_->find(probe), run.state->data());
      run.state->take(std::move(made));
    } else {
      run.state->take(run.state->remote());  // what the host has of it grows old
    }
  }
}

void CudaBackend::upload_tables(const Rows& rows) {
  const auto at = [&](const void* on_device) {
    return tables_.data() + (static_cast<const std::byte*>(on_device) -
                             reinterpret_cast<const std::byte*>(act_.rows));
  };
  auto* row_entries = reinterpret_cast<RowEntry*>(at(act_.rows));
  auto* run_entries = reinterpret_cast<RunEntry*>(at(act_.runs));
  auto* wanted = reinterpret_cast<int*>(at(act_.wanted));
  for (size_t i = 0; i < rows.runs.size(); ++i) {
    const Run& run = rows.runs[i];
    run_entries[i] = {states_->find(*run.state), run.first, run.count};
    for (int row = run.first; row < run.first + run.count; ++row) {
      row_entries[row] = {rows.tokens[size_t(row)], int(i)};
    }
  }
  for (size_t i = 0; i < rows.wanted.size(); ++i) wanted[i] = rows.wanted[i].row;
  stream_.upload(act_.rows, tables_.data(), table_bytes_);
  step_ = {act_.rows, act_.runs, rows.count(), int(rows.runs.size())};
}

void CudaBackend::embed(const Rows& rows) {
  select(device_.index);
  if (recording_) {  // an earlier step failed half-way
    recording_ = false;
    stream_.end_recording();
  }
  take_states(rows);
  upload_tables(rows);
  replaying_ = false;
  const StepKey key = {rows.count(), int(rows.runs.size()), int(rows.wanted.size())};
  const bool decoding = rows.runs.size() == rows.tokens.size() && key.wanted <= kLogitRows;
  if (decoding && !traced_) {
    const auto [at, is_new] = steps_.try_emplace(key);
    if (at->second) {
      replaying_ = true;
      return;
    }
    recording_ = !is_new && steps_.size() <= kMostGraphs;
    if (recording_) stream_.begin_recording();
  }
  cuda::embed(stream_.handle(), {step_, weights_.emb, norm(weights_.ln0), act_.x});
}

void CudaBackend::multiply(const DeviceMatrix& W, const void* x, float* y, int rows, float alpha,
                           float beta) {
  Product product = {.W = W.codes,
                     .transposed = W.transposed,
                     .pitch = W.stride,
                     .x = x,
                     .y = y,
                     .rows = rows,
                     .inputs = W.cols,
                     .outputs = W.rows,
                     .type = gemm_type_,
                     .alpha = alpha,
                     .beta = beta};
  if (W.format != gemm_type_) {
    widen(stream_.handle(), {W, act_.widened, gemm_type_});
    product.W = act_.widened;
    product.pitch = W.transposed ? W.rows : W.cols;
  }
  gemm_.multiply(stream_, product);
}

void CudaBackend::project(int layer, const Rows& rows) {
  v_ = layer == 0 ? act_.v_first : act_.v;
  if (replaying_) return;
  const CudaTimeMix& att = weights_.layers[size_t(layer)].att;
  const int used = layer == 0 ? 6 : 7;  // layer 0 has no value residual
  if (few(rows)) {
    const GemvSegment segments[] = {
        {att.receptance, att.x_r, act_.r}, {att.key, att.x_k, act_.k},
        {att.value, att.x_v, v_},          {att.w1, att.x_w, act_.w1, Epilogue::tanh},
        {att.a1, att.x_a, act_.a1},        {att.g1, att.x_g, act_.g1, Epilogue::sigmoid},
        {att.v1, att.x_v, act_.v1},
    };
    GemvArgs args;
    std::copy_n(segments, used, args.segments);
    args.count = used;
    args.source = Source::shift;
    args.x = act_.x;
    args.rows = rows.count();
    args.width = h_.width;
    args.norm = norm(weights_.layers[size_t(layer)].ln1);
    args.step = step_;
    args.shift_offset = layer_offset(layer);
    args.z = act_.z;
    gemv(stream_.handle(), args, device_.shared_bytes);
    return;
  }
  cuda::mix(stream_.handle(), {.x = act_.x,
                               .width = h_.width,
                               .norm = norm(weights_.layers[size_t(layer)].ln1),
                               .step = step_,
                               .shift_offset = layer_offset(layer),
                               .mix = {att.x_r, att.x_w, att.x_k, att.x_v, att.x_a, att.x_g},
                               .to = {act_.mixed[0], act_.mixed[1], act_.mixed[2], act_.mixed[3],
                                      act_.mixed[4], act_.mixed[5]},
                               .count = 6,
                               .type = gemm_type_,
                               .row_of = nullptr,
                               .rows = rows.count(),
                               .z = act_.z});
  const auto& [r, w, k, v, a, g] = act_.mixed;
  const auto low_rank = [&](const DeviceMatrix& W, const void* x, float* y, void* to,
                            Epilogue epilogue = Epilogue::store) {
    multiply(W, x, y, rows.count());
    convert(stream_.handle(), {y, to, int64_t(rows.count()) * W.rows, gemm_type_, epilogue, 1});
  };
  multiply(att.receptance, r, act_.r, rows.count());
  multiply(att.key, k, act_.k, rows.count());
  multiply(att.value, v, v_, rows.count());
  low_rank(att.w1, w, act_.w1, act_.w1_16, Epilogue::tanh);
  low_rank(att.a1, a, act_.a1, act_.a1_16);
  low_rank(att.g1, g, act_.g1, act_.g1_16, Epilogue::sigmoid);
  if (layer > 0) low_rank(att.v1, v, act_.v1, act_.v1_16);
}

RecurArgs CudaBackend::recur_args(int layer) const {
  const CudaTimeMix& att = weights_.layers[size_t(layer)].att;
  RecurArgs args = {};
  args.step = step_;
  args.heads = h_.heads;
  args.head_size = h_.head_size;
  args.layer_offset = layer_offset(layer);
  args.r = act_.r;
  args.k = act_.k;
  args.v = v_;
  args.v_first = layer == 0 ? nullptr : act_.v_first;
  args.w1 = act_.w1;
  args.a1 = act_.a1;
  args.g1 = act_.g1;
  args.v1 = act_.v1;
  args.w2 = att.w2;
  args.a2 = att.a2;
  args.g2 = att.g2;
  args.v2 = att.v2;
  args.w0 = att.w0;
  args.a0 = att.a0;
  args.v0 = att.v0;
  args.k_k = att.k_k;
  args.k_a = att.k_a;
  args.r_k = att.r_k;
  args.ln_x = {att.ln_x.weight, att.ln_x.bias, h_.group_norm_eps};
  args.z = act_.z;
  args.y = act_.y;
  args.vectors = act_.vectors;
  args.bonus = act_.bonus;
  return args;
}

void CudaBackend::recur(int layer, const Rows& rows) {
  if (replaying_) return;
  RecurArgs args = recur_args(layer);
  if (few(rows)) {
    cuda::recur(stream_.handle(), args);
    return;
  }
  const CudaTimeMix& att = weights_.layers[size_t(layer)].att;
  multiply(att.w2, act_.w1_16, act_.w_up, rows.count());
  multiply(att.a2, act_.a1_16, act_.a_up, rows.count());
  multiply(att.g2, act_.g1_16, act_.g_up, rows.count());
  if (layer > 0) multiply(att.v2, act_.v1_16, act_.v_up, rows.count());
  args.w_up = act_.w_up;
  args.a_up = act_.a_up;
  args.g_up = act_.g_up;
  args.v_up = act_.v_up;
  recur_many(stream_.handle(), args);
}

void CudaBackend::output(int layer, const Rows& rows) {
  if (replaying_) return;
  const DeviceMatrix& W = weights_.layers[size_t(layer)].att.output;
  if (few(rows)) {
    GemvArgs args;
    args.segments[0] = {W, nullptr, act_.x, Epilogue::add};
    args.count = 1;
    args.x = act_.y;
    args.rows = rows.count();
    args.width = h_.width;
    gemv(stream_.handle(), args, device_.shared_bytes);
    return;
  }
  convert(stream_.handle(),
          {act_.y, act_.y16, int64_t(rows.count()) * h_.width, gemm_type_, Epilogue::store, 1});
  multiply(W, act_.y16, act_.x, rows.count(), 1, 1);
}

void CudaBackend::expand(int layer, const Rows& rows) {
  if (replaying_) return;
  const CudaLayer& l = weights_.layers[size_t(layer)];
  const int64_t shift_offset = layer_offset(layer) + h_.width;
  if (few(rows)) {
    GemvArgs args;
    args.segments[0] = {l.ffn.key, l.ffn.x_k, act_.h, Epilogue::relu_squared};
    args.count = 1;
    args.source = Source::shift;
    args.x = act_.x;
    args.rows = rows.count();
    args.width = h_.width;
    args.norm = norm(l.ln2);
    args.step = step_;
    args.shift_offset = shift_offset;
    args.z = act_.z;
    gemv(stream_.handle(), args, device_.shared_bytes);
    return;
  }
  cuda::mix(stream_.handle(), {.x = act_.x,
                               .width = h_.width,
                               .norm = norm(l.ln2),
                               .step = step_,
                               .shift_offset = shift_offset,
                               .mix = {l.ffn.x_k},
                               .to = {act_.mixed[0]},
                               .count = 1,
                               .type = gemm_type_,
                               .row_of = nullptr,
                               .rows = rows.count(),
                               .z = act_.z});
  multiply(l.ffn.key, act_.mixed[0], act_.h, rows.count());
}

void CudaBackend::contract(int layer, const Rows& rows) {
  if (few(rows)) hidden_ += uint64_t(rows.count()) * uint64_t(h_.ffn);
  if (replaying_) return;
  const DeviceMatrix& W = weights_.layers[size_t(layer)].ffn.value;
  const int64_t shift_offset = layer_offset(layer) + h_.width;
  if (few(rows)) {
    cuda::contract(stream_.handle(), {.value = W,
                                      .h = act_.h,
                                      .x = act_.x,
                                      .rows = rows.count(),
                                      .partial = act_.partial,
                                      .arrived = act_.arrived,
                                      .nonzero = act_.nonzero,
                                      .step = step_,
                                      .shift_offset = shift_offset,
                                      .z = act_.z});
    return;
  }
  const float scale = gemm_type_ == Format::f16 ? kHiddenScale : 1;
  relu_squared(stream_.handle(), {.key = act_.h,
                                  .to = act_.h16,
                                  .count = int64_t(rows.count()) * h_.ffn,
                                  .type = gemm_type_,
                                  .scale = scale,
                                  .step = step_,
                                  .width = h_.width,
                                  .shift_offset = shift_offset,
                                  .z = act_.z});
  multiply(W, act_.h16, act_.x, rows.count(), 1 / scale, 1);
}

void CudaBackend::queue_logits(const Rows&, int first, int count) {
  const NormWeights ln_out = norm(weights_.ln_out);
  if (count <= few_rows_) {
    GemvArgs args;
    args.segments[0] = {weights_.head, nullptr, act_.logits};
    args.count = 1;
    args.source = Source::norm;
    args.x = act_.x;
    args.row_of = act_.wanted + first;
    args.rows = count;
    args.width = h_.width;
    args.norm = ln_out;
    gemv(stream_.handle(), args, device_.shared_bytes);
    return;
  }
  cuda::mix(stream_.handle(), {.x = act_.x,
                               .width = h_.width,
                               .norm = ln_out,
                               .step = {},
                               .shift_offset = 0,
                               .mix = {nullptr},
                               .to = {act_.mixed[0]},
                               .count = 1,
                               .type = gemm_type_,
                               .row_of = act_.wanted + first,
                               .rows = count,
                               .z = nullptr});
  multiply(weights_.head, act_.mixed[0], act_.logits, count);
}

void CudaBackend::logits(const Rows& rows) {
  const size_t V = size_t(h_.vocab);
  const int count = int(rows.wanted.size());
  for (int first = 0; first < count; first += kLogitRows) {
    const int here = std::min(kLogitRows, count - first);
    if (!replaying_) queue_logits(rows, first, here);
    if (recording_ || replaying_) break;  // all are in one piece, and not computed yet
    stream_.download(host_logits_.data(), act_.logits, size_t(here) * V * sizeof(float));
    stream_.wait();
    for (int i = 0; i < here; ++i) {
      std::memcpy(rows.wanted[size_t(first + i)].logits,
                  host_logits_.data() + size_t(i) * V * sizeof(float), V * sizeof(float));
    }
  }
  if (recording_ || replaying_) {
    auto& graph = steps_.at({rows.count(), int(rows.runs.size()), count});
    if (recording_) {
      recording_ = false;
      graph.emplace(stream_.end_recording());
    }
    stream_.launch(*graph);
    stream_.download(host_logits_.data(), act_.logits, size_t(count) * V * sizeof(float));
    stream_.wait();
    for (int i = 0; i < count; ++i) {
      std::memcpy(rows.wanted[size_t(i)].logits,
                  host_logits_.data() + size_t(i) * V * sizeof(float), V * sizeof(float));
    }
  }
  if (count == 0) stream_.wait();  // the tables are written anew by the next step
}

double CudaBackend::zero_share() const {
  if (hidden_ == 0) return -1;
  unsigned nonzero = 0;
  stream_.download(&nonzero, act_.nonzero, sizeof(nonzero));
  stream_.wait();
  // The device counts modulo 2^32; the host knows to within that how many there can be.
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
