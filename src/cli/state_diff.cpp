#include "cli/state_diff.h"

#include <fmt/format.h>

#include <cmath>
#include <span>

#include "anser/error.h"
#include "model/model_sketch.h"

namespace anser {
namespace {

RelativeChange change(std::span<const float> a, std::span<const float> b) {
  double difference = 0, before = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = double(b[i]) - double(a[i]);
    difference += d * d;
    before += double(a[i]) * double(a[i]);
  }
  if (difference == 0) return 0.0;
  if (before == 0) return std::nullopt;
  return std::sqrt(difference / before);
}

}  // namespace

std::vector<LayerChange> compare_states(const State& a, const State& b) {
  const StateShape shape = a.shape();
  if (shape != b.shape() || a.fingerprint() != b.fingerprint()) {
    throw Error(fmt::format(
        "the states belong to different models: {} layers of width {}, fingerprint {:016x}, and {} "
        "layers of width {}, fingerprint {:016x}",
        shape.layers, shape.width, a.fingerprint(), b.shape().layers, b.shape().width,
        b.fingerprint()));
  }
  if (a.identity_known() && b.identity_known() && a.sketch()->changes(*b.sketch()) > 0) {
    throw Error("the states belong to different fine-tunes of one model");
  }
  const size_t width = size_t(shape.width);
  const size_t head = size_t(shape.head_size) * shape.head_size;
  std::vector<LayerChange> layers;
  for (int l = 0; l < shape.layers; ++l) {
    LayerChange layer;
    layer.att_shift = change({a.att_shift(l), width}, {b.att_shift(l), width});
    layer.ffn_shift = change({a.ffn_shift(l), width}, {b.ffn_shift(l), width});
    layer.wkv = change({a.wkv(l), head * shape.heads}, {b.wkv(l), head * shape.heads});
    for (int h = 0; h < shape.heads; ++h) {
      layer.heads.push_back(change({a.wkv(l, h), head}, {b.wkv(l, h), head}));
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

}  // namespace anser
