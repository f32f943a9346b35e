// What kind of model is this file? One sentence for each kind that we do not run.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "anser/error.h"
#include "checkpoint/adapter.h"
#include "formats/checks.h"
#include "model/checkpoint.h"

namespace anser {
namespace {

bool has_tensor_ending(const TensorFile& file, std::string_view ending) {
  for (const FileTensor& tensor : file.tensors) {
    if (tensor.name.ends_with(ending)) return true;
  }
  return false;
}

const FileTensor* find_ending(const TensorFile& file, std::string_view ending) {
  for (const FileTensor& tensor : file.tensors) {
    if (tensor.name.ends_with(ending)) return &tensor;
  }
  return nullptr;
}

std::string text_of(const TensorFile& file, const char* key) {
  const auto at = file.metadata.find(key);
  if (at == file.metadata.end()) return "";
  if (const auto* text = std::get_if<std::string>(&at->second)) return *text;
  if (const auto* list = std::get_if<std::vector<std::string>>(&at->second)) {
    return list->empty() ? "" : list->front();
  }
  return "";
}

int64_t integer_of(const TensorFile& file, const char* key, int64_t otherwise) {
  const auto at = file.metadata.find(key);
  const auto* value = at == file.metadata.end() ? nullptr : std::get_if<int64_t>(&at->second);
  return value == nullptr ? otherwise : *value;
}

[[noreturn]] void refuse(const TensorFile& file, std::string_view what) {
  throw Error(fmt::format("{} is {}, and anser runs only RWKV-7 (x070) models.", file.path, what));
}

// GGUF files that are no models, by their general.type.
constexpr std::pair<std::string_view, std::string_view> kOtherGgufs[] = {
    {"adapter", "a LoRA adapter (general.type = adapter), which is no model by itself"},
    {"mmproj", "the encoder of a multimodal model (general.type = mmproj)"},
    {"imatrix", "an importance matrix for quantising (general.type = imatrix)"},
};

constexpr const char* kHybrid = "an ARWKV-7 model (a Qwen hybrid with SwiGLU and RMSNorm)";

// Models whose tensors are partly those of an RWKV-7, by a part of the name that only they have.
struct Relative {
  std::string_view mark;
  std::string_view is;
};
constexpr Relative kRelatives[] = {
    {".qkv.qq.weight", "an RWKV-7b model (DeepEmbed and DEA attention)"},
    {".s_emb.weight", "an RWKV-7a model (DeepEmbed)"},
    {".enn.weight", "an RWKV-8 preview model"},
    {".qkv.kk.weight", "an RWKV-8 preview model"},
    {".rosa", "an RWKV-8 preview model (ROSA)"},
    {"moba.", "an RWKV-X model (with attention layers)"},
    {"reranker.blocks.", "a reranker of EmbeddingRWKV"},
    {"head.retr_head.", "an embedding model (EmbeddingRWKV)"},
};

// The name of an architecture or model_type, as people know the model.
void refuse_architecture(const TensorFile& file, std::string_view key, const std::string& name) {
  if (name.empty()) return;
  if (name == "rwkv6") refuse(file, "an RWKV-6 model");
  if (name == "rwkv5") refuse(file, "an RWKV-5 model");
  if (name == "rwkv" || name == "rwkv4") refuse(file, "an RWKV-4 model");
  if (name == "arwkv7" || name == "rwkv_hybrid" || name == "RwkvHybridForCausalLM") {
    refuse(file, kHybrid);
  }
  if (name == "rwkv6qwen2") refuse(file, "a QRWKV-6 model (a Qwen hybrid)");
  refuse(file, fmt::format("a model of another kind ({} = {})", key, name));
}

// The kinds of tensors that files have which people take for models.
struct Kind {
  std::string_view mark;  // in the names of its tensors
  std::string_view is;
};
constexpr Kind kKinds[] = {
    {".att.time_state", "a tuned state, for --load-state beside its model"},
    {"lora_A", "a LoRA adapter, which is no model by itself"},
    {"lora_a", "a LoRA adapter, which is no model by itself"},
    {".disha", "a DiSHA adapter, which is no model by itself"},
    {"miss_block", "a MiSS adapter, which is no model by itself"},
    {"exp_avg", "an optimiser's state"},
};

}  // namespace

std::string describe_contents(const TensorFile& file) {
  if (file.tensors.empty()) {
    const auto tokens = file.metadata.find("tokenizer.ggml.tokens");
    const auto* list = tokens == file.metadata.end()
                           ? nullptr
                           : std::get_if<std::vector<std::string>>(&tokens->second);
    return list == nullptr ? "no tensors"
                           : fmt::format("only a vocabulary of {} tokens", list->size());
  }
  constexpr size_t kShown = 3;
  const size_t count = file.tensors.size();
  std::vector<std::string> names;
  for (size_t i = 0; i < std::min(count, kShown); ++i) {
    names.push_back(printable(file.tensors[i].name));
  }
  std::string text = fmt::format("{} tensor{}: {}{}", count, count == 1 ? "" : "s",
                                 fmt::join(names, ", "), count > kShown ? ", ..." : "");
  for (const Kind& kind : kKinds) {
    for (const FileTensor& tensor : file.tensors) {
      if (tensor.name.find(kind.mark) != std::string::npos) {
        return fmt::format("{} ({})", kind.is, text);
      }
    }
  }
  return text;
}

bool has_r_k(const TensorFile& file) {
  return has_tensor_ending(file, ".r_k") || has_tensor_ending(file, ".r_k.weight") ||
         has_tensor_ending(file, ".time_mix_r_k.weight") ||
         has_tensor_ending(file, ".time_mix_r_k");
}

void refuse_other_models(const TensorFile& file) {
  refuse_adapter(file);
  if (file.format == FileFormat::gguf) {
    const std::string type = text_of(file, "general.type");
    for (const auto& [name, meaning] : kOtherGgufs) {
      if (type == name) refuse(file, meaning);
    }
    const std::string architecture = text_of(file, "general.architecture");
    if (architecture != "rwkv7") {
      if (architecture.empty()) {
        refuse(file, fmt::format("a GGUF file that names no architecture and holds {}",
                                 describe_contents(file)));
      }
      refuse_architecture(file, "general.architecture", architecture);
    }
    // Both would make another computation of the same tensors.
    if (integer_of(file, "rwkv7.rescale_every_n_layers", 0) != 0) {
      refuse(file,
             "an RWKV-7 model whose activations are rescaled between layers "
             "(rwkv7.rescale_every_n_layers)");
    }
    if (integer_of(file, "rwkv7.token_shift_count", 2) != 2) {
      refuse(file,
             "an RWKV-7 model without a token shift in its channel mix "
             "(rwkv7.token_shift_count)");
    }
  }
  if (!file.config.empty()) {
    if (text_of(file, "architectures") == "RwkvHybridForCausalLM") {
      refuse_architecture(file, "architectures", "RwkvHybridForCausalLM");
    }
    const std::string type = text_of(file, "model_type"),
                      version = text_of(file, "architecture_version");
    // transformers-rwkv's class is called rwkv, as that of RWKV-4 is.
    const bool seven = type == "rwkv" && (version.empty() ? has_r_k(file) : version == "rwkv7");
    if (!type.starts_with("rwkv7") && !seven) {
      refuse_architecture(file, "config.json: model_type",
                          type == "rwkv" && !version.empty() ? version : type);
    }
    const auto attention = file.metadata.find("attn");
    if (attention != file.metadata.end()) {
      refuse(file, "a hybrid of RWKV-7 and attention layers (config.json: attn)");
    }
  }

  for (const Relative& relative : kRelatives) {
    for (const FileTensor& tensor : file.tensors) {
      if (tensor.name.find(relative.mark) != std::string::npos) refuse(file, relative.is);
    }
  }

  if (has_r_k(file)) {
    for (const FileTensor& tensor : file.tensors) {
      if (tensor.name.find(".mlp.") != std::string::npos) refuse(file, kHybrid);
    }
    return;
  }
  // web-rwkv writes time_maa as time_mix.
  if (has_tensor_ending(file, ".time_maa_x") || has_tensor_ending(file, ".time_maa_w1") ||
      has_tensor_ending(file, ".time_mix_w1")) {
    refuse(file, "an RWKV-6 model");
  }
  if (has_tensor_ending(file, ".time_faaaa")) refuse(file, "an RWKV-5 model");
  if (const FileTensor* first = find_ending(file, ".time_first")) {
    refuse(file, first->shape.size() > 1 ? "an RWKV-5 model" : "an RWKV-4 model");
  }
}

}  // namespace anser
