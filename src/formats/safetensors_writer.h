// Writes safetensors; the layout is described in safetensors.cpp. Knows no model.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/dtype.h"

namespace anser {

// First all tensors are stated, then comes the data, in the same order. The file appears under its
// name in finish(). Throws Error when it cannot be written.
class SafetensorsWriter {
 public:
  explicit SafetensorsWriter(const std::string& path) : file_(path) {}

  // An entry of __metadata__.
  void text(const std::string& key, const std::string& value);

  // `type` is F32, F16 or BF16. Readers map the data as it lies, so that state the larger types
  // first: then every tensor is aligned.
  void tensor(const std::string& name, DType type, const std::vector<int64_t>& shape);

  // The next bytes of the data.
  void data(std::span<const std::byte> bytes);
  void finish();

 private:
  void begin();

  AtomicFile file_;
  nlohmann::ordered_json header_ = nlohmann::ordered_json::object();
  size_t offset_ = 0, missing_ = 0;  // bytes stated, bytes still to come
  bool begun_ = false;
};

}  // namespace anser
