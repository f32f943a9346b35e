// The five phases of a layer, beside model/forward.h.
#include <algorithm>

#include "cuda/cuda_backend.h"

namespace anser {

using namespace cuda;

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
  // From one whole chunk on: with a larger threshold the bits would depend on how long the pieces
  // are that a prompt is cut into. Never measured; counted, a chunk waits about a third as long for
  // its own results as 16 steps of the scan do.
  chunked(rows) ? recur_chunked(stream_.handle(), args) : recur_many(stream_.handle(), args);
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

}  // namespace anser
