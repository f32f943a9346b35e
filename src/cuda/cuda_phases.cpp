// The five phases of a layer, beside model/forward.h, for the rows of a part of a step.
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
    widen(stream_.handle(), {W, widened_, activations_});
    product.W = widened_;
    product.pitch = W.transposed ? W.rows : W.cols;
  }
  gemm_.multiply(stream_, product);
}

void CudaBackend::multiply_tiles(Stream& stream, std::initializer_list<TileSegment> segments,
                                 int rows) {
  TilesArgs args;
  for (const TileSegment& segment : segments) {
    if (segment.W.codes != nullptr) args.segments[args.count++] = segment;
  }
  args.rows = rows;
  tiles(stream.handle(), args, activations_, card_);
}

void CudaBackend::multiply_integers(std::initializer_list<IntegersSegment> segments, int rows) {
  IntegersArgs args;
  std::copy(segments.begin(), segments.end(), args.segments);
  args.count = int(segments.size());
  args.rows = rows;
  integers(stream_.handle(), args, card_);
}

// Layer norm, token shift and mixes of all rows; z stays for the state.
void CudaBackend::norm_and_shift(const CudaNorm& weights, int64_t shift_offset, const Part& part,
                                 std::initializer_list<Mixed> mixes) {
  MixArgs args = {};
  args.x = part.act.x;
  args.width = h_.width;
  args.norm = norm(weights);
  args.step = part.step;
  args.shift_offset = shift_offset;
  for (const Mixed& mixed : mixes) {
    if (mixed.to == nullptr) continue;
    args.mix[args.count] = mixed.mix;
    args.to[args.count] = mixed.to;
    args.coded |= unsigned(mixed.coded) << args.count++;
  }
  args.type = activations_;
  args.rows = part.rows;
  args.z = part.act.z;
  mix(stream_.handle(), args);
}

void CudaBackend::project(int layer, const Part& part) {
  float* v_out = layer == 0 ? part.act.v_first : part.act.v;
  const CudaTimeMix& att = weights_.layers[size_t(layer)].att;
  const CudaNorm& ln1 = weights_.layers[size_t(layer)].ln1;
  if (way(part.rows) == Way::fp32) {
    const GemvSegment segments[] = {
        {att.receptance, att.x_r, part.act.r}, {att.key, att.x_k, part.act.k},
        {att.value, att.x_v, v_out},           {att.w1, att.x_w, part.act.w1, Epilogue::tanh},
        {att.a1, att.x_a, part.act.a1},        {att.g1, att.x_g, part.act.g1, Epilogue::sigmoid},
        {att.v1, att.x_v, part.act.v1},
    };
    GemvArgs args;
    args.count = layer == 0 ? 6 : 7;  // layer 0 has no value residual
    std::copy_n(segments, args.count, args.segments);
    args.source = Source::shift;
    args.x = part.act.x;
    args.rows = part.rows;
    args.width = h_.width;
    args.norm = norm(ln1);
    args.step = part.step;
    args.shift_offset = layer_offset(layer);
    args.z = part.act.z;
    gemv(stream_.handle(), args, card_);
    return;
  }
  // Low-rank pairs are plain matrices: v is needed in both types, where y will be when it is there.
  const auto& [r, w, k, v, a, g] = part.act.mixed;
  const bool coded = way(part.rows) == Way::integers;
  void* v_16 = coded ? part.act.y16 : v;
  norm_and_shift(ln1, layer_offset(layer), part,
                 {{att.x_r, r, coded},
                  {att.x_w, w},
                  {att.x_k, k, coded},
                  {att.x_v, v, coded},
                  {att.x_a, a},
                  {att.x_g, g},
                  {att.x_v, coded && layer > 0 ? v_16 : nullptr}});
  const TileSegment w1 = {att.w1, w, part.act.w1_16, Epilogue::tanh, true},
                    a1 = {att.a1, a, part.act.a1_16, Epilogue::store, true},
                    g1 = {att.g1, g, part.act.g1_16, Epilogue::sigmoid, true},
                    v1 = {att.v1, v_16, part.act.v1_16, Epilogue::store, true};
  if (way(part.rows) == Way::tiles) {
    multiply_tiles(stream_,
                   {{att.receptance, r, part.act.r},
                    {att.key, k, part.act.k},
                    {att.value, v, v_out},
                    w1,
                    a1,
                    g1,
                    v1},
                   part.rows);
    return;
  }
  if (coded) {
    multiply_integers(
        {{att.receptance, r, part.act.r}, {att.key, k, part.act.k}, {att.value, v, v_out}},
        part.rows);
  } else {
    multiply(att.receptance, r, part.act.r, part.rows);
    multiply(att.key, k, part.act.k, part.rows);
    multiply(att.value, v, v_out, part.rows);
  }
  multiply_tiles(stream_, {w1, a1, g1, v1}, part.rows);
}

