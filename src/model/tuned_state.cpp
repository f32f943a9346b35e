#include "model/tuned_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "anser/error.h"
#include "model/load_weights.h"

namespace anser {
namespace {

struct TunedLayer {
  const FileTensor* wkv = nullptr;
  const FileTensor* shift = nullptr;
  // By its name in the original checkpoints; Hugging Face's and GGUF's have their own.
  bool original_name = false;
};

bool cut_end(std::string_view& text, std::string_view end) {
  if (!text.ends_with(end)) return false;
  text.remove_suffix(end.size());
  return true;
}

// The layer's number before which "blocks." or its like stands, at the end of `text`.
std::optional<int> cut_layer(std::string_view text) {
  const size_t dot = text.rfind('.');
  int layer = 0;
  const std::string_view digits = text.substr(dot == std::string_view::npos ? 0 : dot + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), layer);
  if (error != std::errc() || end != digits.data() + digits.size() || layer < 0) {
    return std::nullopt;
  }
  text.remove_suffix(digits.size());
  for (const std::string_view block : {"blocks.", "layers.", "blk."}) {
    if (text.ends_with(block)) return layer;
  }
  return std::nullopt;
}

// All of a file, by layer; empty when there are none.
std::map<int, TunedLayer> tuned_layers(const TensorFile& file) {
  std::map<int, TunedLayer> layers;
  for (const FileTensor& tensor : file.tensors) {
    std::string_view name = tensor.name;
    cut_end(name, ".weight");
    const bool wkv = cut_end(name, "time_state");
    if (!wkv && !cut_end(name, "ts_state")) continue;
    const bool original = cut_end(name, ".att.");
    std::optional<int> layer;
    if (original || cut_end(name, ".attn.") || cut_end(name, ".attention.") ||
        cut_end(name, ".time_mix_")) {
      layer = cut_layer(name);
    }
    if (!layer) {
      throw Error(
          fmt::format("{}: tensor {}: a part of a tuned state that anser does not know; expected "
                      "blocks.N.att.time_state and blocks.N.att.ts_state",
                      file.path, tensor.name));
    }
    TunedLayer& to = layers[*layer];
    const FileTensor*& place = wkv ? to.wkv : to.shift;
    if (place != nullptr) {
      throw Error(fmt::format("{}: tensors {} and {} are the same part of a state", file.path,
                              place->name, tensor.name));
    }
    place = &tensor;
    to.original_name = to.original_name || original;
  }
  return layers;
}

Vector finite_values(const FileTensor& tensor, const std::string& path) {
  expect_type(tensor, path);
  Vector values = widen(tensor);
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    throw Error(
        fmt::format("{}: tensor {}: {} at element {}; the file is damaged or a training "
                    "run diverged",
                    path, tensor.name, not_finite_name(values[i]), i));
  }
  return values;
}

void load_wkv(const FileTensor& tensor, const Hyperparameters& h, bool key_first,
              const std::string& path, float* to) {
  const int N = h.head_size;
  if (tensor.shape != std::vector<int64_t>{h.heads, N, N}) {
    wrong_shape(tensor, fmt::format("[{}, {}, {}]", h.heads, N, N), path);
  }
  const Vector values = finite_values(tensor, path);
  for (int head = 0; head < h.heads; ++head) {
    const float* from = values.data() + size_t(head) * N * N;
    float* S = to + size_t(head) * N * N;
    for (int i = 0; i < N; ++i) {
      for (int j = 0; j < N; ++j) S[i * N + j] = key_first ? from[j * N + i] : from[i * N + j];
    }
  }
}

