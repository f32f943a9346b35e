#include "formats/gguf_writer.h"

#include <bit>

#include "base/check.h"

namespace anser {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they are");

constexpr size_t kAlignment = 32;  // what holds without general.alignment

enum ValueType : uint32_t { kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9 };

template <class T>
void put(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

void put_text(std::string& to, std::string_view text) {
  put(to, uint64_t(text.size()));
  to += text;
}

size_t padding(size_t bytes) {
  return (kAlignment - bytes % kAlignment) % kAlignment;
}

// ggml's numbers of the types.
uint32_t type_number(DType type) {
  switch (type) {
    case DType::f32:
      return 0;
    case DType::f16:
      return 1;
    case DType::q4_0:
      return 2;
    case DType::q4_1:
      return 3;
    case DType::q5_0:
      return 6;
    case DType::q5_1:
      return 7;
    case DType::q8_0:
      return 8;
    case DType::q4_k:
      return 12;
    case DType::q5_k:
      return 13;
    case DType::q6_k:
      return 14;
    case DType::bf16:
      return 30;
    default:
      ANSER_CHECK(!"a type of matrices");
  }
}

}  // namespace

void GgufWriter::entry(std::string_view key, uint32_t type) {
  put_text(metadata_, key);
  put(metadata_, type);
  ++entries_;
}

void GgufWriter::text(std::string_view key, std::string_view value) {
  entry(key, kString);
  put_text(metadata_, value);
}

void GgufWriter::number(std::string_view key, uint32_t value) {
  entry(key, kU32);
  put(metadata_, value);
}

void GgufWriter::integer(std::string_view key, int32_t value) {
  entry(key, kI32);
  put(metadata_, value);
}

void GgufWriter::real(std::string_view key, float value) {
  entry(key, kF32);
  put(metadata_, value);
}

void GgufWriter::flag(std::string_view key, bool value) {
  entry(key, kBool);
  put(metadata_, uint8_t(value));
}

void GgufWriter::texts(std::string_view key, std::span<const std::string> values) {
  entry(key, kArray);
  put(metadata_, uint32_t(kString));
  put(metadata_, uint64_t(values.size()));
  for (const std::string& value : values) put_text(metadata_, value);
}

void GgufWriter::numbers(std::string_view key, std::span<const int32_t> values) {
  entry(key, kArray);
  put(metadata_, uint32_t(kI32));
  put(metadata_, uint64_t(values.size()));
  for (const int32_t value : values) put(metadata_, value);
}

void GgufWriter::reals(std::string_view key, std::span<const float> values) {
  entry(key, kArray);
  put(metadata_, uint32_t(kF32));
  put(metadata_, uint64_t(values.size()));
  for (const float value : values) put(metadata_, value);
}

void GgufWriter::any(std::string_view key, const MetaValue& value) {
  struct {
    GgufWriter& to;
    std::string_view key;
    void operator()(bool one) { to.flag(key, one); }
    void operator()(int64_t one) {
      one < 0 ? to.integer(key, int32_t(one)) : to.number(key, uint32_t(one));
    }
    void operator()(double one) { to.real(key, float(one)); }
    void operator()(const std::string& one) { to.text(key, one); }
    void operator()(const std::vector<std::string>& all) { to.texts(key, all); }
    void operator()(const std::vector<int64_t>& all) {
      to.numbers(key, std::vector<int32_t>(all.begin(), all.end()));
    }
    void operator()(const std::vector<double>& all) {
      to.reals(key, std::vector<float>(all.begin(), all.end()));
    }
  } write{*this, key};
  std::visit(write, value);
}

void GgufWriter::tensor(std::string_view name, DType type, std::span<const int64_t> shape) {
  put_text(infos_, name);
  put(infos_, uint32_t(shape.size()));
  size_t elements = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    put(infos_, uint64_t(shape[i]));
    elements *= size_t(shape[i]);
  }
  put(infos_, type_number(type));
  put(infos_, offset_);
  sizes_.push_back(dtype_bytes(type, elements));
  offset_ += sizes_.back() + padding(sizes_.back());
}

void GgufWriter::begin() {
  std::string head = "GGUF";
  put(head, uint32_t(3));
  put(head, uint64_t(sizes_.size()));
  put(head, entries_);
  head += metadata_;
  head += infos_;
  head.append(padding(head.size()), '\0');
  file_.reserve(head.size() + offset_);
  file_.write(std::as_bytes(std::span(head)));
  begun_ = true;
  if (!sizes_.empty()) missing_ = sizes_[0];
}

void GgufWriter::data(std::span<const std::byte> bytes) {
  if (!begun_) begin();
  ANSER_CHECK(current_ < sizes_.size() && bytes.size() <= missing_);
  file_.write(bytes);
  missing_ -= bytes.size();
  if (missing_ > 0) return;
  constexpr std::byte kZeros[kAlignment] = {};
  file_.write(std::span(kZeros).first(padding(sizes_[current_])));
  if (++current_ < sizes_.size()) missing_ = sizes_[current_];
}

void GgufWriter::finish() {
  if (!begun_) begin();
  ANSER_CHECK(current_ == sizes_.size());
  file_.commit();
}

}  // namespace anser
