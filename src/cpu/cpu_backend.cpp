#include "cpu/cpu_backend.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "cpu/packed.h"

namespace anser {
namespace {

// Activations are quantised in blocks of so many columns.
constexpr int kQuantisedBlock = 32;

size_t padded_line(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

int64_t tile_cost(const Matrix& W) {
  return int64_t(W.row_bytes());
}

int64_t tiles_of(const Matrix& W) {
  return (W.rows + kTileOutputs - 1) / kTileOutputs;
}

bool is_quantised(const Matrix& W) {
  return W.data != nullptr && block_elements(W.type) > 1;
}

struct FindsQuantised {
  bool& found;
  void vector(const std::string&, const Vector&, int) {}
  void low_rank(const std::string&, const Matrix& m, int, int) { found |= is_quantised(m); }
  void matrix(const std::string&, const Matrix& m, int, int) { found |= is_quantised(m); }
};

}  // namespace

CpuBackend::CpuBackend(const Model& model, int threads, int max_rows, const Kernels& kernels)
    : h_(model.hyperparameters()),
      kernels_(kernels),
      max_rows_(max_rows),
      pool_(threads),
      weights_(model.weights(), h_, pool_) {
  bool any_quantised = false;
  visit_weights(weights_.weights, h_, FindsQuantised{any_quantised});

  // Every array begins on a cache line. Once to count the bytes, once to hand them out.
  std::byte* base = nullptr;
  size_t taken = 0;
  const auto take = [&](size_t bytes) {
    const size_t at = std::exchange(taken, taken + padded_line(bytes));
    return base != nullptr ? base + at : nullptr;
  };
  const auto floats = [&](float*& to, int width) {
    to = reinterpret_cast<float*>(take(size_t(max_rows) * width * sizeof(float)));
  };
  const auto input = [&](Input& to, int width, int rows) {
    const size_t size = size_t(rows) * width;
    to.width = width;
    to.x = reinterpret_cast<float*>(take(size * sizeof(float)));
    if (!any_quantised || width % 32 != 0) return;
    to.q = take(size * kernels_.activation_bytes);
    to.d = reinterpret_cast<float*>(take(size / 32 * sizeof(float)));
    to.sums = reinterpret_cast<int32_t*>(take(size / 16 * sizeof(int32_t)));
  };
  const auto hand_out = [&] {
    for (float** to : {&act_.x, &act_.z, &act_.r, &act_.w, &act_.k, &act_.v, &act_.a, &act_.g,
                       &act_.v_first, &act_.nu}) {
      floats(*to, h_.width);
    }
    for (Input* to : {&act_.z_r, &act_.z_w, &act_.z_k, &act_.z_v, &act_.z_a, &act_.z_g, &act_.y}) {
      input(*to, h_.width, max_rows);
    }
    input(act_.w1, h_.rank_w, max_rows);
    input(act_.a1, h_.rank_a, max_rows);
    input(act_.v1, h_.rank_v, max_rows);
    input(act_.g1, h_.rank_g, max_rows);
    input(act_.h, h_.ffn, max_rows);
  };
  hand_out();
  act_.storage = AlignedBuffer<std::byte>(taken);
  base = act_.storage.data();
  taken = 0;
  hand_out();
  moments_.resize(size_t(max_rows));
  logit_rows_.resize(size_t(max_rows));
}

void CpuBackend::quantise(const Input& input, int row, Part columns) const {
  const int64_t at = int64_t{row} * input.width + columns.begin;
  kernels_.quantise(input.x + at, int(columns.end - columns.begin),
                    input.q + at * kernels_.activation_bytes, input.d + at / 32,
                    input.sums + at / 16);
}

void CpuBackend::multiply_columns(const Product& product, Part rows, Part columns) const {
  const Matrix& W = product.W;
  const Input& in = product.x;
  const int64_t at = rows.begin * in.width;
  QuantisedRows quantised = {};
  if (is_quantised(W)) {
    quantised = {in.q + at * kernels_.activation_bytes, in.d + at / 32, in.sums + at / 16};
  }
  kernels_.matmul[int(W.type)]({.weights = W.data,
                                .inputs = W.cols,
                                .outputs = W.rows,
                                .begin = int(columns.begin),
                                .end = int(columns.end),
                                .x = in.x + at,
                                .quantised = quantised,
                                .y = product.y + rows.begin * W.rows,
                                .rows = int(rows.end - rows.begin),
                                .bias = product.bias,
                                .epilogue = product.epilogue,
                                .density = product.density,
                                .y_rows = product.y_rows});
  if (product.quantise == nullptr) return;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    quantise(*product.quantise, int(row), columns);
  }
}

void CpuBackend::multiply_part(std::span<const Product> products, int rows, int worker) const {
  // Tiles of all products in a row; a tile costs what its weights take in memory.
  int64_t total = 0;
  for (const Product& product : products) total += tile_cost(product.W) * tiles_of(product.W);
  const int64_t begin = total * worker / pool_.size(), end = total * (worker + 1) / pool_.size();
  int64_t at = 0;  // cost of all tiles before this product's
  for (const Product& product : products) {
    const Matrix& W = product.W;
    const int64_t cost = tile_cost(W), tiles = tiles_of(W);
    // A tile belongs to the worker in whose share its beginning lies.
    const auto first_at = [&](int64_t share) {
      return std::clamp<int64_t>((share - at + cost - 1) / cost, 0, tiles);
    };
    const int64_t first = first_at(begin), last = first_at(end);
    at += cost * tiles;
    if (first == last) continue;
    multiply_columns(product, {0, rows},
                     {first * kTileOutputs, std::min<int64_t>(last * kTileOutputs, W.rows)});
  }
}

template <class Work>
void CpuBackend::for_rows(int rows, Work&& work) {
  pool_.run([&](int worker) {
    const Part part = part_of(rows, worker, pool_.size());
    for (int row = int(part.begin); row < part.end; ++row) work(row);
  });
}

template <class ShiftOf>
void CpuBackend::norm_and_shift(const Norm& norm, const Rows& rows, ShiftOf shift,
                                std::span<const Mix> mixes) {
  const int D = h_.width;
  const auto moments_of = [&](int row) {
    return kernels_.moments(act_.x + size_t(row) * D, h_.norm_eps, D);
  };
  const bool many = rows.count() > kOwnMoments;
  if (many) for_rows(rows.count(), [&](int row) { moments_[row] = moments_of(row); });

  // Divided by columns, so that no worker needs another's z.
  pool_.run([&](int worker) {
    const Part columns = part_of(D, worker, pool_.size(), kQuantisedBlock);
    const int n = int(columns.end - columns.begin);
    if (n == 0) return;
    for (const Run& run : rows.runs) {
      float* state = shift(*run.state) + columns.begin;
      const float* previous = state;
      for (int row = run.first; row < run.first + run.count; ++row) {
        const size_t at = size_t(row) * D + columns.begin;
        float* z = act_.z + at;
        kernels_.normalise(act_.x + at, many ? moments_[row] : moments_of(row),
                           norm.weight.data() + columns.begin, norm.bias.data() + columns.begin, n,
                           z);
        for (const Mix& mix : mixes) {
          kernels_.shift_mix(z, previous, mix.mu.data() + columns.begin, n, mix.to.x + at);
          if (mix.quantise) quantise(mix.to, row, columns);
        }
        previous = z;
      }
      std::copy(previous, previous + n, state);
    }
  });
}

void CpuBackend::embed(const Rows& rows) {
  const Matrix& emb = weights_.weights.emb;
  const Norm& ln0 = weights_.weights.ln0;
  const int D = h_.width;
  // A state that another device has is fetched by one thread; from here on all may read it.
  for (const Run& run : rows.runs) run.state->att_shift(0);
  for_rows(rows.count(), [&](int row) {
    float* x = act_.x + size_t(row) * D;
    kernels_.widen[int(emb.type)](emb.data + rows.tokens[row] * emb.row_bytes(), D, x);
    if (!h_.embedding_norm) return;
    kernels_.layer_norm(x, ln0.weight.data(), ln0.bias.data(), h_.norm_eps, D, x);
  });
}

void CpuBackend::project(int layer, const Rows& rows) {
  const Layer& l = weights_.weights.layers[layer];
  const TimeMix& att = l.att;
  const Mix mixes[] = {
      {att.x_r, act_.z_r, is_quantised(att.receptance)},
      {att.x_w, act_.z_w, is_quantised(att.w1)},
      {att.x_k, act_.z_k, is_quantised(att.key)},
      {att.x_v, act_.z_v, is_quantised(att.value) || (layer > 0 && is_quantised(att.v1))},
      {att.x_a, act_.z_a, is_quantised(att.a1)},
      {att.x_g, act_.z_g, is_quantised(att.g1)},
  };
  norm_and_shift(
      l.ln1, rows, [layer](State& state) { return state.att_shift(layer); }, mixes);

  // Layer 0 has no value residual; its v is every later layer's v_first.
  v_ = layer == 0 ? act_.v_first : act_.v;
  const auto low_rank = [](const Matrix& W1, const Input& z, const Input& to, const Matrix& W2,
                           Epilogue epilogue = Epilogue::store) {
    return Product{.W = W1,
                   .x = z,
                   .y = to.x,
                   .epilogue = epilogue,
                   .quantise = is_quantised(W2) ? &to : nullptr};
  };
  const Product products[] = {
      {att.receptance, act_.z_r, act_.r},
      {att.key, act_.z_k, act_.k},
      {att.value, act_.z_v, v_},
      low_rank(att.w1, act_.z_w, act_.w1, att.w2, Epilogue::tanh),
      low_rank(att.a1, act_.z_a, act_.a1, att.a2),
      low_rank(att.g1, act_.z_g, act_.g1, att.g2, Epilogue::sigmoid),
      low_rank(att.v1, act_.z_v, act_.v1, att.v2),
  };
  const std::span used(products, layer == 0 ? 6 : 7);
  pool_.run([&](int worker) { multiply_part(used, rows.count(), worker); });
}

void CpuBackend::recur(int layer, const Rows& rows) {
  const TimeMix& att = weights_.weights.layers[layer].att;
  const int N = h_.head_size, H = h_.heads;
  const Product products[] = {
      {att.w2, act_.w1, act_.w, Epilogue::decay, att.w0.data()},
      {att.a2, act_.a1, act_.a, Epilogue::sigmoid, att.a0.data()},
      {att.g2, act_.g1, act_.g},
      {att.v2, act_.v1, act_.nu, Epilogue::sigmoid, att.v0.data()},
  };
  const std::span used(products, layer == 0 ? 3 : 4);
  const bool quantises = is_quantised(att.output);

  // A worker makes all that its heads need, so that there is nothing to wait for. Heads go together
  // until they are whole tiles; where there are more workers than heads, the runs are divided too.
  const int grain = kTileOutputs / std::gcd(kTileOutputs, N);
  const int head_parts = std::min(pool_.size(), (H + grain - 1) / grain);
  const int run_parts = pool_.size() / head_parts;
  pool_.run([&](int worker) {
    if (worker >= head_parts * run_parts) return;
    const Part heads = part_of(H, worker % head_parts, head_parts, grain);
    const Part runs = part_of(int64_t(rows.runs.size()), worker / head_parts, run_parts);
    if (heads.begin == heads.end || runs.begin == runs.end) return;
    const Part columns = {heads.begin * N, heads.end * N};
    const Run &first = rows.runs[runs.begin], &last = rows.runs[runs.end - 1];
    const Part own_rows = {first.first, last.first + last.count};
    for (const Product& product : used) multiply_columns(product, own_rows, columns);
    for (const Run& run : rows.runs.subspan(runs.begin, runs.end - runs.begin)) {
      for (int head = int(heads.begin); head < heads.end; ++head) {
        kernels_.recur(recur_args(layer, run, head));
      }
    }
    for (int64_t row = own_rows.begin; quantises && row < own_rows.end; ++row) {
      quantise(act_.y, int(row), columns);
    }
  });
}

RecurArgs CpuBackend::recur_args(int layer, const Run& run, int head) const {
  const TimeMix& att = weights_.weights.layers[layer].att;
  const int N = h_.head_size, at = head * N;
  const auto of_head = [&](float* buffer) { return buffer + size_t(run.first) * h_.width + at; };
  return {.head_size = N,
          .tokens = run.count,
          .stride = h_.width,
          .r = of_head(act_.r),
          .w = of_head(act_.w),
          .k = of_head(act_.k),
          .v = of_head(v_),
          .a = of_head(act_.a),
          .g = of_head(act_.g),
          .v_first = layer == 0 ? nullptr : of_head(act_.v_first),
          .nu = layer == 0 ? nullptr : of_head(act_.nu),
          .k_k = att.k_k.data() + at,
          .k_a = att.k_a.data() + at,
          .r_k = att.r_k.data() + at,
          .ln_weight = att.ln_x.weight.data() + at,
          .ln_bias = att.ln_x.bias.data() + at,
          .ln_eps = h_.group_norm_eps,
          .state = run.state->wkv(layer, head),
          .out = of_head(act_.y.x)};
}

void CpuBackend::output(int layer, const Rows& rows) {
  const Product product = {weights_.weights.layers[layer].att.output, act_.y, act_.x,
                           Epilogue::add};
  pool_.run([&](int worker) { multiply_part({&product, 1}, rows.count(), worker); });
}

void CpuBackend::expand(int layer, const Rows& rows) {
  const Layer& l = weights_.weights.layers[layer];
  const Mix mix = {l.ffn.x_k, act_.z_k, is_quantised(l.ffn.key)};
  norm_and_shift(l.ln2, rows, [layer](State& state) { return state.ffn_shift(layer); }, {&mix, 1});
  const Product product = {.W = l.ffn.key,
                           .x = act_.z_k,
                           .y = act_.h.x,
                           .epilogue = Epilogue::relu_squared,
                           .quantise = is_quantised(l.ffn.value) ? &act_.h : nullptr};
  pool_.run([&](int worker) { multiply_part({&product, 1}, rows.count(), worker); });
}

void CpuBackend::contract(int layer, const Rows& rows) {
  // A trained model's h is zero for nine numbers in ten. Where rows are few it is worth counting,
  // and faster done by everyone than waited for.
  const int64_t n = int64_t(rows.count()) * h_.ffn;
  int64_t zeros = 0;
  pool_.run([&](int worker) {
    const int64_t counted = rows.count() <= kFewRows ? kernels_.count_zeros(act_.h.x, n) : 0;
    if (worker == 0) zeros = counted;
    const Product product = {.W = weights_.weights.layers[layer].ffn.value,
                             .x = act_.h,
                             .y = act_.x,
                             .epilogue = Epilogue::add,
                             .density = float(n - counted) / float(n)};
    multiply_part({&product, 1}, rows.count(), worker);
  });
  if (rows.count() > kFewRows) return;
  zeros_ += zeros;
  zeros_of_ += n;
}

void CpuBackend::logits(const Rows& rows) {
  if (rows.wanted.empty()) return;
  const Norm& ln_out = weights_.weights.ln_out;
  const Matrix& head = weights_.weights.head;
  const Input& z = act_.z_r;  // free by now
  const int D = h_.width, count = int(rows.wanted.size());
  for (int i = 0; i < count; ++i) logit_rows_[i] = rows.wanted[i].logits;
  const Product product = {.W = head, .x = z, .y = nullptr, .y_rows = logit_rows_.data()};
  pool_.run([&](int worker) {
    const Part columns = part_of(D, worker, pool_.size(), kQuantisedBlock);
    const int n = int(columns.end - columns.begin);
    if (n == 0) return;
    for (int i = 0; i < count; ++i) {
      const float* x = act_.x + size_t(rows.wanted[i].row) * D;
      kernels_.normalise(x + columns.begin, kernels_.moments(x, h_.norm_eps, D),
                         ln_out.weight.data() + columns.begin, ln_out.bias.data() + columns.begin,
                         n, z.x + size_t(i) * D + columns.begin);
      if (is_quantised(head)) quantise(z, i, columns);
    }
  });
  pool_.run([&](int worker) { multiply_part({&product, 1}, count, worker); });
}

std::vector<float> CpuBackend::view(const std::string& name, int rows) const {
  const std::pair<const char*, std::pair<const float*, int>> buffers[] = {
      {"x", {act_.x, h_.width}}, {"r", {act_.r, h_.width}},   {"w", {act_.w, h_.width}},
      {"k", {act_.k, h_.width}}, {"v", {v_, h_.width}},       {"a", {act_.a, h_.width}},
      {"g", {act_.g, h_.width}}, {"y", {act_.y.x, h_.width}}, {"h", {act_.h.x, h_.ffn}},
  };
  for (const auto& [known, buffer] : buffers) {
    if (name == known) return {buffer.first, buffer.first + size_t(rows) * buffer.second};
  }
  ANSER_CHECK(!"a buffer of this name");
  return {};
}

}  // namespace anser
