#include "model/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "anser/error.h"
#include "checkpoint/gguf_names.h"

namespace anser {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;

// Hugging Face (fla) names inside a layer.
constexpr Pair kHuggingFaceLayer[] = {
    {"pre_norm.", "ln0."},
    {"attn_norm.", "ln1."},
    {"ffn_norm.", "ln2."},
    {"attn.r_proj.weight", "att.receptance.weight"},
    {"attn.k_proj.weight", "att.key.weight"},
    {"attn.v_proj.weight", "att.value.weight"},
    {"attn.o_proj.weight", "att.output.weight"},
    {"attn.w_lora.lora.0.weight", "att.w1"},
    {"attn.w_lora.lora.2.weight", "att.w2"},
    {"attn.w_lora.lora.2.bias", "att.w0"},
    {"attn.a_lora.lora.0.weight", "att.a1"},
    {"attn.a_lora.lora.2.weight", "att.a2"},
    {"attn.a_lora.lora.2.bias", "att.a0"},
    {"attn.v_lora.lora.0.weight", "att.v1"},
    {"attn.v_lora.lora.2.weight", "att.v2"},
    {"attn.v_lora.lora.2.bias", "att.v0"},
    {"attn.g_lora.lora.0.weight", "att.g1"},
    {"attn.g_lora.lora.2.weight", "att.g2"},
    {"attn.g_norm.", "att.ln_x."},
    {"attn.", "att."},
    {"ffn.", "ffn."},
};
constexpr Pair kHuggingFaceTop[] = {
    {"embeddings.weight", "emb.weight"},
    {"norm.", "ln_out."},
    {"lm_head.weight", "head.weight"},
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

// The other way round.
template <size_t n>
std::string rename_back(std::string_view name, const Pair (&table)[n]) {
  for (const auto& [to, from] : table) {
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

std::string from_hugging_face(std::string_view name) {
  if (name.starts_with("model.")) name.remove_prefix(6);
  std::string_view number, rest;
  if (!split_layer(name, "layers.", number, rest)) return rename(name, kHuggingFaceTop);
  const std::string inner = rename(rest, kHuggingFaceLayer);
  return inner.empty() ? "" : fmt::format("blocks.{}.{}", number, inner);
}

std::string to_hugging_face(std::string_view name, std::string_view prefix) {
  std::string_view number, rest;
  if (name.starts_with("head.")) prefix = "";
  if (!split_layer(name, "blocks.", number, rest)) {
    return fmt::format("{}{}", prefix, rename_back(name, kHuggingFaceTop));
  }
  return fmt::format("{}layers.{}.{}", prefix, number, rename_back(rest, kHuggingFaceLayer));
}

// Wrappers of training frameworks put a common prefix before every original name.
std::string original_prefix(const TensorFile& file) {
  constexpr std::string_view kEmbedding = "emb.weight";
  for (const FileTensor& tensor : file.tensors) {
    const std::string_view name = tensor.name;
    if (!name.ends_with(kEmbedding)) continue;
    const std::string prefix(name.substr(0, name.size() - kEmbedding.size()));
    if (file.find(prefix + "blocks.0.att.r_k") != nullptr) return prefix;
  }
  return "";
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

// Whether low-rank matrices under original names are [outputs][inputs], as web-rwkv stores them:
// the side that is D is the input of x1 and the output of x2.
bool low_rank_is_transposed(const TensorFile& file, const std::map<std::string, FileTensor>& all) {
  const auto embedding = all.find("emb.weight");
  if (embedding == all.end() || embedding->second.shape.size() != 2) return false;
  const int64_t width = embedding->second.shape[1];
  for (const auto& [name, tensor] : all) {
    if (tensor.shape.size() != 2 || name.find(".att.") == std::string::npos) continue;
    const std::string_view last = std::string_view(name).substr(name.size() - 2);
    const bool first = last == "w1" || last == "a1" || last == "v1" || last == "g1";
    const bool second = last == "w2" || last == "a2" || last == "v2" || last == "g2";
    if (!first && !second) continue;
    if (tensor.shape[0] == tensor.shape[1]) continue;  // says nothing
    return (first ? tensor.shape[1] : tensor.shape[0]) == width;
  }
  // All ranks equal the width: toy models. web-rwkv's converter says so in the header.
  if (file.format != FileFormat::safetensors) return false;
  const auto at = file.metadata.find("format");
  if (at == file.metadata.end()) return false;
  const auto* format = std::get_if<std::string>(&at->second);
  return format != nullptr && *format == "pt";
}

}  // namespace

std::string Checkpoint::name_in_file(std::string_view original) const {
  if (std::string name = name_by_sibling(original, tensors); !name.empty()) return name;
  switch (dialect) {
    case Dialect::gguf:
      return gguf_from_original(original);
    case Dialect::hugging_face:
      return to_hugging_face(original, prefix);
    case Dialect::original:
      break;
  }
  return fmt::format("{}{}", prefix, original);
}

Checkpoint read_checkpoint(const TensorFile& file) {
  refuse_other_models(file);

  Checkpoint checkpoint;
  const bool gguf = file.format == FileFormat::gguf;
  bool hugging_face = false;
  for (const FileTensor& tensor : file.tensors) {
    hugging_face |= tensor.name.ends_with("layers.0.attn.r_k");
  }
  const std::string prefix = original_prefix(file);
  checkpoint.dialect = gguf           ? Dialect::gguf
                       : hugging_face ? Dialect::hugging_face
                                      : Dialect::original;
  checkpoint.prefix = prefix;
  if (hugging_face) {
    const bool bare = std::any_of(file.tensors.begin(), file.tensors.end(), [](const auto& tensor) {
      return tensor.name.starts_with("layers.");
    });
    checkpoint.prefix = bare ? "" : "model.";
  }
  for (const FileTensor& tensor : file.tensors) {
    std::string name;
    if (gguf) {
      name = original_from_gguf(tensor.name);
    } else if (hugging_face) {
      name = from_hugging_face(tensor.name);
    } else if (tensor.name.starts_with(prefix)) {
      name = tensor.name.substr(prefix.size());
    }
    if (name.empty()) {  // an optimiser's, a rotary table's
      checkpoint.unknown.push_back(tensor.name);
      continue;
    }
    if (name.ends_with(".att.x_x")) {
      split_fused_mix(file, name.substr(0, name.size() - strlen("att.x_x")), tensor,
                      checkpoint.tensors);
    } else {
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

  checkpoint.low_rank_out_in =
      gguf || hugging_face || low_rank_is_transposed(file, checkpoint.tensors);
  if (gguf) {
    checkpoint.layers = integer(file, "rwkv7.block_count");
    checkpoint.width = integer(file, "rwkv7.embedding_length");
    checkpoint.ffn = integer(file, "rwkv7.feed_forward_length");
    checkpoint.head_size = integer(file, "rwkv7.wkv.head_size");
    checkpoint.norm_eps = number(file, "rwkv7.attention.layer_norm_epsilon");
  } else if (hugging_face) {
    checkpoint.layers = integer(file, "num_hidden_layers");
    checkpoint.width = integer(file, "hidden_size");
    checkpoint.vocab = integer(file, "vocab_size");
    checkpoint.ffn = integer(file, "intermediate_size");
    checkpoint.head_size = integer(file, "head_dim");
    checkpoint.norm_eps = number(file, "norm_eps");
    // fla's group norm has eps = head_dim * norm_eps, which is 64e-5 for the published models.
    if (checkpoint.norm_eps && checkpoint.head_size) {
      checkpoint.group_norm_eps = *checkpoint.norm_eps * double(*checkpoint.head_size);
    }
  }
  return checkpoint;
}

}  // namespace anser
