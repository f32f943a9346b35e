// Writes GGUF version 3; the layout is described in gguf.cpp. Knows no model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"
#include "base/dtype.h"
#include "formats/tensor_file.h"

namespace anser {

// First the metadata and all tensors are stated, then comes the data, in the same order. The file
// appears under its name in finish(). Throws Error when it cannot be written.
class GgufWriter {
 public:
  explicit GgufWriter(const std::string& path) : file_(path) {}

  void text(std::string_view key, std::string_view value);
  void number(std::string_view key, uint32_t value);
  void integer(std::string_view key, int32_t value);
  void real(std::string_view key, float value);
  void flag(std::string_view key, bool value);
  void texts(std::string_view key, std::span<const std::string> values);
  void numbers(std::string_view key, std::span<const int32_t> values);
  void reals(std::string_view key, std::span<const float> values);
  // Metadata as a reader gives it; whole numbers in 32 bits.
  void any(std::string_view key, const MetaValue& value);

  // `shape` row-major; the last dimension is whole blocks of `type`, type < kMatrixTypes.
  void tensor(std::string_view name, DType type, std::span<const int64_t> shape);

  // The next bytes of the next tensor that is not complete, at most to its end.
  void data(std::span<const std::byte> bytes);
  void finish();

 private:
  void entry(std::string_view key, uint32_t type);
  void begin();

  AtomicFile file_;
  std::string metadata_, infos_;
  uint64_t entries_ = 0, offset_ = 0;
  std::vector<size_t> sizes_;  // of the tensors
  bool begun_ = false;
  size_t current_ = 0, missing_ = 0;  // tensor that is being written, its bytes still to come
};

}  // namespace anser