RecurArgs CudaBackend::recur_args(int layer, const Part& part) const {
  const CudaTimeMix& att = weights_.layers[size_t(layer)].att;
  RecurArgs args = {};
  args.step = part.step;
  args.heads = h_.heads;
  args.head_size = h_.head_size;
  args.layer_offset = layer_offset(layer);
  args.state16 = states_->layout().f16;
  args.r = part.act.r;
  args.k = part.act.k;
  args.v = layer == 0 ? part.act.v_first : part.act.v;
  args.v_first = layer == 0 ? nullptr : part.act.v_first;
  args.w1 = part.act.w1;
  args.a1 = part.act.a1;
  args.g1 = part.act.g1;
  args.v1 = part.act.v1;
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
  args.z = part.act.z;
  args.y = part.act.y;
  args.vectors = part.act.vectors;
  args.bonus = part.act.bonus;
  args.decays = part.act.decays;
  return args;
}

void CudaBackend::recur(Stream& stream, int layer, const Part& part) {
  RecurArgs args = recur_args(layer, part);
  if (way(part.rows) == Way::fp32) {
    cuda::recur(stream.handle(), args);
    return;
  }
  const CudaTimeMix& att = weights_.layers[size_t(layer)].att;
  multiply_tiles(stream,
                 {{att.w2, part.act.w1_16, part.act.w_up},
                  {att.a2, part.act.a1_16, part.act.a_up},
                  {att.g2, part.act.g1_16, part.act.g_up},
                  {att.v2, part.act.v1_16, part.act.v_up}},
                 part.rows);
  args.w_up = part.act.w_up;
  args.a_up = part.act.a_up;
  args.g_up = part.act.g_up;
  args.v_up = part.act.v_up;
  const bool coded = way(part.rows) == Way::integers;
  args.halves = coded ? nullptr : part.act.y16;
  args.halves_type = activations_;
  // From one whole chunk on: with a larger threshold a token's bits would depend on how its prompt
  // is cut, too. That a chunk beats 16 steps of the scan is counted, not measured: a third of the
  // waits that follow each other. Otherwise one kernel where runs are short, three where a run's
  // rows can be prepared side by side.
  if (part.chunked) {
    recur_chunked(stream.handle(), args);
  } else if (part.rows < 4 * part.runs) {
    cuda::recur(stream.handle(), args);
  } else {
    recur_many(stream.handle(), args);
  }
  if (coded) {
    const int64_t numbers = int64_t(part.rows) * h_.width;
    convert(stream.handle(), {part.act.y, part.act.y16, numbers, Format::bytes});
  }
}

void CudaBackend::output(int layer, const Part& part) {
  const DeviceMatrix& W = weights_.layers[size_t(layer)].att.output;
  switch (way(part.rows)) {
    case Way::fp32: {
      GemvArgs args;
      args.segments[0] = {W, nullptr, part.act.x, Epilogue::add};
      args.count = 1;
      args.x = part.act.y;
      args.rows = part.rows;
      args.width = h_.width;
      gemv(stream_.handle(), args, card_);
      break;
    }
    case Way::tiles:
      multiply_tiles(stream_, {{W, part.act.y16, part.act.x, Epilogue::add}}, part.rows);
      break;
    case Way::integers:
      multiply_integers({{W, part.act.y16, part.act.x, Epilogue::add}}, part.rows);
      break;
    case Way::gemm:
      multiply(W, part.act.y16, part.act.x, part.rows, 1, 1);
      break;
  }
}

