#include "checkpoint/tensor_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace anser {
namespace {

// What ends in a dot goes on with whatever follows.
using Pair = std::pair<std::string_view, std::string_view>;

constexpr Pair kTop[] = {
    {"embeddings.weight", "emb.weight"},
    {"embed_tokens.weight", "emb.weight"},
    {"norm.", "ln_out."},
    {"pre_ln.", "blocks.0.ln0."},
    {"lm_head.", "head."},
};

constexpr Pair kNorms[] = {
    {"pre_norm.", "ln0."},       {"pre_ln.", "ln0."},   {"attn_norm.", "ln1."},
    {"attention_norm.", "ln1."}, {"ffn_norm.", "ln2."}, {"feed_forward_norm.", "ln2."},
};

constexpr Pair kFlaNorms[] = {{"pre_norm.", "ln0."}, {"attn_norm.", "ln1."}, {"ffn_norm.", "ln2."}};

constexpr std::array<std::string_view, 4> kTimeMix = {"att.", "attn.", "attention.", "self_attn."};
constexpr std::array<std::string_view, 2> kChannelMix = {"ffn.", "feed_forward."};
constexpr std::array<std::string_view, 2> kLayers = {"blocks.", "layers."};

constexpr Pair kInTimeMix[] = {
    {"r_proj.", "receptance."}, {"k_proj.", "key."},  {"v_proj.", "value."},
    {"o_proj.", "output."},     {"g_norm.", "ln_x."},
};

// fla's low-rank pairs: w_lora.lora.0.weight and its like.
constexpr std::string_view kLora = "_lora.lora.";
constexpr Pair kInLora[] = {{"0.weight", "1"}, {"2.weight", "2"}, {"2.bias", "0"}};

bool take(std::string_view& name, std::string_view beginning) {
  if (!name.starts_with(beginning)) return false;
  name.remove_prefix(beginning.size());
  return true;
}

template <size_t n>
bool take_one(std::string_view& name, const std::array<std::string_view, n>& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [&](std::string_view beginning) { return take(name, beginning); });
}

// Replaces the first entry that `name` begins with, or is; empty when there is none.
template <size_t n>
std::string rename(std::string_view name, const Pair (&table)[n]) {
  for (const auto& [from, to] : table) {
    if (from.ends_with('.') ? name.starts_with(from) : name == from) {
      return fmt::format("{}{}", to, name.substr(from.size()));
    }
  }
  return "";
}

// The other way round; the name as it is when there is no entry.
template <size_t n>
std::string rename_back(std::string_view name, const Pair (&table)[n]) {
  for (const auto& [to, from] : table) {
    if (from.ends_with('.') ? name.starts_with(from) : name == from) {
      return fmt::format("{}{}", to, name.substr(from.size()));
    }
  }
  return std::string(name);
}

// w1, x_r, k_k and the like, which have no ending in the original files.
bool is_bare(std::string_view name) {
  return name.size() == 2 || (name.size() == 3 && name[1] == '_');
}

// "w1.weight" -> "w1", "key.weight" as it is.
std::string_view without_ending(std::string_view name) {
  constexpr std::string_view kEnding = ".weight";
  const std::string_view bare = name.substr(0, name.size() - std::min(name.size(), kEnding.size()));
  return name.ends_with(kEnding) && is_bare(bare) ? bare : name;
}

std::string in_time_mix(std::string_view name) {
  if (std::string renamed = rename(name, kInTimeMix); !renamed.empty()) return renamed;
  if (name.size() > 1 && name.substr(1).starts_with(kLora)) {
    const std::string part = rename(name.substr(1 + kLora.size()), kInLora);
    if (!part.empty()) return name[0] + part;
  }
  return std::string(without_ending(name));
}

// w0, w1, g2 and the like.
bool is_of_low_rank_pair(std::string_view name) {
  return name.size() == 2 && name[1] >= '0' && name[1] <= '2';
}

std::string in_fla_time_mix(std::string_view name) {
  if (!is_of_low_rank_pair(name)) return rename_back(name, kInTimeMix);
  const char* part = name[1] == '0' ? "2.bias" : name[1] == '1' ? "0.weight" : "2.weight";
  return fmt::format("{}{}{}", name[0], kLora, part);
}

// "_forward_module.model." -> "_forward_module."
std::string_view outer_prefix(std::string_view prefix) {
  prefix.remove_suffix(1);
  const size_t dot = prefix.rfind('.');
  return prefix.substr(0, dot == std::string_view::npos ? 0 : dot + 1);
}

