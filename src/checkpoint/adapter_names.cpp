#include "checkpoint/adapter_names.h"

#include <vector>

namespace anser {
namespace {

struct Part {
  std::string_view segment;
  AdapterPart part;
};
constexpr Part kParts[] = {
    {"lora_A", AdapterPart::lora_a},
    {"lora_B", AdapterPart::lora_b},
    {"lora_a", AdapterPart::lora_a},
    {"lora_b", AdapterPart::lora_b},
    {"lora_embedding_A", AdapterPart::embedding_a},
    {"lora_embedding_B", AdapterPart::embedding_b},
    {"init_lora_A", AdapterPart::init_a},
    {"init_lora_B", AdapterPart::init_b},
    {"lora_magnitude_vector", AdapterPart::magnitude},
    {"disha", AdapterPart::disha},
    {"miss_block", AdapterPart::shards},
    {"bone_block", AdapterPart::shards},
    {"bone", AdapterPart::bone},
};

struct Method {
  std::string_view start;  // of a segment
  std::string_view name;
};
constexpr Method kMethods[] = {
    {"lora_E", "AdaLoRA"},
    {"lora_down", "LoRA in the naming of image models"},
    {"lora_up", "LoRA in the naming of image models"},
    {"ia3_", "IA3"},
    {"vera_", "VeRA"},
    {"hada_", "LoHa"},
    {"lokr_", "LoKr"},
    {"oft_", "OFT"},
    {"boft_", "BOFT"},
    {"hra_", "HRA"},
    {"randlora_", "RandLoRA"},
    {"vblora_", "VB-LoRA"},
    {"fourierft_", "FourierFT"},
    {"shira_", "SHiRA"},
    {"road_", "RoAd"},
    {"delora_", "DeLoRA"},
    {"prompt_embeddings", "prompt tuning"},
};

std::vector<std::string_view> split(std::string_view name) {
  std::vector<std::string_view> segments;
  for (size_t begin = 0;;) {
    const size_t dot = name.find('.', begin);
    segments.push_back(name.substr(begin, dot - begin));
    if (dot == std::string_view::npos) return segments;
    begin = dot + 1;
  }
}

std::string join(const std::vector<std::string_view>& segments, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text.append(i == 0 ? "" : ".").append(segments[i]);
  return text;
}

AdapterPart part_of_segment(std::string_view segment) {
  for (const Part& part : kParts) {
    if (segment == part.segment) return part.part;
  }
  return AdapterPart::none;
}

}  // namespace

AdapterName parse_adapter_name(std::string_view name) {
  const std::vector<std::string_view> segments = split(name);
  for (size_t i = 1; i < segments.size(); ++i) {
    const bool behind_weight = i > 1 && segments[i - 1] == "weight";
    AdapterPart part = part_of_segment(segments[i]);
    if (segments[i] == "D" && behind_weight) part = AdapterPart::package;
    if (part != AdapterPart::none) {
      // Behind it PEFT may put the name that the adapter had in memory, and "weight".
      size_t rest = segments.size() - i - 1;
      const std::string module = join(segments, behind_weight ? i - 1 : i);
      if (rest > 0 && segments.back() == "bias") {
        return {AdapterPart::unknown, module, "LoRA with biases (lora_bias)"};
      }
      if (rest > 0 && segments.back() == "weight") --rest;
      if (rest > 1 || (rest == 1 && part == AdapterPart::package)) {
        return {AdapterPart::unknown, module, "an adapter that is still being trained"};
      }
      return {part, module, {}};
    }
    for (const Method& method : kMethods) {
      if (segments[i].starts_with(method.start)) {
        return {AdapterPart::unknown, join(segments, i), method.name};
      }
    }
  }
  if (segments[0] == "prompt_embeddings") return {AdapterPart::unknown, "", "prompt tuning"};
  return {};
}

std::string module_in_base(const std::string& module) {
  constexpr std::string_view kWrapper = "base_model.model.";
  return module.starts_with(kWrapper) ? module.substr(kWrapper.size()) : module;
}

bool is_low_rank(std::string_view name) {
  const size_t at = name.find(".att.");
  if (at == std::string_view::npos) return false;
  const std::string_view last = name.substr(at + std::string_view(".att.").size());
  return last.size() == 2 && std::string_view("wavg").find(last[0]) != std::string_view::npos &&
         (last[1] == '1' || last[1] == '2');
}

bool is_matrix(std::string_view name) {
  const bool norm = name.find("ln") != std::string_view::npos;
  return is_low_rank(name) || (name.ends_with(".weight") && !norm);
}

const FileTensor* find_adapter_tensor(const TensorFile& file) {
  for (const FileTensor& tensor : file.tensors) {
    if (parse_adapter_name(tensor.name).part != AdapterPart::none) return &tensor;
  }
  return nullptr;
}

std::string adapter_method(const TensorFile& file) {
  std::string method = "LoRA";
  for (const FileTensor& tensor : file.tensors) {
    const AdapterName name = parse_adapter_name(tensor.name);
    switch (name.part) {
      case AdapterPart::unknown:
        return std::string(name.method);
      case AdapterPart::magnitude:
        return "DoRA";
      case AdapterPart::init_a:
        return "PiSSA";
      case AdapterPart::shards:
      case AdapterPart::disha:
      case AdapterPart::bone:
      case AdapterPart::package:
        method = tensor.shape.size() == 3 ? "Bone" : "MiSS";
        break;
      default:
        break;
    }
  }
  return method;
}

}  // namespace anser