void CudaBackend::expand(int layer, const Part& part) {
  const CudaLayer& l = weights_.layers[size_t(layer)];
  const int64_t shift_offset = layer_offset(layer) + h_.width;
  if (way(part.rows) == Way::fp32) {
    GemvArgs args;
    args.segments[0] = {l.ffn.key, l.ffn.x_k, part.act.h, Epilogue::relu_squared};
    args.count = 1;
    args.source = Source::shift;
    args.x = part.act.x;
    args.rows = part.rows;
    args.width = h_.width;
    args.norm = norm(l.ln2);
    args.step = part.step;
    args.shift_offset = shift_offset;
    args.z = part.act.z;
    gemv(stream_.handle(), args, card_);
    return;
  }
  const bool coded = way(part.rows) == Way::integers;
  norm_and_shift(l.ln2, shift_offset, part, {{l.ffn.x_k, part.act.mixed[0], coded}});
  if (coded) {
    multiply_integers({{l.ffn.key, part.act.mixed[0], part.act.h}}, part.rows);
    return;
  }
  if (way(part.rows) == Way::gemm) {
    multiply(l.ffn.key, part.act.mixed[0], part.act.h, part.rows);
    return;
  }
  TileSegment key = {l.ffn.key, part.act.mixed[0], part.act.h, Epilogue::relu_squared};
  if (!sparse(part.rows)) {
    key.y = part.act.h16;
    key.halves = true;
    key.scale = hidden_scale();
  }
  multiply_tiles(stream_, {key}, part.rows);
}

void CudaBackend::contract(int layer, const Part& part) {
  const DeviceMatrix& W = weights_.layers[size_t(layer)].ffn.value;
  const int64_t shift_offset = layer_offset(layer) + h_.width;
  const bool coded = way(part.rows) == Way::integers;
  if (way(part.rows) != Way::gemm && !coded) {
    for (int first = 0; first < part.rows; first += kShareRows) {
      const int count = std::min(kShareRows, part.rows - first);
      const StepTable step = first == 0 ? part.step : StepTable{};  // shifts are stored once
      float* x = part.act.x + int64_t(first) * h_.width;
      if (sparse(part.rows)) {
        cuda::contract(stream_.handle(), {.value = W,
                                          .h = part.act.h + int64_t(first) * h_.ffn,
                                          .x = x,
                                          .rows = count,
                                          .shares = shares_,
                                          .nonzero = nonzero_,
                                          .step = step,
                                          .shift_offset = shift_offset,
                                          .z = part.act.z});
      } else {
        lines(
            stream_.handle(),
            {.W = W,
             .h = static_cast<uint16_t*>(part.act.h16) + int64_t(first) * padded_to_octets(h_.ffn),
             .scale = 1 / hidden_scale(),
             .x = x,
             .rows = count,
             .shares = shares_,
             .step = step,
             .shift_offset = shift_offset,
             .z = part.act.z},
            activations_);
      }
    }
  } else {
    relu_squared(stream_.handle(), {.key = part.act.h,
                                    .to = part.act.h16,
                                    .rows = part.rows,
                                    .ffn = h_.ffn,
                                    .type = coded ? Format::bytes : activations_,
                                    .scale = coded ? 1 : hidden_scale(),
                                    .step = part.step,
                                    .width = h_.width,
                                    .shift_offset = shift_offset,
                                    .z = part.act.z});
    if (coded) {
      multiply_integers({{W, part.act.h16, part.act.x, Epilogue::add}}, part.rows);
    } else {
      multiply(W, part.act.h16, part.act.x, part.rows, 1 / hidden_scale(), 1);
    }
  }
}

}  // namespace anser
