#include "model/purpose.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>
#include <variant>

#include "formats/checks.h"

namespace anser {
namespace {

constexpr const char* kKind = "anser.kind";
constexpr size_t kMostKindBytes = 32;

// llama.cpp's keys. It reads others, too, of samplers that are not here.
struct RealKey {
  const char* key;
  std::optional<float> SamplingDefaults::*value;
};
constexpr RealKey kReals[] = {{"general.sampling.temp", &SamplingDefaults::temperature},
                              {"general.sampling.top_p", &SamplingDefaults::top_p},
                              {"general.sampling.min_p", &SamplingDefaults::min_p}};
constexpr const char* kTopK = "general.sampling.top_k";

const MetaValue* find(const TensorFile& file, const char* key) {
  const auto at = file.metadata.find(key);
  return at == file.metadata.end() ? nullptr : &at->second;
}

// None where the value is not one number. May be NaN.
std::optional<double> as_number(const MetaValue& value) {
  if (const auto* real = std::get_if<double>(&value)) return *real;
  if (const auto* integer = std::get_if<int64_t>(&value)) return double(*integer);
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) return std::nullopt;
  double number = 0;
  const char* const end = text->data() + text->size();
  const auto [stopped, error] = std::from_chars(text->data(), end, number);
  if (error != std::errc() || stopped != end) return std::nullopt;
  return number;
}

std::string shown(const MetaValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return printable(*text);
  if (const std::optional<double> number = as_number(value)) return fmt::format("{}", *number);
  return std::holds_alternative<bool>(value) ? "true or false" : "a list";
}

double number_of(const TensorFile& file, const char* key, const MetaValue& value) {
  const std::optional<double> number = as_number(value);
  if (!number) fail(file.path, "{} is {}, expected a number", key, shown(value));
  return *number;
}

std::string read_kind(const TensorFile& file) {
  const MetaValue* value = find(file, kKind);
  if (value == nullptr) return "";
  const auto* text = std::get_if<std::string>(value);
  const bool word = text != nullptr && !text->empty() && text->size() <= kMostKindBytes &&
                    std::all_of(text->begin(), text->end(),
                                [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; });
  if (!word) {
    fail(file.path, "{} is {}, expected a word of up to {} small letters, such as story", kKind,
         shown(*value), kMostKindBytes);
  }
  return *text;
}

// A whole number; what is 0 or less means off, as in llama.cpp.
int read_top_k(const TensorFile& file, const MetaValue& value) {
  const double number = number_of(file, kTopK, value);
  constexpr int kMost = std::numeric_limits<int>::max();
  if (!(number >= -kMost && number <= kMost) || number != double(int(number))) {
    fail(file.path, "{} is {}, expected a whole number, 0 for off", kTopK, shown(value));
  }
  return std::max(int(number), 0);
}

}  // namespace

Purpose read_purpose(const TensorFile& file) {
  Purpose purpose{read_kind(file), {}};
  for (const auto& [key, member] : kReals) {
    const MetaValue* value = find(file, key);
    if (value == nullptr) continue;
    purpose.sampling.*member = float(number_of(file, key, *value));
    SamplingDefaults alone;
    alone.*member = purpose.sampling.*member;
    try {
      alone.over(SamplingOptions()).check();
    } catch (const Error& error) {
      fail(file.path, "{}: {}", key, error.what());
    }
  }
  if (const MetaValue* value = find(file, kTopK)) purpose.sampling.top_k = read_top_k(file, *value);
  return purpose;
}

void write_purpose(const Model& model, const PurposeWriter& to) {
  if (!model.kind().empty()) to.text(kKind, model.kind());
  const SamplingDefaults& sampling = model.sampling();
  for (const auto& [key, member] : kReals) {
    if (sampling.*member) to.real(key, *(sampling.*member));
  }
  if (sampling.top_k) to.integer(kTopK, *sampling.top_k);
}

bool is_purpose_key(const std::string& key) {
  return key == kKind || key == kTopK ||
         std::any_of(std::begin(kReals), std::end(kReals),
                     [&](const RealKey& real) { return key == real.key; });
}

}  // namespace anser