std::string in_layer(std::string_view name) {
  if (std::string norm = rename(name, kNorms); !norm.empty()) return norm;
  if (take_one(name, kTimeMix)) {
    take(name, "time_mixer.");
    return "att." + in_time_mix(name);
  }
  if (take_one(name, kChannelMix)) return fmt::format("ffn.{}", without_ending(name));
  return std::string(name);
}

// "layers.12.attn.x" -> {"12", "attn.x"}.
bool split_layer(std::string_view name, std::string_view& number, std::string_view& rest) {
  if (!take_one(name, kLayers)) return false;
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos) return false;
  number = name.substr(0, dot);
  rest = name.substr(dot + 1);
  return true;
}

// Where "blocks.0." or "layers.0." begins in a name; npos when it does not.
size_t first_layer_at(std::string_view name) {
  for (const std::string_view layers : kLayers) {
    const size_t at = name.find(fmt::format("{}0.", layers));
    if (at != std::string_view::npos && (at == 0 || name[at - 1] == '.')) return at;
  }
  return std::string_view::npos;
}

}  // namespace

std::string TensorNames::original(std::string_view name) const {
  std::string_view rest = name;
  if (take(rest, prefix)) {
    std::string_view number, inner;
    if (split_layer(rest, number, inner))
      return fmt::format("blocks.{}.{}", number, in_layer(inner));
    std::string top = rename(rest, kTop);
    return top.empty() ? std::string(rest) : top;
  }
  // The head stands outside of what Hugging Face calls the base model: before "model.", or nothing.
  for (std::string_view outer = prefix; !outer.empty();) {
    outer = outer_prefix(outer);
    rest = name;
    if (take(rest, outer) && (take(rest, "head.") || take(rest, "lm_head."))) {
      return fmt::format("head.{}", rest);
    }
  }
  return "";
}

std::string TensorNames::in_file(std::string_view original) const {
  std::string_view rest = original, number, inner;
  if (!split_layer(original, number, inner)) {
    if (take(rest, "emb.")) return prefix + embedding;
    if (take(rest, "head.")) {
      const std::string_view before =
          hugging_face && !prefix.empty() ? outer_prefix(prefix) : prefix;
      return fmt::format("{}{}{}", before, fla ? "lm_head." : "head.", rest);
    }
    return fla && take(rest, "ln_out.") ? fmt::format("{}norm.{}", prefix, rest)
                                        : fmt::format("{}{}", prefix, original);
  }
  std::string name(inner);
  if (fla && inner.starts_with("ln")) {
    name = rename_back(inner, kFlaNorms);
  } else if (take(inner, "ln0.") && time_mix == "attention.") {
    name = fmt::format("{}{}", layers == "layers." ? "pre_norm." : "pre_ln.", inner);
  } else if (take(inner, "att.")) {
    const bool linear = linear_low_rank && is_of_low_rank_pair(inner) && inner[1] != '0';
    name =
        time_mix + (fla ? in_fla_time_mix(inner) : std::string(inner) + (linear ? ".weight" : ""));
  } else if (take(inner, "ffn.")) {
    name = fmt::format("{}{}", channel_mix, inner);
  }
  return fmt::format("{}{}{}.{}", prefix, layers, number, name);
}

TensorNames find_tensor_names(const TensorFile& file) {
  TensorNames names;
  for (const FileTensor& tensor : file.tensors) {
    const std::string_view name = tensor.name;
    const size_t at = first_layer_at(name);
    if (at == std::string_view::npos) continue;
    const std::string_view in_file = name.substr(at);
    std::string_view number, inner;
    if (!split_layer(in_file, number, inner) || in_layer(inner) != "att.r_k") continue;
    names.prefix = name.substr(0, at);
    names.layers = in_file.substr(0, in_file.find('0'));
    names.time_mix = inner.substr(0, inner.rfind("r_k"));
    names.hugging_face = in_file != "blocks.0.att.r_k";
    break;
  }

  for (const FileTensor& tensor : file.tensors) {
    const std::string_view name = tensor.name;
    names.fla |= name.find(kLora) != std::string_view::npos;
    names.linear_low_rank |= names.fla || name.ends_with(".w1.weight");
    if (name.find(".feed_forward.") != std::string_view::npos) names.channel_mix = "feed_forward.";
  }
  const auto has = [&](const char* name) { return file.find(names.prefix + name) != nullptr; };
  const bool base_model = names.prefix.ends_with("model.") || names.prefix.ends_with("rwkv7.");
  if (names.fla || has("embeddings.weight")) names.embedding = "embeddings.weight";
  names.hugging_face |= names.linear_low_rank || (!has("emb.weight") && has("embeddings.weight")) ||
                        (base_model && !has("head.weight"));
  return names;
}

}  // namespace anser
