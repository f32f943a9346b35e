#include "formats/safetensors_writer.h"

#include <bit>

#include "base/check.h"

namespace anser {

static_assert(std::endian::native == std::endian::little, "numbers are written as they are");

void SafetensorsWriter::text(const std::string& key, const std::string& value) {
  header_["__metadata__"][key] = value;
}

void SafetensorsWriter::tensor(const std::string& name, DType type,
                               const std::vector<int64_t>& shape) {
  ANSER_CHECK(type == DType::f32 || type == DType::f16 || type == DType::bf16);
  size_t elements = 1;
  for (const int64_t size : shape) elements *= size_t(size);
  const size_t end = offset_ + dtype_bytes(type, elements);
  header_[name] = {{"dtype", dtype_name(type)}, {"shape", shape}, {"data_offsets", {offset_, end}}};
  offset_ = end;
}

void SafetensorsWriter::begin() {
  std::string text = header_.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // the data begins at a multiple of 8
  const uint64_t length = text.size();
  file_.reserve(sizeof(length) + text.size() + offset_);
  file_.write(std::as_bytes(std::span(&length, 1)));
  file_.write(std::as_bytes(std::span(text)));
  missing_ = offset_;
  begun_ = true;
}

void SafetensorsWriter::data(std::span<const std::byte> bytes) {
  if (!begun_) begin();
  ANSER_CHECK(bytes.size() <= missing_);
  missing_ -= bytes.size();
  file_.write(bytes);
}

void SafetensorsWriter::finish() {
  if (!begun_) begin();
  ANSER_CHECK(missing_ == 0);
  file_.commit();
}

}  // namespace anser
