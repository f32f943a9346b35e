// What kind of model is this file? One sentence for each kind that we do not run.
#include <fmt/format.h>

#include <string_view>

#include "anser/error.h"
#include "checkpoint/adapter.h"
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

[[noreturn]] void refuse(const TensorFile& file, std::string_view what) {
  throw Error(fmt::format("{} is {}, and anser runs only RWKV-7 (x070) models.", file.path, what));
}

// The name of an architecture or model_type, as people know the model.
void refuse_architecture(const TensorFile& file, std::string_view key, const std::string& name) {
  if (name.empty()) return;
  if (name == "rwkv6") refuse(file, "an RWKV-6 model");
  if (name == "rwkv5") refuse(file, "an RWKV-5 model");
  if (name == "rwkv" || name == "rwkv4") refuse(file, "an RWKV-4 model");
  if (name == "arwkv7" || name == "rwkv_hybrid" || name == "RwkvHybridForCausalLM") {
    refuse(file, "an ARWKV-7 model (a Qwen hybrid with SwiGLU and RMSNorm)");
  }
  if (name == "rwkv6qwen2") refuse(file, "a QRWKV-6 model (a Qwen hybrid)");
  refuse(file, fmt::format("a model of another kind ({} = {})", key, name));
}

}  // namespace

void refuse_other_models(const TensorFile& file) {
  refuse_adapter(file);
  if (file.format == FileFormat::gguf) {
    const std::string architecture = text_of(file, "general.architecture");
    if (architecture != "rwkv7") {
      if (architecture.empty()) refuse(file, "a GGUF file that names no architecture");
      refuse_architecture(file, "general.architecture", architecture);
    }
  }
  if (file.format == FileFormat::hf_folder) {
    if (text_of(file, "architectures") == "RwkvHybridForCausalLM") {
      refuse_architecture(file, "architectures", "RwkvHybridForCausalLM");
    }
    const std::string type = text_of(file, "model_type");
    if (!type.starts_with("rwkv7")) refuse_architecture(file, "model_type", type);
    const auto attention = file.metadata.find("attn");
    if (attention != file.metadata.end()) {
      refuse(file, "a hybrid of RWKV-7 and attention layers (config.json: attn)");
    }
  }

  const bool embed_attention = has_tensor_ending(file, ".qkv.qq.weight");
  if (embed_attention) refuse(file, "an RWKV-7b model (DeepEmbed and DEA attention)");
  if (has_tensor_ending(file, ".ffn.s_emb.weight")) refuse(file, "an RWKV-7a model (DeepEmbed)");
  if (has_tensor_ending(file, ".enn.weight")) refuse(file, "an RWKV-8 preview model");

  if (has_tensor_ending(file, "att.r_k") || has_tensor_ending(file, "attn.r_k") ||
      has_tensor_ending(file, "time_mix_r_k.weight")) {
    return;
  }
  // web-rwkv writes time_maa as time_mix.
  if (has_tensor_ending(file, "att.time_maa_x") || has_tensor_ending(file, "att.time_maa_w1") ||
      has_tensor_ending(file, "att.time_mix_w1")) {
    refuse(file, "an RWKV-6 model");
  }
  if (has_tensor_ending(file, "att.time_faaaa")) refuse(file, "an RWKV-5 model");
  if (const FileTensor* first = find_ending(file, "att.time_first")) {
    refuse(file, first->shape.size() > 1 ? "an RWKV-5 model" : "an RWKV-4 model");
  }
}

}  // namespace anser
