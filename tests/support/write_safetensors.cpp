#include <cstring>
#include <nlohmann/json.hpp>

#include "support/temp_dir.h"
#include "support/writers.h"

namespace support {
namespace {

// bf16 is the upper half of an fp32; the models' numbers have 8 significant bits, so nothing is
// cut.
uint16_t bf16_bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return uint16_t(bits >> 16);
}

// Normal numbers and zero only.
uint16_t f16_bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  const uint32_t sign = bits >> 16 & 0x8000;
  if ((bits & 0x7fffffff) == 0) return uint16_t(sign);
  const int exponent = int(bits >> 23 & 0xff) - 127 + 15;
  return uint16_t(sign | uint32_t(exponent) << 10 | (bits >> 13 & 0x3ff));
}

}  // namespace

std::string pack(Float type, const std::vector<double>& x) {
  std::string bytes;
  for (const double value : x) {
    const float f = float(value);
    const uint16_t half = type == Float::bf16 ? bf16_bits(f) : f16_bits(f);
    const char* from = type == Float::f32 ? reinterpret_cast<const char*>(&f)
                                          : reinterpret_cast<const char*>(&half);
    bytes.append(from, type == Float::f32 ? 4 : 2);
  }
  return bytes;
}

Tensor transposed(const Tensor& tensor) {
  Tensor t = tensor;
  const size_t n = tensor.shape.size();
  const int64_t rows = tensor.shape[n - 2], cols = tensor.shape[n - 1];
  std::swap(t.shape[n - 2], t.shape[n - 1]);
  for (size_t m = 0; m < tensor.values.size(); m += size_t(rows * cols)) {
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < cols; ++j) {
        t.values[m + j * rows + i] = tensor.values[m + i * cols + j];
      }
    }
  }
  return t;
}

void write_safetensors_raw(const std::string& path, const std::vector<Tensor>& tensors, Float type,
                           const std::map<std::string, std::string>& metadata) {
  constexpr const char* kNames[] = {"F32", "F16", "BF16"};
  nlohmann::json header;
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::string data;
  for (const Tensor& tensor : tensors) {
    const std::string bytes = pack(type, tensor.values);
    header[tensor.name] = {{"dtype", kNames[int(type)]},
                           {"shape", tensor.shape},
                           {"data_offsets", {data.size(), data.size() + bytes.size()}}};
    data += bytes;
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  write_file(path, std::string(reinterpret_cast<const char*>(&length), 8) + text + data);
}

void write_safetensors(const std::string& path, const RandomModel& model,
                       const SafetensorsOptions& options) {
  std::vector<Tensor> tensors;
  for (Tensor tensor : model.tensors) {
    if (options.web_rwkv && tensor.low_rank()) tensor = transposed(tensor);
    tensor.name = options.prefix + tensor.name;
    tensors.push_back(std::move(tensor));
  }
  std::map<std::string, std::string> metadata;
  if (options.web_rwkv) metadata["format"] = "pt";
  write_safetensors_raw(path, tensors, options.type, metadata);
}

}  // namespace support