void load_layers(const std::map<int, TunedLayer>& layers, const Hyperparameters& h, bool converted,
                 const std::string& path, State& to) {
  for (const auto& [l, layer] : layers) {
    if (l >= h.layers) {
      throw Error(fmt::format("{}: tensor {}: the model has {} layers only", path,
                              (layer.wkv != nullptr ? layer.wkv : layer.shift)->name, h.layers));
    }
    if (layer.wkv != nullptr) {
      load_wkv(*layer.wkv, h, converted && layer.original_name, path, to.wkv(l));
    }
    if (layer.shift != nullptr) {
      if (layer.shift->elements() != h.width) {
        wrong_shape(*layer.shift, fmt::format("[{}]", h.width), path);
      }
      std::ranges::copy(finite_values(*layer.shift, path), to.att_shift(l));
    }
  }
}

// Whether a model's file was converted for web-rwkv: original names, and low-rank matrices that lie
// as Hugging Face's linear layers do.
bool is_converted(const TensorFile& file, const Checkpoint& checkpoint) {
  return file.format == FileFormat::safetensors && !checkpoint.names.hugging_face &&
         checkpoint.low_rank_out_in;
}

bool holds_model(const TensorFile& file) {
  return std::ranges::any_of(file.tensors, [](const FileTensor& tensor) {
    return tensor.name.ends_with("emb.weight") || tensor.name.ends_with("embeddings.weight");
  });
}

// The same of a file that is not opened as a model, though one may be in it. Safetensors of states
// only were converted; an adapter's are as its trainer wrote them.
bool is_converted(const TensorFile& file) {
  if (file.format != FileFormat::safetensors) return false;
  if (holds_model(file)) return is_converted(file, read_checkpoint(file));
  return find_beside_tuned_state(file) == nullptr;
}

}  // namespace

bool has_tuned_state(const TensorFile& file) {
  return !tuned_layers(file).empty();
}

const FileTensor* find_beside_tuned_state(const TensorFile& file) {
  if (holds_model(file)) return nullptr;
  for (const FileTensor& tensor : file.tensors) {
    std::string_view name = tensor.name;
    cut_end(name, ".weight");
    if (!name.ends_with("time_state") && !name.ends_with("ts_state")) return &tensor;
  }
  return nullptr;
}

void load_tuned_state(const TensorFile& file, const Hyperparameters& h, State& to) {
  const std::map<int, TunedLayer> layers = tuned_layers(file);
  const auto count =
      std::ranges::count_if(layers, [](const auto& entry) { return entry.second.wkv != nullptr; });
  if (count != h.layers) {
    throw Error(
        fmt::format("{} is no state of this model: expected an anser state file or {} tensors "
                    "blocks.*.att.time_state, found {}",
                    file.path, h.layers, count));
  }
  load_layers(layers, h, is_converted(file), file.path, to);
}

void load_tuned_state_of_model(const TensorFile& file, const Checkpoint& checkpoint,
                               const Hyperparameters& h, State& to) {
  const bool converted = is_converted(file, checkpoint);
  load_layers(tuned_layers(file), h, converted, file.path, to);
}

void visit_tuned_state(const Model& model,
                       const std::function<void(const std::string& name, std::vector<int64_t> shape,
                                                std::vector<float> values)>& visit) {
  const Hyperparameters& h = model.hyperparameters();
  const State state = model.initial_state();
  if (state.untouched()) return;
  const auto zero = [](std::span<const float> values) {
    return std::ranges::all_of(values, [](float x) { return x == 0; });
  };
  const size_t D = size_t(h.width), size = D * size_t(h.head_size);
  bool any_shift = false;
  for (int l = 0; l < h.layers; ++l) any_shift |= !zero({state.att_shift(l), D});
  if (zero(state.data())) return;
  for (int l = 0; l < h.layers; ++l) {
    const auto part = [&](const char* name, std::vector<int64_t> shape, const float* from,
                          size_t count) {
      visit(fmt::format("blocks.{}.att.{}", l, name), std::move(shape), {from, from + count});
    };
    part("time_state", {h.heads, h.head_size, h.head_size}, state.wkv(l), size);
    if (any_shift) part("ts_state", {h.width}, state.att_shift(l), D);
  }
}

}  // namespace anser
