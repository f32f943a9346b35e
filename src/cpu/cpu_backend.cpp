#include "cpu/cpu_backend.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "cpu/packed.h"

namespace anser {
namespace {

// Inputs of one phase that may have to be quantised: the six mixes.
constexpr size_t kMostInputs = 6;

size_t padded_line(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

int64_t tile_cost(const Matrix& W) {
  return int64_t(W.row_bytes());
}

int64_t tiles_of(const Matrix& W) {
  return (W.rows + kTileOutputs - 1) / kTileOutputs;
}

}  // namespace

CpuBackend::CpuBackend(const Model& model, int threads, int max_rows, const Kernels& kernels)
    : h_(model.hyperparameters()),
      kernels_(kernels),
      max_rows_(max_rows),
      pool_(threads),
      weights_(model.weights(), h_, pool_) {
  // Every buffer begins on a cache line.
  const auto padded = [&](int width) { return size_t(max_rows) * ((width + 15) / 16 * 16); };
  const std::pair<float**, int> buffers[] = {
      {&act_.x, h_.width},   {&act_.z, h_.width},   {&act_.z_r, h_.width},
      {&act_.z_w, h_.width}, {&act_.z_k, h_.width}, {&act_.z_v, h_.width},
      {&act_.z_a, h_.width}, {&act_.z_g, h_.width}, {&act_.r, h_.width},
      {&act_.w, h_.width},   {&act_.k, h_.width},   {&act_.v, h_.width},
      {&act_.a, h_.width},   {&act_.g, h_.width},   {&act_.v_first, h_.width},
      {&act_.nu, h_.width},  {&act_.y, h_.width},   {&act_.w1, h_.rank_w},
      {&act_.a1, h_.rank_a}, {&act_.v1, h_.rank_v}, {&act_.g1, h_.rank_g},
      {&act_.h, h_.ffn},
  };
  size_t total = 0;
  for (const auto& [buffer, width] : buffers) total += padded(width);
  act_.storage = AlignedBuffer<float>(total);
  float* next = act_.storage.data();
  for (const auto& [buffer, width] : buffers) {
    *buffer = next;
    next += padded(width);
  }
  logits_ = AlignedBuffer<float>(size_t(kLogitRows) * h_.vocab);
  // The most that a phase needs: six mixed inputs of width D, or one of F.
  quantised_storage_ =
      AlignedBuffer<std::byte>(std::max(kMostInputs * quantised_bytes(h_.width, max_rows),
                                        quantised_bytes(std::max(h_.ffn, h_.width), max_rows)));
  quantised_.reserve(kMostInputs);
}

// Of one input: q, then d, then sums, each on a cache line.
size_t CpuBackend::quantised_bytes(int width, int rows) const {
  return padded_line(size_t(rows) * width * kernels_.activation_bytes) +
         padded_line(size_t(rows) * (width / 32) * sizeof(float)) +
         padded_line(size_t(rows) * (width / 16) * sizeof(int32_t));
}

void CpuBackend::quantise_inputs(std::span<const Product> products, int rows) {
  quantised_.clear();
  std::byte* next = quantised_storage_.data();
  int widest = 0;
  for (const Product& product : products) {
    if (block_elements(product.W.type) == 1 || quantised(product.x).q != nullptr) continue;
    ANSER_CHECK(quantised_.size() < kMostInputs);
    const int width = product.W.cols;
    widest = std::max(widest, width);
    std::byte* q = next;
    std::byte* d = q + padded_line(size_t(rows) * width * kernels_.activation_bytes);
    std::byte* sums = d + padded_line(size_t(rows) * (width / 32) * sizeof(float));
    next += quantised_bytes(width, rows);
    quantised_.push_back(
        {product.x,
         width,
         {q, reinterpret_cast<const float*>(d), reinterpret_cast<const int32_t*>(sums)}});
  }
  if (quantised_.empty()) return;
  // Whole rows where there are many; pieces of a row, of 256 elements, where there are few.
  constexpr int kPiece = 256;
  const int64_t pieces = (widest + kPiece - 1) / kPiece;
  pool_.run([&](int worker) {
    for (const QuantisedInput& input : quantised_) {
      const Part part = part_of(rows * pieces, worker, pool_.size());
      for (int64_t piece = part.begin; piece < part.end; ++piece) {
        const int64_t row = piece / pieces, begin = piece % pieces * kPiece;
        if (begin >= input.width) continue;
        const int64_t at = row * input.width + begin;
        const auto of = [&](const auto* array, int64_t i) {
          return const_cast<std::remove_cvref_t<decltype(*array)>*>(array + i);
        };
        kernels_.quantise(
            input.x + at, int(std::min<int64_t>(kPiece, input.width - begin)),
            of(static_cast<const std::byte*>(input.rows.q), at * kernels_.activation_bytes),
            of(input.rows.d, at / 32), of(input.rows.sums, at / 16));
      }
    }
  });
}

QuantisedRows CpuBackend::quantised(const float* x) const {
  for (const QuantisedInput& input : quantised_) {
    if (input.x == x) return input.rows;
  }
  return {};
}

void CpuBackend::multiply(std::span<const Product> products, int rows) {
  quantise_inputs(products, rows);
  // Tiles of all products in a row; a tile costs what its weights take in memory.
  int64_t total = 0;
  for (const Product& product : products) total += tile_cost(product.W) * tiles_of(product.W);
  pool_.run([&](int worker) {
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
      kernels_.matmul[int(W.type)]({.weights = W.data,
                                    .inputs = W.cols,
                                    .outputs = W.rows,
                                    .begin = int(first) * kTileOutputs,
                                    .end = std::min(int(last) * kTileOutputs, W.rows),
                                    .x = product.x,
                                    .quantised = quantised(product.x),
                                    .y = product.y,
                                    .rows = rows,
                                    .bias = product.bias,
                                    .epilogue = product.epilogue,
                                    .density = product.density});
    }
  });
}

template <class Work>
void CpuBackend::for_rows(int rows, Work&& work) {
  pool_.run([&](int worker) {
    const Part part = part_of(rows, worker, pool_.size());
    for (int row = int(part.begin); row < part.end; ++row) work(row);
  });
}

void CpuBackend::norm_rows(const Norm& norm, int rows) {
  const int D = h_.width;
  for_rows(rows, [&](int row) {
    kernels_.layer_norm(act_.x + size_t(row) * D, norm.weight.data(), norm.bias.data(), h_.norm_eps,
                        D, act_.z + size_t(row) * D);
  });
}

template <class ShiftOf>
void CpuBackend::shift_rows(const Rows& rows, ShiftOf shift, std::span<const Mix> mixes) {
  const int D = h_.width;
  for_rows(rows.count(), [&](int row) {
    // The last run that begins at or before the row.
    const Run& run = *(std::upper_bound(rows.runs.begin(), rows.runs.end(), row,
                                        [](int r, const Run& run) { return r < run.first; }) -
                       1);
    const float* z = act_.z + size_t(row) * D;
    const float* previous = row == run.first ? shift(*run.state) : z - D;
    for (const Mix& mix : mixes) {
      kernels_.shift_mix(z, previous, mix.mu.data(), D, mix.to + size_t(row) * D);
    }
  });
  for (const Run& run : rows.runs) {
    const float* last = act_.z + size_t(run.first + run.count - 1) * D;
    std::copy(last, last + D, shift(*run.state));
  }
}

void CpuBackend::embed(const Rows& rows) {
  const Matrix& emb = weights_.weights.emb;
  const Norm& ln0 = weights_.weights.ln0;
  const int D = h_.width;
  for_rows(rows.count(), [&](int row) {
    float* x = act_.x + size_t(row) * D;
    kernels_.widen[int(emb.type)](emb.data + rows.tokens[row] * emb.row_bytes(), D, x);
    kernels_.layer_norm(x, ln0.weight.data(), ln0.bias.data(), h_.norm_eps, D, x);
  });
}

void CpuBackend::project(int layer, const Rows& rows) {
  const Layer& l = weights_.weights.layers[layer];
  const TimeMix& att = l.att;
  norm_rows(l.ln1, rows.count());
  const Mix mixes[] = {{att.x_r, act_.z_r}, {att.x_w, act_.z_w}, {att.x_k, act_.z_k},
                       {att.x_v, act_.z_v}, {att.x_a, act_.z_a}, {att.x_g, act_.z_g}};
  shift_rows(
      rows, [layer](State& state) { return state.att_shift(layer); }, mixes);

  // Layer 0 has no value residual; its v is every later layer's v_first.
  v_ = layer == 0 ? act_.v_first : act_.v;
  const Product first[] = {
      {att.receptance, act_.z_r, act_.r}, {att.key, act_.z_k, act_.k},
      {att.value, act_.z_v, v_},          {att.w1, act_.z_w, act_.w1, Epilogue::tanh},
      {att.a1, act_.z_a, act_.a1},        {att.g1, act_.z_g, act_.g1, Epilogue::sigmoid},
      {att.v1, act_.z_v, act_.v1},
  };
  const Product second[] = {
      {att.w2, act_.w1, act_.w, Epilogue::decay, att.w0.data()},
      {att.a2, act_.a1, act_.a, Epilogue::sigmoid, att.a0.data()},
      {att.g2, act_.g1, act_.g},
      {att.v2, act_.v1, act_.nu, Epilogue::sigmoid, att.v0.data()},
  };
  const int value_residual = layer == 0 ? 0 : 1;  // the last of each list
  multiply(std::span(first, 6 + value_residual), rows.count());
  multiply(std::span(second, 3 + value_residual), rows.count());
}

void CpuBackend::recur(int layer, const Rows& rows) {
  const TimeMix& att = weights_.weights.layers[layer].att;
  const int D = h_.width, N = h_.head_size, H = h_.heads;
  pool_.run([&](int worker) {
    const Part part = part_of(int64_t(rows.runs.size()) * H, worker, pool_.size());
    for (int64_t job = part.begin; job < part.end; ++job) {
      const Run& run = rows.runs[job / H];
      const int head = int(job % H), at = head * N;
      const auto of_head = [&](float* buffer) { return buffer + size_t(run.first) * D + at; };
      kernels_.recur({.head_size = N,
                      .tokens = run.count,
                      .stride = D,
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
                      .out = of_head(act_.y)});
    }
  });
}

void CpuBackend::output(int layer, const Rows& rows) {
  const Product product = {weights_.weights.layers[layer].att.output, act_.y, act_.x,
                           Epilogue::add};
  multiply({&product, 1}, rows.count());
}

void CpuBackend::expand(int layer, const Rows& rows) {
  const Layer& l = weights_.weights.layers[layer];
  norm_rows(l.ln2, rows.count());
  const Mix mix = {l.ffn.x_k, act_.z_k};
  shift_rows(rows, [layer](State& state) { return state.ffn_shift(layer); }, {&mix, 1});
  const Product product = {l.ffn.key, act_.z_k, act_.h, Epilogue::relu_squared};
  multiply({&product, 1}, rows.count());
}

void CpuBackend::contract(int layer, const Rows& rows) {
  // A trained model's h is zero for nine numbers in ten. Where rows are few it is worth counting.
  constexpr int kFewRows = 8;
  float density = 1;
  if (rows.count() <= kFewRows) {
    const int64_t n = int64_t(rows.count()) * h_.ffn;
    const int64_t zeros = kernels_.count_zeros(act_.h, n);
    density = float(n - zeros) / float(n);
    zeros_ += zeros;
    zeros_of_ += n;
  }
  const Product product = {.W = weights_.weights.layers[layer].ffn.value,
                           .x = act_.h,
                           .y = act_.x,
                           .epilogue = Epilogue::add,
                           .density = density};
  multiply({&product, 1}, rows.count());
}

void CpuBackend::logits(const Rows& rows) {
  const Norm& ln_out = weights_.weights.ln_out;
  const int D = h_.width, V = h_.vocab;
  for (size_t begin = 0; begin < rows.wanted.size(); begin += kLogitRows) {
    const auto wanted =
        rows.wanted.subspan(begin, std::min<size_t>(kLogitRows, rows.wanted.size() - begin));
    const int count = int(wanted.size());
    for_rows(count, [&](int i) {
      kernels_.layer_norm(act_.x + size_t(wanted[i].row) * D, ln_out.weight.data(),
                          ln_out.bias.data(), h_.norm_eps, D, act_.z + size_t(i) * D);
    });
    float* to = count == 1 ? wanted[0].logits : logits_.data();
    const Product product = {weights_.weights.head, act_.z, to};
    multiply({&product, 1}, count);
    if (count == 1) continue;
    for (int i = 0; i < count; ++i) std::copy_n(to + size_t(i) * V, V, wanted[i].logits);
  }
}

std::vector<float> CpuBackend::view(const std::string& name, int rows) const {
  const std::pair<const char*, std::pair<const float*, int>> buffers[] = {
      {"x", {act_.x, h_.width}}, {"r", {act_.r, h_.width}}, {"w", {act_.w, h_.width}},
      {"k", {act_.k, h_.width}}, {"v", {v_, h_.width}},     {"a", {act_.a, h_.width}},
      {"g", {act_.g, h_.width}}, {"y", {act_.y, h_.width}}, {"h", {act_.h, h_.ffn}},
  };
  for (const auto& [known, buffer] : buffers) {
    if (name == known) return {buffer.first, buffer.first + size_t(rows) * buffer.second};
  }
  ANSER_CHECK(!"a buffer of this name");
  return {};
}

}  // namespace anser
