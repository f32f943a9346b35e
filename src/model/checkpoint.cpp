#include "model/checkpoint.h"

#include <fmt/format.h>

#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "anser/error.h"

namespace anser {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;

constexpr Pair kGgufLayer[] = {
    {"attn_norm_2.", "ln2."},
    {"attn_norm.", "ln1."},
    {"time_mix_receptance.weight", "att.receptance.weight"},
    {"time_mix_key.weight", "att.key.weight"},
    {"time_mix_value.weight", "att.value.weight"},
    {"time_mix_output.weight", "att.output.weight"},
    {"time_mix_ln.", "att.ln_x."},
    {"time_mix_lerp_fused.weight", "att.x_x"},
    {"channel_mix_lerp_k.weight", "ffn.x_k"},
    {"channel_mix_key.weight", "ffn.key.weight"},
    {"channel_mix_value.weight", "ffn.value.weight"},
};
constexpr Pair kGgufTop[] = {
    {"token_embd.weight", "emb.weight"},
    {"token_embd_norm.", "blocks.0.ln0."},
    {"output_norm.", "ln_out."},
    {"output.weight", "head.weight"},
};

// Replaces the first pattern that `name` begins with; patterns that end in '.' keep what follows.
template <size_t n>
std::string rename(std::string_view name, const Pair (&table)[n]) {
  for (const auto& [from, to] : table) {
    if (from.ends_with('.') ? name.starts_with(from) : name == from) {
      return std::string(to) + std::string(name.substr(from.size()));
    }
  }
  return "";
}

// "layers.12.attn.x" -> {"12", "attn.x"} for prefix "layers.".
bool split_layer(std::string_view name, std::string_view prefix, std::string_view& number,
                 std::string_view& rest) {
  if (!name.starts_with(prefix)) return false;
  name.remove_prefix(prefix.size());
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos) return false;
  number = name.substr(0, dot);
  rest = name.substr(dot + 1);
  return true;
}

std::string from_gguf(std::string_view name) {
  std::string_view number, rest;
  if (!split_layer(name, "blk.", number, rest)) return rename(name, kGgufTop);
  std::string inner = rename(rest, kGgufLayer);
  // time_mix_w1.weight and its like: w0 w1 w2 a0 ... k_k k_a r_k
  if (inner.empty() && rest.starts_with("time_mix_") && rest.ends_with(".weight")) {
    inner = fmt::format("att.{}", rest.substr(9, rest.size() - 9 - 7));
  }
  return inner.empty() ? "" : fmt::format("blocks.{}.{}", number, inner);
}

void add_tensor(const TensorFile& file, const std::string& name, const FileTensor& tensor,
                std::map<std::string, FileTensor>& tensors) {
  const auto [at, is_new] = tensors.emplace(name, tensor);
  if (!is_new) {
    throw Error(fmt::format("{}: the tensors {} and {} are both what the original files call {}",
                            file.path, at->second.name, tensor.name, name));
  }
}

// att.x_x [6][...][D] holds x_r, x_w, x_k, x_v, x_a, x_g in this order.
void split_fused_mix(const TensorFile& file, const std::string& block, const FileTensor& fused,
                     std::map<std::string, FileTensor>& tensors) {
  if (fused.shape.empty() || fused.shape[0] != 6 || !fused.contiguous() ||
      fused.type == DType::unsupported) {
    throw Error(
        fmt::format("{}: tensor {}: expected the six token-shift vectors, [6, width], found {} {}",
                    file.path, fused.name, dtype_name(fused.type), fused.shape_text()));
  }
  const size_t bytes = fused.bytes.size() / 6;
  for (int i = 0; i < 6; ++i) {
    FileTensor part = fused;
    part.shape = {fused.elements() / 6};
    part.strides = {1};
    part.bytes = fused.bytes.subspan(i * bytes, bytes);
    add_tensor(file, block + "att.x_" + "rwkvag"[i], part, tensors);
  }
}

std::optional<int64_t> integer(const TensorFile& file, const std::string& key) {
  const auto at = file.metadata.find(key);
  if (at == file.metadata.end()) return std::nullopt;
  if (const auto* value = std::get_if<int64_t>(&at->second)) return *value;
  return std::nullopt;
}

std::optional<double> number(const TensorFile& file, const std::string& key) {
  const auto at = file.metadata.find(key);
  if (at == file.metadata.end()) return std::nullopt;
  if (const auto* value = std::get_if<double>(&at->second)) return *value;
  if (const auto* value = std::get_if<int64_t>(&at->second)) return double(*value);
  return std::nullopt;
}

// Whether low-rank matrices are [outputs][inputs], told by their shapes: the side that is D is the
// input of x1 and the output of x2. Nothing where every rank is D.
std::optional<bool> low_rank_by_shape(const std::map<std::string, FileTensor>& all) {
  const auto embedding = all.find("emb.weight");
  if (embedding == all.end() || embedding->second.shape.size() != 2) return std::nullopt;
  const int64_t width = embedding->second.shape[1];
  for (const auto& [name, tensor] : all) {
    if (tensor.shape.size() != 2 || name.find(".att.") == std::string::npos) continue;
    const std::string_view last = std::string_view(name).substr(name.size() - 2);
    const bool first = last == "w1" || last == "a1" || last == "v1" || last == "g1";
    const bool second = last == "w2" || last == "a2" || last == "v2" || last == "g2";
    if (!first && !second) continue;
    const bool by_rows = tensor.shape[0] == width, by_cols = tensor.shape[1] == width;
    if (by_rows != by_cols) return first ? by_cols : by_rows;
  }
  return std::nullopt;
}

