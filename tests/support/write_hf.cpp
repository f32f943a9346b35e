// The folders that RWKV-7's classes for Hugging Face save.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "support/temp_dir.h"
#include "support/writers.h"

namespace support {
namespace {

std::string fla_name(const std::string& name) {
  static const std::map<std::string, std::string> kTop = {{"emb.weight", "model.embeddings.weight"},
                                                          {"head.weight", "lm_head.weight"},
                                                          {"ln_out.weight", "model.norm.weight"},
                                                          {"ln_out.bias", "model.norm.bias"}};
  if (const auto at = kTop.find(name); at != kTop.end()) return at->second;
  static const std::map<std::string, std::string> kLayer = {
      {"ln0.weight", "pre_norm.weight"},
      {"ln0.bias", "pre_norm.bias"},
      {"ln1.weight", "attn_norm.weight"},
      {"ln1.bias", "attn_norm.bias"},
      {"ln2.weight", "ffn_norm.weight"},
      {"ln2.bias", "ffn_norm.bias"},
      {"att.receptance.weight", "attn.r_proj.weight"},
      {"att.key.weight", "attn.k_proj.weight"},
      {"att.value.weight", "attn.v_proj.weight"},
      {"att.output.weight", "attn.o_proj.weight"},
      {"att.ln_x.weight", "attn.g_norm.weight"},
      {"att.ln_x.bias", "attn.g_norm.bias"},
  };
  const size_t dot = name.find('.', 7);
  const std::string layer = "model.layers." + name.substr(7, dot - 7) + ".";
  const std::string rest = name.substr(dot + 1);
  if (const auto at = kLayer.find(rest); at != kLayer.end()) return layer + at->second;
  if (rest.starts_with("ffn.")) return layer + rest;
  const std::string what = rest.substr(4);  // x_r w0 w1 ... k_k
  if (what.size() == 2 && what[1] >= '0' && what[1] <= '2') {
    const char* part = what[1] == '0' ? "2.bias" : what[1] == '1' ? "0.weight" : "2.weight";
    return layer + "attn." + what[0] + "_lora.lora." + part;
  }
  return layer + "attn." + what;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

std::string hf_name(HfLayout layout, const Tensor& tensor) {
  if (layout == HfLayout::fla) return fla_name(tensor.name);
  if (tensor.name == "head.weight") return tensor.name;
  const bool rwkv7 = layout == HfLayout::rwkv7 || layout == HfLayout::attention;
  std::string name = (rwkv7 ? "rwkv7." : "model.") + tensor.name;
  if (layout == HfLayout::rwkv7 || layout == HfLayout::v1) return name;
  name = replaced(name, ".emb.", ".embeddings.");
  if (layout == HfLayout::linear) return tensor.low_rank() ? name + ".weight" : name;
  name = replaced(replaced(name, ".att.", ".attention."), ".ffn.", ".feed_forward.");
  if (layout == HfLayout::attention) return replaced(name, ".ln0.", ".pre_ln.");
  return replaced(replaced(name, ".blocks.", ".layers."), ".ln0.", ".pre_norm.");
}

nlohmann::json config_of(const Shape& s, const HfOptions& options) {
  nlohmann::json config = {{"model_type", options.model_type}, {"hidden_size", s.width},
                           {"num_hidden_layers", s.layers},    {"vocab_size", s.vocab},
                           {"intermediate_size", s.ffn},       {"decay_low_rank_dim", s.rank_w},
                           {"a_low_rank_dim", s.rank_a},       {"v_low_rank_dim", s.rank_v},
                           {"gate_low_rank_dim", s.rank_g}};
  if (options.layout == HfLayout::fla) {
    // 32 heads is what fla's own configs say of models of any width.
    config.update({{"architectures", {"RWKV7ForCausalLM"}},
                   {"head_dim", s.head_size},
                   {"num_heads", 32},
                   {"hidden_ratio", 4.0},
                   {"hidden_act", "sqrelu"},
                   {"norm_eps", 1e-5},
                   {"norm_bias", true},
                   {"norm_first", true},
                   {"attn", nullptr},
                   {"bos_token_id", 1},
                   {"eos_token_id", 2}});
  } else {
    config.update({{"architectures", {"Rwkv7ForCausalLM"}},
                   {"head_size", s.head_size},
                   {"num_attention_heads", s.width / s.head_size},
                   {"attention_hidden_size", s.width},
                   {"layer_norm_epsilon", 1e-5},
                   {"group_norm_epsilon", 64e-5},
                   {"embedding_layer_norm_fused", false},
                   {"use_deep_embed", false},
                   {"tie_word_embeddings", false},
                   {"wkv_state_dtype", "float32"}});
  }
  config.merge_patch(nlohmann::json::parse(options.config));
  return config;
}

}  // namespace

void write_hf_folder(const std::string& folder, const RandomModel& model,
                     const HfOptions& options) {
  const HfLayout layout = options.layout;
  const bool linear = layout == HfLayout::fla || layout == HfLayout::linear;
  std::vector<Tensor> tensors;
  for (Tensor tensor : model.tensors) {
    const std::string name = hf_name(layout, tensor);
    if (linear && tensor.low_rank()) tensor = transposed(tensor);
    const bool mix = tensor.name.find(".att.x_") != std::string::npos;
    if (layout == HfLayout::fla && !mix && tensor.shape.size() == 3) {
      tensor.shape = {model.shape.width};
    }
    if (mix && options.fused_mix) {
      // In order r w k v a g, which is that of the model's tensors.
      if (tensor.name.ends_with("x_r")) {
        tensors.push_back({name, {0, model.shape.width}, {}});
        tensors.back().name.back() = 'x';
      }
      Tensor& fused = tensors.back();
      fused.shape[0] += 1;
      fused.values.insert(fused.values.end(), tensor.values.begin(), tensor.values.end());
      continue;
    }
    tensor.name = name;
    tensors.push_back(std::move(tensor));
  }

  std::filesystem::create_directories(folder);
  write_file(folder + "/config.json", config_of(model.shape, options).dump());

  if (options.shards == 1) {
    write_safetensors_raw(folder + "/model.safetensors", tensors, options.type, {{"format", "pt"}});
    return;
  }
  nlohmann::json map;
  for (int shard = 0; shard < options.shards; ++shard) {
    const std::string name = "model-0000" + std::to_string(shard + 1) + "-of-0000" +
                             std::to_string(options.shards) + ".safetensors";
    std::vector<Tensor> part;
    for (size_t i = shard; i < tensors.size(); i += options.shards) {
      map[tensors[i].name] = name;
      part.push_back(tensors[i]);
    }
    write_safetensors_raw(folder + "/" + name, part, options.type, {{"format", "pt"}});
  }
  write_file(folder + "/model.safetensors.index.json",
             nlohmann::json{{"metadata", {{"total_size", 0}}}, {"weight_map", map}}.dump());
}

}  // namespace support
