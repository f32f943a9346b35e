#include "checkpoint/adapter_config.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/read_json.h"
#include "formats/checks.h"
#include "formats/json.h"

namespace anser {
namespace {

// Of patterns the first that fits holds.
using Json = nlohmann::ordered_json;

// Keys that say nothing of what the tensors mean, or what the tensors themselves say.
constexpr std::string_view kPassedOver[] = {
    "alora_invocation_string",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "bone_dropout",
    "convert_mone",
    "corda_config",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "init_bone_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "miss_dropout",
    "mini_r",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
};
// Keys of variants that compute something else.
constexpr std::pair<std::string_view, std::string_view> kRefused[] = {
    {"alora_invocation_tokens", "an activated LoRA (alora_invocation_tokens)"},
    {"arrow_config", "an Arrow router (arrow_config)"},
    {"ensure_weight_tying", "tied embeddings (ensure_weight_tying)"},
    {"fan_in_fan_out", "matrices stored as [inputs, outputs] (fan_in_fan_out)"},
    {"kasa_config", "KaSA (kasa_config)"},
    {"layer_replication", "replicated layers (layer_replication)"},
    {"lora_bias", "LoRA with biases (lora_bias)"},
    {"monteclora_config", "MonteCLoRA (monteclora_config)"},
    {"target_parameters", "parameters instead of modules (target_parameters)"},
    {"trainable_token_indices", "single tokens' embeddings (trainable_token_indices)"},
    {"use_bdlora", "BD-LoRA (use_bdlora)"},
    {"use_qalora", "QA-LoRA (use_qalora)"},
};

// null, false, "", [] and {} all say that something is not used.
bool is_set(const Json& value) {
  if (value.is_null()) return false;
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_string() || value.is_structured()) return !value.empty();
  return true;
}

Json parse_in_order(std::string_view text, const std::string& path) {
  parse_json(text, path);  // which says what is wrong
  return read_json<Json>(text);
}

class Reader {
 public:
  Reader(std::string_view text, const std::string& path)
      : path_(path), json_(parse_in_order(text, path)) {
    if (!json_.is_object()) fail(path, "expected a JSON object");
  }

  const Json* find(const char* key) const {
    const auto at = json_.find(key);
    return at == json_.end() || at->is_null() ? nullptr : &*at;
  }
  double number(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr) fail(path_, "{} is missing: expected a number", key);
    return number(key, *value);
  }
  double number(std::string_view key, const Json& value) const {
    if (!value.is_number() || !std::isfinite(value.get<double>())) {
      fail(path_, "{} is {}, expected a number", printable(key), printable(value.dump()));
    }
    return value.get<double>();
  }
  double positive(const char* key) const {
    const double value = number(key);
    constexpr double kMost = 1 << 24;  // of ranks
    if (value < 1 || value > kMost || value != std::floor(value)) {
      fail(path_, "{} is {}, expected a whole number from 1", key, value);
    }
    return value;
  }
  std::string text(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr) return "";
    if (!value->is_string()) {
      fail(path_, "{} is {}, expected a text", key, printable(value->dump()));
    }
    return value->get<std::string>();
  }
  bool flag(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr) return false;
    if (!value->is_boolean()) {
      fail(path_, "{} is {}, expected true or false", key, printable(value->dump()));
    }
    return value->get<bool>();
  }
  std::vector<std::pair<std::string, double>> pattern(const char* key) const {
    std::vector<std::pair<std::string, double>> list;
    const Json* value = find(key);
    if (value == nullptr) return list;
    if (!value->is_object()) fail(path_, "{} is no object", key);
    for (const auto& [name, number_of] : value->items()) {
      std::string plain = name;
      // PEFT reads them as regular expressions; what people write are names.
      constexpr std::string_view kSigns = "*+?()[]{}|^$\\";
      if (plain.find_first_of(kSigns) != std::string::npos) {
        fail(path_, "{} has the regular expression {}; only names of modules are understood", key,
             printable(name));
      }
      list.emplace_back(std::move(plain), number(key, number_of));
    }
    return list;
  }
  std::vector<std::string> names(const char* key) const {
    std::vector<std::string> list;
    const Json* value = find(key);
    if (value == nullptr) return list;
    for (const Json& one : *value) {
      if (!one.is_string()) fail(path_, "{} is no list of names", key);
      list.push_back(one.get<std::string>());
    }
    return list;
  }
  const Json& json() const { return json_; }

 private:
  const std::string& path_;
  const Json json_;
};

