// safetensors: u64 length of a JSON header, the header, the data.
//   {"name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [begin, end]}, "__metadata__": {...}}
#include <fmt/format.h>

#include <utility>

#include "anser/error.h"
#include "formats/byte_reader.h"
#include "formats/checks.h"
#include "formats/json.h"
#include "formats/safetensors.h"

namespace anser {
namespace {

DType type_of(const std::string& name) {
  constexpr std::pair<const char*, DType> kTypes[] = {
      {"F32", DType::f32}, {"F16", DType::f16}, {"BF16", DType::bf16}, {"F64", DType::f64},
      {"I64", DType::i64}, {"I32", DType::i32}, {"I16", DType::i16},   {"I8", DType::i8},
      {"U8", DType::u8},   {"BOOL", DType::boolean},
  };
  for (const auto& [known, type] : kTypes) {
    if (name == known) return type;
  }
  return DType::unsupported;
}

FileTensor read_tensor(const std::string& name, const nlohmann::json& entry,
                       std::span<const std::byte> data, const std::string& path) {
  const std::string what = fmt::format("{}: tensor {}", path, name);
  FileTensor tensor;
  check_tensor_name(path, name);
  tensor.name = name;
  uint64_t begin, end;
  try {
    tensor.type = type_of(entry.at("dtype").get<std::string>());
    const auto& offsets = entry.at("data_offsets");
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned()) {
      throw Error(fmt::format("{}: data_offsets are not two offsets", what));
    }
    begin = offsets[0].get<uint64_t>();
    end = offsets[1].get<uint64_t>();
    for (const auto& size : entry.at("shape")) {
      if (!size.is_number_unsigned() || size.get<uint64_t>() > INT64_MAX) {
        throw Error(fmt::format("{}: the shape is not a list of sizes", what));
      }
      tensor.shape.push_back(size.get<int64_t>());
    }
  } catch (const nlohmann::json::exception& error) {
    throw Error(fmt::format("{}: broken header entry: {}", what, error.what()));
  }
  checked_elements(path, name, tensor.shape);
  if (begin > end || end > data.size()) {
    throw Error(fmt::format("{}: bytes {} to {} lie outside the file's {} bytes of data; is it cut "
                            "off?",
                            what, begin, end, data.size()));
  }
  if (tensor.type != DType::unsupported) {
    const uint64_t expected = checked_bytes(path, name, tensor.type, tensor.shape);
    if (end - begin != expected) {
      throw Error(fmt::format("{}: {} {} takes {} bytes, found {}", what, dtype_name(tensor.type),
                              tensor.shape_text(), expected, end - begin));
    }
    tensor.bytes = data.subspan(begin, end - begin);
  }
  tensor.strides = contiguous_strides(tensor.shape);
  return tensor;
}

}  // namespace

TensorFile parse_safetensors(std::span<const std::byte> bytes, const std::string& path) {
  constexpr uint64_t kLength = sizeof(uint64_t);
  if (bytes.size() < kLength) {
    throw Error(fmt::format("{}: {} bytes are too few for a safetensors file", path, bytes.size()));
  }
  const uint64_t length = load_little_endian<uint64_t>(bytes.data());
  if (length > bytes.size() - kLength || length > kMaxSafetensorsHeader) {
    throw Error(fmt::format("{}: its header should have {} bytes, but the file has {}; is it cut "
                            "off, or no safetensors file?",
                            path, length, bytes.size()));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLength, length);
  const nlohmann::json header = parse_json(text, path + ": safetensors header");
  if (!header.is_object()) throw Error(fmt::format("{}: the header is not a JSON object", path));

  TensorFile file;
  file.path = path;
  file.format = FileFormat::safetensors;
  const auto data = bytes.subspan(kLength + length);
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) throw Error(fmt::format("{}: __metadata__ is no object", path));
      for (const auto& [key, value] : entry.items()) {
        if (value.is_string()) file.metadata[key] = value.get<std::string>();
      }
    } else {
      file.tensors.push_back(read_tensor(name, entry, data, path));
    }
  }
  std::vector<TensorRange> ranges;
  for (const FileTensor& tensor : file.tensors) {
    const size_t begin = tensor.bytes.empty() ? 0 : tensor.bytes.data() - data.data();
    ranges.push_back({begin, begin + tensor.bytes.size(), tensor.name});
  }
  check_unique_names(path, file.tensors);
  check_no_overlap(path, std::move(ranges));
  return file;
}

}  // namespace anser