// web-rwkv's converter, which transposes the low-rank matrices, says so in the header.
bool is_from_web_rwkv(const TensorFile& file) {
  if (file.format != FileFormat::safetensors) return false;
  const auto at = file.metadata.find("format");
  return at != file.metadata.end() && at->second == MetaValue("pt");
}

// Our own key, a flag in GGUF and a text in safetensors.
bool is_embedding_norm_fused(const TensorFile& file) {
  const auto at = file.metadata.find(kEmbeddingNormFused);
  if (at == file.metadata.end() || at->second == MetaValue(false) ||
      at->second == MetaValue(std::string("false"))) {
    return false;
  }
  if (at->second == MetaValue(true) || at->second == MetaValue(std::string("true"))) return true;
  throw Error(fmt::format("{}: {} is neither true nor false", file.path, kEmbeddingNormFused));
}

// Biases of the large matrices would change every result.
void refuse_bias(const TensorFile& file, const std::string& name, const FileTensor& tensor) {
  constexpr std::string_view kMatrices[] = {
      "att.receptance.bias", "att.key.bias",   "att.value.bias", "att.output.bias",
      "ffn.key.bias",        "ffn.value.bias", "head.bias"};
  for (const std::string_view ending : kMatrices) {
    if (!name.ends_with(ending)) continue;
    throw Error(
        fmt::format("{}: tensor {}: a matrix of RWKV-7 has no bias, so this is another "
                    "model, which anser does not run",
                    file.path, tensor.name));
  }
}

Description described_by_gguf(const TensorFile& file) {
  Description d;
  d.source = file.path;
  d.layers = integer(file, "rwkv7.block_count");
  d.width = integer(file, "rwkv7.embedding_length");
  d.ffn = integer(file, "rwkv7.feed_forward_length");
  d.head_size = integer(file, "rwkv7.wkv.head_size");
  d.norm_eps = number(file, "rwkv7.attention.layer_norm_epsilon");
  return d;
}

bool is_time_state(std::string_view name) {
  return name.ends_with(".att.time_state");
}

}  // namespace

std::string Checkpoint::name_in_file(std::string_view original) const {
  return names.in_file(original);
}

Checkpoint read_checkpoint(const TensorFile& file) {
  refuse_other_models(file);

  Checkpoint checkpoint;
  const bool gguf = file.format == FileFormat::gguf;
  if (!gguf) checkpoint.names = find_tensor_names(file);
  const TensorNames& names = checkpoint.names;
  for (const FileTensor& tensor : file.tensors) {
    const std::string name = gguf ? from_gguf(tensor.name) : names.original(tensor.name);
    if (name.empty()) continue;  // not part of the model: an optimiser's, a rotary table's
    if (name.ends_with(".att.x_x")) {
      split_fused_mix(file, name.substr(0, name.size() - strlen("att.x_x")), tensor,
                      checkpoint.tensors);
    } else {
      refuse_bias(file, name, tensor);
      add_tensor(file, name, tensor, checkpoint.tensors);
    }
  }
  if (checkpoint.tensors.find("emb.weight") == checkpoint.tensors.end()) {
    throw Error(fmt::format(
        "{}: no RWKV-7 model in this {} file: expected a tensor emb.weight (original names), "
        "model.embeddings.weight (Hugging Face) or token_embd.weight (GGUF) among its {} tensors{}",
        file.path, file_format_name(file.format), file.tensors.size(),
        file.tensors.empty() ? "" : fmt::format("; the first is {}", file.tensors[0].name)));
  }

  checkpoint.low_rank_out_in = low_rank_by_shape(checkpoint.tensors)
                                   .value_or(gguf || names.linear_low_rank ||
                                             (!names.hugging_face && is_from_web_rwkv(file)));
  if (gguf) {
    checkpoint.says = described_by_gguf(file);
  } else if (!file.config.empty()) {
    checkpoint.says = read_config(file);
  } else {
    checkpoint.says.source = file.path;
  }
  if (is_embedding_norm_fused(file)) checkpoint.says.embedding_norm = false;
  if (names.fla) checkpoint.says.group_norm_eps_by_head = true;
  if (checkpoint.says.tied_head) {
    checkpoint.tensors.emplace("head.weight", checkpoint.tensors.at("emb.weight"));
  }
  return checkpoint;
}

std::map<std::string, FileTensor> time_states(const TensorFile& file) {
  std::map<std::string, FileTensor> found;
  for (const FileTensor& tensor : file.tensors) {
    const size_t at = tensor.name.find("blocks.");
    if (is_time_state(tensor.name) && at != std::string::npos) {
      found[tensor.name.substr(at)] = tensor;
    }
  }
  return found;
}

}  // namespace anser
