#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string_view>

#include "checkpoint/description.h"
#include "formats/checks.h"

namespace anser {
namespace {

using Keys = std::initializer_list<const char*>;

// Of fla, transformers, transformers-rwkv, llama.cpp's converter and RWKV-LM.
constexpr Keys kLayers = {"num_hidden_layers", "n_layer"};
constexpr Keys kWidth = {"hidden_size", "n_embd"};
constexpr Keys kFfn = {"intermediate_size", "dim_ffn"};
constexpr Keys kAttentionWidth = {"attention_hidden_size", "dim_att"};
constexpr Keys kHeadSize = {"head_dim", "head_size", "wkv_head_size"};
constexpr Keys kHeads = {"num_heads", "num_attention_heads"};
constexpr Keys kRankW = {"decay_low_rank_dim", "lora_rank_decay", "decay_lora_rank"};
constexpr Keys kRankA = {"a_low_rank_dim", "lora_rank_iclr", "in_context_learning_lora_rank"};
constexpr Keys kRankV = {"v_low_rank_dim", "lora_rank_value_residual_mix", "value_lora_rank"};
constexpr Keys kRankG = {"gate_low_rank_dim", "lora_rank_gate", "gate_lora_rank"};
constexpr Keys kNormEps = {"norm_eps", "layer_norm_epsilon", "layer_norm_eps", "rms_norm_eps"};
constexpr Keys kGroupNormEps = {"group_norm_epsilon", "group_norm_eps"};

// max(x, 0)^2 by its names.
constexpr std::array<std::string_view, 4> kSquaredRelu = {"sqrelu", "relu2", "relu_squared",
                                                          "squared_relu"};

class Config {
 public:
  explicit Config(const TensorFile& file) : file_(file) {}

  bool has(const char* key) const { return find(key) != nullptr; }

  std::optional<int64_t> integer(Keys keys) const {
    return one_of<int64_t>(keys, "a whole number", [](const MetaValue& value) {
      const auto* number = std::get_if<int64_t>(&value);
      return number == nullptr ? std::optional<int64_t>() : *number;
    });
  }
  std::optional<double> number(Keys keys) const {
    return one_of<double>(keys, "a number", [](const MetaValue& value) -> std::optional<double> {
      if (const auto* real = std::get_if<double>(&value)) return *real;
      if (const auto* whole = std::get_if<int64_t>(&value)) return double(*whole);
      return std::nullopt;
    });
  }
  bool flag(const char* key, bool otherwise) const {
    return one_of<bool>({key}, "true or false",
                        [](const MetaValue& value) {
                          const auto* flag = std::get_if<bool>(&value);
                          return flag == nullptr ? std::optional<bool>() : *flag;
                        })
        .value_or(otherwise);
  }
  std::string text(const char* key) const {
    return one_of<std::string>({key}, "a text",
                               [](const MetaValue& value) {
                                 const auto* text = std::get_if<std::string>(&value);
                                 return text == nullptr ? std::optional<std::string>() : *text;
                               })
        .value_or("");
  }

 private:
  const MetaValue* find(const char* key) const {
    const auto at = file_.metadata.find(key);
    return at == file_.metadata.end() ? nullptr : &at->second;
  }

  // The value of synonyms: of all that are there, which must agree.
  template <class T, class Read>
  std::optional<T> one_of(Keys keys, const char* expected, Read read) const {
    std::optional<T> value;
    const char* first = nullptr;
    for (const char* key : keys) {
      const MetaValue* entry = find(key);
      if (entry == nullptr) continue;
      const std::optional<T> found = read(*entry);
      if (!found) fail(file_.config, "{} is not {}", key, expected);
      if (value && *value != *found) {
        fail(file_.config, "{} is {} and {} is {}, which mean the same; which one holds?", first,
             *value, key, *found);
      }
      if (!value) first = key;
      value = found;
    }
    return value;
  }

  const TensorFile& file_;
};

[[noreturn]] void refuse(const TensorFile& file, std::string_view key, std::string_view is) {
  fail(file.config, "{} says that this is {}, and anser runs only plain RWKV-7 (x070) models", key,
       is);
}

void refuse_variants(const TensorFile& file, const Config& config) {
  constexpr const char* kDeepEmbed = "an RWKV-7a model (DeepEmbed)";
  if (config.flag("use_deep_embed", false)) refuse(file, "use_deep_embed", kDeepEmbed);
  for (const char* key : {"feed_forward_embed_size", "feed_forward_embed_rank"}) {
    if (config.integer({key}).value_or(0) > 0) refuse(file, key, kDeepEmbed);
  }
  if (config.integer({"qkv_size"}).value_or(0) > 0) {
    refuse(file, "qkv_size", "an RWKV-7b model (DeepEmbed and DEA attention)");
  }
  if (config.integer({"wkv_version"}).value_or(7) != 7) {
    refuse(file, "wkv_version", "another generation of RWKV");
  }
  if (!config.flag("wkv_has_gate", true)) refuse(file, "wkv_has_gate", "a variant without a gate");
  const std::string activation = config.text("hidden_act");
  if (!activation.empty() &&
      std::find(kSquaredRelu.begin(), kSquaredRelu.end(), activation) == kSquaredRelu.end()) {
    fail(file.config,
         "hidden_act is {}; the channel mix of RWKV-7 has sqrelu, and anser computes nothing else",
         printable(activation));
  }
}

}  // namespace

Description read_config(const TensorFile& file) {
  const Config config(file);
  refuse_variants(file, config);

  Description d;
  d.source = file.config;
  d.layers = config.integer(kLayers);
  d.width = config.integer(kWidth);
  d.vocab = config.integer({"vocab_size"});
  d.ffn = config.integer(kFfn);
  d.attention_width = config.integer(kAttentionWidth);
  d.head_size = config.integer(kHeadSize);
  // fla's own configs state a number of heads that is not the model's (32 for 12), and its code
  // does not look at it where there is a head_dim.
  if (!d.head_size) d.heads = config.integer(kHeads);
  d.rank_w = config.integer(kRankW);
  d.rank_a = config.integer(kRankA);
  d.rank_v = config.integer(kRankV);
  d.rank_g = config.integer(kRankG);

  d.norm_eps = config.number(kNormEps);
  d.group_norm_eps = config.number(kGroupNormEps);
  // Without a key of its own: fla and the classes that follow it multiply, the others do not, and
  // each has its own words. The two agree for heads of 64.
  d.group_norm_eps_by_head = config.has("norm_eps") || config.has("head_dim");
  d.embedding_norm =
      !config.flag("embedding_layer_norm_fused", false) && config.flag("norm_first", true);
  d.norm_bias = config.flag("norm_bias", true);
  d.tied_head = config.flag("tie_word_embeddings", false);
  return d;
}

}  // namespace anser
