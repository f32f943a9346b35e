#include "model/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "anser/error.h"
#include "checkpoint/gguf_names.h"

namespace anser {
namespace {

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

void add_tensor(const TensorFile& file, const std::string& name, const FileTensor& tensor,
                std::map<std::string, FileTensor>& tensors) {
  const auto [at, is_new] = tensors.emplace(name, tensor);
  if (!is_new) {
    throw Error(fmt::format("{}: the tensors {} and {} are both what the original files call {}",
                            file.path, at->second.name, tensor.name, name));
  }
}

// From the name that the same tensor of another layer has in the file: whatever the layout, only
// the number of the layer differs. Empty where no layer has it.
std::string name_by_sibling(std::string_view original,
                            const std::map<std::string, FileTensor>& tensors) {
  std::string_view number, rest;
  if (!split_layer(original, "blocks.", number, rest)) return "";
  for (const auto& [sibling, tensor] : tensors) {
    std::string_view other, same;
    if (!split_layer(sibling, "blocks.", other, same) || same != rest) continue;
    const std::string place = fmt::format(".{}.", other);
    const size_t at = tensor.name.find(place);
    if (at == std::string::npos) continue;
    std::string name = tensor.name;
    return name.replace(at, place.size(), fmt::format(".{}.", number));
  }
  return "";
}

// att.x_x [6][...][D] holds x_r, x_w, x_k, x_v, x_a, x_g in this order.
void split_fused_mix(const TensorFile& file, const std::string& block, const FileTensor& fused,
                     std::map<std::string, FileTensor>& tensors) {
  if (fused.shape.empty() || fused.shape[0] != 6 || !fused.contiguous() ||
      fused.type == DType::unsupported) {
    throw Error(
        fmt::format("{}: tensor {}: expected the six token-shift vectors, [6, width], found {} {}",
                    file.path, fused.name, fused.type_name(), fused.shape_text()));
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

}  // namespace

std::string Checkpoint::name_in_file(std::string_view original) const {
  if (std::string name = name_by_sibling(original, tensors); !name.empty()) return name;
  return gguf ? gguf_from_original(original) : names.in_file(original);
}

bool Checkpoint::head_is_embedding() const {
  const auto head = tensors.find("head.weight");
  return head != tensors.end() &&
         head->second.bytes.data() == tensors.at("emb.weight").bytes.data();
}

Checkpoint read_checkpoint(const TensorFile& file) {
  refuse_other_models(file);

  Checkpoint checkpoint;
  const bool gguf = checkpoint.gguf = file.format == FileFormat::gguf;
  if (!gguf) checkpoint.names = find_tensor_names(file);
  const TensorNames& names = checkpoint.names;
  for (const FileTensor& tensor : file.tensors) {
    const std::string name = gguf ? original_from_gguf(tensor.name) : names.original(tensor.name);
    if (name.empty()) {  // an optimiser's, a rotary table's
      checkpoint.unknown.push_back(tensor.name);
      continue;
    }
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
        "{}: no RWKV-7 model in this {}: expected a tensor emb.weight (original names), "
        "model.embeddings.weight (Hugging Face) or token_embd.weight (GGUF), found {}",
        file.path,
        file.format == FileFormat::hf_folder
            ? "folder"
            : fmt::format("{} file", file_format_name(file.format)),
        describe_contents(file)));
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

std::string original_name(std::string_view name) {
  constexpr std::string_view kWrappers[] = {"base_model.",      "model.", "module.", "_orig_mod.",
                                            "_forward_module.", "rwkv7.", "rwkv."};
  for (bool found = true; found;) {
    found = false;
    for (const std::string_view wrapper : kWrappers) {
      if (!name.starts_with(wrapper)) continue;
      name.remove_prefix(wrapper.size());
      found = true;
    }
  }
  if (std::string found = original_from_gguf(name); !found.empty()) return found;
  return TensorNames().original(name);
}

}  // namespace anser
