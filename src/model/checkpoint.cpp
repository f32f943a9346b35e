#include "model/checkpoint.h"

#include <fmt/format.h>

#include <cstring>
#include <string_view>
#include <utility>

#include "anser/error.h"

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

std::string from_hugging_face(std::string_view name) {
  if (name.starts_with("model.")) name.remove_prefix(6);
  std::string_view number, rest;
  if (!split_layer(name, "layers.", number, rest)) return rename(name, kHuggingFaceTop);
  const std::string inner = rename(rest, kHuggingFaceLayer);
  return inner.empty() ? "" : fmt::format("blocks.{}.{}", number, inner);
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
    tensors[block + "att.x_" + "rwkvag"[i]] = std::move(part);
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

bool is_time_state(std::string_view name) {
  return name.ends_with(".att.time_state");
}

}  // namespace

Checkpoint read_checkpoint(const TensorFile& file) {
  refuse_other_models(file);

  Checkpoint checkpoint;
  const bool gguf = file.format == FileFormat::gguf;
  bool hugging_face = false;
  for (const FileTensor& tensor : file.tensors) {
    hugging_face |= tensor.name.ends_with("layers.0.attn.r_k");
  }
  const std::string prefix = original_prefix(file);
  for (const FileTensor& tensor : file.tensors) {
    std::string name;
    if (gguf) {
      name = from_gguf(tensor.name);
    } else if (hugging_face) {
      name = from_hugging_face(tensor.name);
    } else if (tensor.name.starts_with(prefix)) {
      name = tensor.name.substr(prefix.size());
    }
    if (name.empty()) continue;  // not part of the model: an optimiser's, a rotary table's
    if (name.ends_with(".att.x_x")) {
      split_fused_mix(file, name.substr(0, name.size() - strlen("att.x_x")), tensor,
                      checkpoint.tensors);
    } else {
      checkpoint.tensors[name] = tensor;
    }
  }
  if (checkpoint.tensors.find("emb.weight") == checkpoint.tensors.end()) {
    throw Error(fmt::format(
        "{}: no RWKV-7 model in this {} file: expected a tensor emb.weight (original names), "
        "model.embeddings.weight (Hugging Face) or token_embd.weight (GGUF) among its {} tensors{}",
        file.path, file_format_name(file.format), file.tensors.size(),
        file.tensors.empty() ? "" : fmt::format("; the first is {}", file.tensors[0].name)));
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
  if (name.starts_with("blocks.")) return std::string(name);
  for (const auto rename : {from_hugging_face, from_gguf}) {
    if (std::string found = rename(name); !found.empty()) return found;
  }
  return std::string(name);
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
