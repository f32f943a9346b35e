// The five phases of a layer, beside model/forward.h.
#include <algorithm>

#include "cuda/cuda_backend.h"

namespace anser {

using namespace cuda;

CudaBackend::Way CudaBackend::way(int rows) const {
  if (activations_ == Format::f32) return Way::fp32;
  if (invariant_) return Way::tiles;
  if (rows <= kFewRows) return Way::fp32;
  if (rows > kTileRows && rows <= integer_rows_) return Way::integers;
  const int most = is_plain(weights_.layers[0].ffn.key.format) ? kTileRows : kCodedTileRows;
  return rows <= most || !Gemm::available() ? Way::tiles : Way::gemm;
}

void CudaBackend::multiply(const DeviceMatrix& W, const void* x, float* y, int rows, float alpha,
                           float beta) {
  Product product = {.W = W.codes,
                     .transposed = W.transposed,
                     .pitch = W.stride,
                     .x = x,
                     .x_pitch = padded_to_octets(W.cols),
                     .y = y,
                     .rows = rows,
                     .inputs = W.cols,
                     .outputs = W.rows,
                     .type = activations_,
                     .alpha = alpha,
                     .beta = beta};
  if (W.format != activations_) {
    widen(stream_.handle(), {W, act_.widened, activations_});
    product.W = act_.widened;
    product.pitch = W.transposed ? W.rows : W.cols;
  }
  gemm_.multiply(stream_, product);
}

void CudaBackend::multiply_tiles(std::initializer_list<TileSegment> segments, int rows) {
  TilesArgs args;
  for (const TileSegment& segment : segments) {
    if (segment.W.codes != nullptr) args.segments[args.count++] = segment;
  }
  args.rows = rows;
  tiles(stream_.handle(), args, activations_, card_);
}

void CudaBackend::multiply_integers(std::initializer_list<IntegersSegment> segments, int rows) {
  IntegersArgs args;
  std::copy(segments.begin(), segments.end(), args.segments);
  args.count = int(segments.size());
  args.rows = rows;
  integers(stream_.handle(), args, card_);
}

// Layer norm, token shift and mixes of all rows; z stays for the state.
void CudaBackend::norm_and_shift(const CudaNorm& weights, int64_t shift_offset, int rows,
                                 std::initializer_list<Mixed> mixes) {
  MixArgs args = {};
  args.x = act_.x;
  args.width = h_.width;
  args.norm = norm(weights);
  args.step = step_;
  args.shift_offset = shift_offset;
  for (const Mixed& mixed : mixes) {
    if (mixed.to == nullptr) continue;
    args.mix[args.count] = mixed.mix;
    args.to[args.count] = mixed.to;
    args.coded |= unsigned(mixed.coded) << args.count++;
  }
  args.type = activations_;
  args.rows = rows;
  args.z = act_.z;
  mix(stream_.handle(), args);
}

void CudaBackend::project(int layer, const Rows& rows) {
  v_ = layer == 0 ? act_.v_first : act_.v;
  if (replaying_) return;
  const CudaTimeMix& att = weights_.layers[size_t(layer)].att;
  const CudaNorm& ln1 = weights_.layers[size_t(layer)].ln1;
  if (way(rows.count()) == Way::fp32) {
    const GemvSegment segments[] = {
        {att.receptance, att.x_r, act_.r}, {att.key, att.x_k, act_.k},
        {att.value, att.x_v, v_},          {att.w1, att.x_w, act_.w1, Epilogue::tanh},
        {att.a1, att.x_a, act_.a1},        {att.g1, att.x_g, act_.g1, Epilogue::sigmoid},
        {att.v1, att.x_v, act_.v1},
    };
    GemvArgs args;
    args.count = layer == 0 ? 6 : 7;  // layer 0 has no value residual
    std::copy_n(segments, args.count, args.segments);
    args.source = Source::shift;
    args.x = act_.x;
    args.rows = rows.count();
    args.width = h_.width;
    args.norm = norm(ln1);
    args.step = step_;
    args.shift_offset = layer_offset(layer);
    args.z = act_.z;
    gemv(stream_.handle(), args, card_);
    return;
  }
  // Low-rank pairs are plain matrices: v is needed in both types, where y will be when it is there.
  const auto& [r, w, k, v, a, g] = act_.mixed;
  const bool coded = way(rows.count()) == Way::integers;
  void* v_16 = coded ? act_.y16 : v;
  norm_and_shift(ln1, layer_offset(layer), rows.count(),
                 {{att.x_r, r, coded},
                  {att.x_w, w},
                  {att.x_k, k, coded},
                  {att.x_v, v, coded},
                  {att.x_a, a},
                  {att.x_g, g},
                  {att.x_v, coded && layer > 0 ? v_16 : nullptr}});
  const TileSegment w1 = {att.w1, w, act_.w1_16, Epilogue::tanh, true},
                    a1 = {att.a1, a, act_.a1_16, Epilogue::store, true},
                    g1 = {att.g1, g, act_.g1_16, Epilogue::sigmoid, true},
                    v1 = {att.v1, v_16, act_.v1_16, Epilogue::store, true};
  if (way(rows.count()) == Way::tiles) {
    multiply_tiles(
        {{att.receptance, r, act_.r}, {att.key, k, act_.k}, {att.value, v, v_}, w1, a1, g1, v1},
        rows.count());
    return;
  }
  if (coded) {
    multiply_integers({{att.receptance, r, act_.r}, {att.key, k, act_.k}, {att.value, v, v_}},
                      rows.count());
  } else {
    multiply(att.receptance, r, act_.r, rows.count());
    multiply(att.key, k, act_.k, rows.count());
    multiply(att.value, v, v_, rows.count());
  }
  multiply_tiles({w1, a1, g1, v1}, rows.count());
}

RecurArgs CudaBackend::recur_args(int layer) const {
  const CudaTimeMix& att = weights_.layers[size_t(layer)].att;
  RecurArgs args = {};
  args.step = step_;
  args.heads = h_.heads;
  args.head_size = h_.head_size;
  args.layer_offset = layer_offset(layer);
  args.state16 = states_->layout().f16;
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
  args.decays = act_.decays;
  return args;
}

bool CudaBackend::chunked(const Rows& rows) const {
  return chunks_ && std::any_of(rows.runs.begin(), rows.runs.end(), [](const Run& run) {
           const RunEntry entry = {nullptr, run.first, run.count, int(run.position % kChunkTokens)};
           return entry.chunks() > 0;
         });
}

void CudaBackend::recur(int layer, const Rows& rows) {
  if (replaying_) return;
  RecurArgs args = recur_args(layer);
  if (way(rows.count()) == Way::fp32) {
    cuda::recur(stream_.handle(), args);
    return;
  }
  const CudaTimeMix& att = weights_.layers[size_t(layer)].att;
  multiply_tiles({{att.w2, act_.w1_16, act_.w_up},
                  {att.a2, act_.a1_16, act_.a_up},
                  {att.g2, act_.g1_16, act_.g_up},
                  {att.v2, act_.v1_16, act_.v_up}},
                 rows.count());
  args.w_up = act_.w_up;
  args.a_up = act_.a_up;
  args.g_up = act_.g_up;
  args.v_up = act_.v_up;
  // From one whole chunk on: with a larger threshold a token's bits would depend on how its prompt
  // is cut, too. That a chunk beats 16 steps of the scan is counted, not measured: a third of the
  // waits that follow each other. Otherwise one kernel where runs are short, three where a run's
  // rows can be prepared side by side.
  if (chunked(rows)) {
    recur_chunked(stream_.handle(), args);
  } else if (rows.count() < 4 * int(rows.runs.size())) {
    cuda::recur(stream_.handle(), args);
  } else {
    recur_many(stream_.handle(), args);
  }
  convert(stream_.handle(), {act_.y, act_.y16, int64_t(rows.count()) * h_.width,
                             way(rows.count()) == Way::integers ? Format::bytes : activations_});
}

void CudaBackend::output(int layer, const Rows& rows) {
  if (replaying_) return;
  const DeviceMatrix& W = weights_.layers[size_t(layer)].att.output;
  switch (way(rows.count())) {
    case Way::fp32: {
      GemvArgs args;
      args.segments[0] = {W, nullptr, act_.x, Epilogue::add};
      args.count = 1;
      args.x = act_.y;
      args.rows = rows.count();
      args.width = h_.width;
      gemv(stream_.handle(), args, card_);
      break;
    }
    case Way::tiles:
      multiply_tiles({{W, act_.y16, act_.x, Epilogue::add}}, rows.count());
      break;
    case Way::integers:
      multiply_integers({{W, act_.y16, act_.x, Epilogue::add}}, rows.count());
      break;
    case Way::gemm:
      multiply(W, act_.y16, act_.x, rows.count(), 1, 1);
      break;
  }
}

void CudaBackend::expand(int layer, const Rows& rows) {
  if (replaying_) return;
  const CudaLayer& l = weights_.layers[size_t(layer)];
  const int64_t shift_offset = layer_offset(layer) + h_.width;
  if (way(rows.count()) == Way::fp32) {
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
    gemv(stream_.handle(), args, card_);
    return;
  }
  const bool coded = way(rows.count()) == Way::integers;
  norm_and_shift(l.ln2, shift_offset, rows.count(), {{l.ffn.x_k, act_.mixed[0], coded}});
  if (coded) {
    multiply_integers({{l.ffn.key, act_.mixed[0], act_.h}}, rows.count());
    return;
  }
  if (way(rows.count()) == Way::gemm) {
    multiply(l.ffn.key, act_.mixed[0], act_.h, rows.count());
    return;
  }
  TileSegment key = {l.ffn.key, act_.mixed[0], act_.h, Epilogue::relu_squared};
  if (!sparse(rows.count())) {
    key.y = act_.h16;
    key.halves = true;
    key.scale = hidden_scale();
  }
  multiply_tiles({key}, rows.count());
}

void CudaBackend::contract(int layer, const Rows& rows) {
  if (sparse(rows.count())) hidden_ += uint64_t(rows.count()) * uint64_t(h_.ffn);
  if (replaying_) return;
  const DeviceMatrix& W = weights_.layers[size_t(layer)].ffn.value;
  const int64_t shift_offset = layer_offset(layer) + h_.width;
  const bool coded = way(rows.count()) == Way::integers;
  if (way(rows.count()) != Way::gemm && !coded) {
    for (int first = 0; first < rows.count(); first += kShareRows) {
      const int count = std::min(kShareRows, rows.count() - first);
      const StepTable step = first == 0 ? step_ : StepTable{};  // shifts are stored once
      float* x = act_.x + int64_t(first) * h_.width;
      if (sparse(rows.count())) {
        cuda::contract(stream_.handle(), {.value = W,
                                          .h = act_.h + int64_t(first) * h_.ffn,
                                          .x = x,
                                          .rows = count,
                                          .shares = act_.shares,
                                          .nonzero = act_.nonzero,
                                          .step = step,
                                          .shift_offset = shift_offset,
                                          .z = act_.z});
      } else {
        lines(stream_.handle(),
              {.W = W,
               .h = static_cast<uint16_t*>(act_.h16) + int64_t(first) * padded_to_octets(h_.ffn),
               .scale = 1 / hidden_scale(),
               .x = x,
               .rows = count,
               .shares = act_.shares,
               .step = step,
               .shift_offset = shift_offset,
               .z = act_.z},
              activations_);
      }
    }
  } else {
    relu_squared(stream_.handle(), {.key = act_.h,
                                    .to = act_.h16,
                                    .rows = rows.count(),
                                    .ffn = h_.ffn,
                                    .type = coded ? Format::bytes : activations_,
                                    .scale = coded ? 1 : hidden_scale(),
                                    .step = step_,
                                    .width = h_.width,
                                    .shift_offset = shift_offset,
                                    .z = act_.z});
    if (coded) {
      multiply_integers({{W, act_.h16, act_.x, Epilogue::add}}, rows.count());
    } else {
      multiply(W, act_.h16, act_.x, rows.count(), 1 / hidden_scale(), 1);
    }
  }
}

}  // namespace anser