// Methods that begin with a part of the base's weights taken out of them: what is left is not the
// base, and only the trainer can put the two together again.
void check_start(const Reader& reader, const std::string& path) {
  const Json* start = reader.find("init_lora_weights");
  if (start == nullptr || start->is_boolean()) return;
  const std::string name = start->is_string() ? start->get<std::string>() : start->dump();
  for (const std::string_view plain : {"gaussian", "eva", "orthogonal"}) {
    if (name == plain) return;
  }
  fail(path,
       "init_lora_weights is {}: such training changes the base before it begins, and the adapter "
       "does not fit the base as it was. Save it as an ordinary LoRA (PEFT: save_pretrained with "
       "path_initial_model_for_weight_conversion) or merged",
       printable(name));
}

const double* find_pattern(const std::vector<std::pair<std::string, double>>& list,
                           std::string_view module) {
  for (const auto& [name, value] : list) {
    if (module == name || module.ends_with("." + name)) return &value;
  }
  return nullptr;
}

AdapterConfig::Shards shards_of(const Reader& reader, const std::string& path) {
  const Json* form = reader.find("init_weights");
  if (form == nullptr || form->is_boolean()) return AdapterConfig::Shards::rows;
  const std::string name = form->is_string() ? form->get<std::string>() : form->dump();
  if (name == "bat") return AdapterConfig::Shards::blocks;
  if (name == "mini") return AdapterConfig::Shards::repeated;
  fail(path, "init_weights is {}, which is not a form of MiSS that is known: true, bat, mini",
       printable(name));
}

}  // namespace

double AdapterConfig::rank_of(std::string_view module) const {
  const double* own = find_pattern(rank_pattern, module);
  return own != nullptr ? *own : rank;
}

double AdapterConfig::alpha_of(std::string_view module) const {
  const double* own = find_pattern(alpha_pattern, module);
  return own != nullptr ? *own : alpha;
}

double AdapterConfig::scale_of(std::string_view module, double of_rank) const {
  return scale ? *scale : alpha_of(module) / (root ? std::sqrt(of_rank) : of_rank);
}

AdapterConfig parse_peft_config(std::string_view json, const std::string& path) {
  const Reader reader(json, path);
  AdapterConfig config;
  const std::string type = reader.text("peft_type");
  const bool shards = type == "MISS" || type == "BONE";  // which is what PEFT called it before
  if (type != "LORA" && !shards) {
    fail(path,
         "its peft_type is {}, and anser merges LORA, MISS and BONE only. Merge it with PEFT and "
         "give the merged model with -m",
         type.empty() ? "missing" : printable(type));
  }
  for (const auto& [key, what] : kRefused) {
    if (const Json* value = reader.find(std::string(key).c_str()); value && is_set(*value)) {
      fail(path, "it is an adapter with {}, which is not merged", what);
    }
  }
  config.rank = reader.positive("r");
  config.rank_pattern = reader.pattern("rank_pattern");
  config.modules_to_save = reader.names("modules_to_save");
  const Json* layers = reader.find("layers_to_transform");
  config.some_layers = layers != nullptr && is_set(*layers);
  if (shards) {
    config.method = AdapterConfig::Method::miss;
    config.scale = 1;
    config.shards = shards_of(reader, path);
    if (config.shards == AdapterConfig::Shards::repeated) {
      config.repeat = int(reader.positive("mini_r"));
    }
  } else {
    check_start(reader, path);
    config.alpha = reader.number("lora_alpha");
    config.alpha_pattern = reader.pattern("alpha_pattern");
    config.root = reader.flag("use_rslora");
    config.magnitudes = reader.flag("use_dora");
  }

  constexpr std::string_view kRead[] = {
      "peft_type",         "r",          "rank_pattern",  "modules_to_save", "init_weights",
      "init_lora_weights", "lora_alpha", "alpha_pattern", "use_rslora",      "use_dora"};
  const auto among = [](const auto& list, const std::string& key) {
    return std::find(std::begin(list), std::end(list), key) != std::end(list);
  };
  for (const auto& [key, value] : reader.json().items()) {
    if (!is_set(value) || among(kRead, key) || among(kPassedOver, key)) continue;
    config.notes.push_back(
        fmt::format("{}: the key {} is not known and was passed over", path, printable(key)));
  }
  return config;
}

AdapterConfig parse_miss_package(std::string_view json, const std::string& path) {
  const Reader reader(json, path);
  if (reader.number("format_version") != 1 || reader.text("method") != "miss" ||
      reader.text("layout") != "modulo_rank_zero_pad") {
    fail(path,
         "expected format_version 1, method miss and layout modulo_rank_zero_pad, as "
         "rwkv_lightning_cuda writes them");
  }
  AdapterConfig config;
  config.method = AdapterConfig::Method::miss;
  config.rank = reader.positive("rank");
  config.scale = reader.number("scale");
  return config;
}

}  // namespace anser
