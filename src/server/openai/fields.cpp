#include "server/openai/fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/read_json.h"

namespace anser::openai {

namespace {

std::string words_of(const JsonFault& fault) {
  switch (fault.kind) {
    case JsonFault::Kind::too_deep:
      return fmt::format("the body is nested more than {} deep", kBodyLimits.depth);
    case JsonFault::Kind::too_many_keys:
      return fmt::format("the body has an object of more than {} keys", kBodyLimits.keys);
    case JsonFault::Kind::too_many_values:
      return fmt::format("the body has more than {} values", kBodyLimits.values);
    case JsonFault::Kind::repeated_key:
      return fmt::format("the body has the key '{}' twice in one object", fault.key);
    case JsonFault::Kind::syntax:
      return fmt::format("the body is not JSON at byte {}: {}", fault.position, fault.words);
  }
  return "the body is not JSON";
}

// Of a whole number; nothing where an int64_t cannot hold it. A double would take 2^63 - 1 for
// 2^63.
std::optional<int64_t> exact(const Json& value) {
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (!(number >= -0x1p63 && number < 0x1p63)) return std::nullopt;
    return int64_t(number);
  }
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > uint64_t(std::numeric_limits<int64_t>::max())) {
    return std::nullopt;
  }
  return value.get<int64_t>();
}

}  // namespace

Json parse_body(std::string_view body) {
  Json json;
  try {
    json = read_json<Json>(body, kBodyLimits);
  } catch (const JsonFault& fault) {
    throw ApiError(400, "invalid_request_error", words_of(fault));
  }
  if (!json.is_object()) {
    throw ApiError(400, "invalid_request_error",
                   fmt::format("the body is {}, expected an object", json.type_name()));
  }
  return json;
}

std::string shown(const Json& value) {
  if (value.is_structured()) return value.type_name();
  if (value.is_string()) return Json(cut_text(value.get_ref<const std::string&>())).dump();
  return value.dump();
}

Fields::Fields(const Json& object, std::string path) : object_(object), path_(std::move(path)) {
  if (!object.is_object()) {
    throw ApiError::bad_field(path_,
                              fmt::format("expected an object, found {}", object.type_name()));
  }
}

std::string Fields::path(const char* name) const {
  return path_.empty() ? cut_text(name) : path_ + "." + cut_text(name);
}

void Fields::fail(const char* name, const std::string& message) const {
  throw ApiError::bad_field(path(name), message);
}

void Fields::wrong_type(const char* name, const Json& found, const char* expected) const {
  fail(name, fmt::format("expected {}, found {}", expected, found.type_name()));
}

const Json* Fields::any(const char* name) const {
  const auto at = object_.find(name);
  return at == object_.end() || at->is_null() ? nullptr : &*at;
}

std::optional<double> Fields::number(const char* name, double least, double most) const {
  const Json* value = any(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) wrong_type(name, *value, "a number");
  const double number = value->get<double>();
  if (!(number >= least && number <= most)) {
    fail(name, fmt::format("expected {} to {}, found {}", least, most, number));
  }
  return number;
}

const Json* Fields::whole_number(const char* name) const {
  const Json* value = any(name);
  if (value == nullptr) return nullptr;
  // 16.0 is a whole number, too: some clients know no other kind.
  if (!value->is_number() ||
      (value->is_number_float() && value->get<double>() != std::floor(value->get<double>()))) {
    wrong_type(name, *value, "a whole number");
  }
  return value;
}

std::optional<int64_t> Fields::integer(const char* name, int64_t least, int64_t most) const {
  const Json* value = whole_number(name);
  if (value == nullptr) return std::nullopt;
  const std::optional<int64_t> number = exact(*value);
  if (!number || *number < least || *number > most) {
    fail(name, fmt::format("expected {} to {}, found {}", least, most, shown(*value)));
  }
  return number;
}

std::optional<int> Fields::token_limit(const char* name, int least, int most) const {
  const Json* value = whole_number(name);
  if (value == nullptr) return std::nullopt;
  const double number = value->get<double>();
  if (number == -1 || number > most) return most;
  if (number < least) {
    fail(name, fmt::format("expected {} or more, or -1 for as many as there may be, found {}",
                           least, shown(*value)));
  }
  return int(number);
}

std::optional<bool> Fields::boolean(const char* name) const {
  const Json* value = any(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) wrong_type(name, *value, "true or false");
  return value->get<bool>();
}

std::optional<std::string> Fields::text(const char* name) const {
  const Json* value = any(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) wrong_type(name, *value, "a string");
  return value->get<std::string>();
}

std::optional<std::string> Fields::choice(const char* name,
                                          const std::vector<std::string_view>& choices) const {
  std::optional<std::string> value = text(name);
  if (value && std::ranges::find(choices, *value) == choices.end()) {
    fail(name,
         fmt::format("expected one of {}, found '{}'", fmt::join(choices, ", "), cut_text(*value)));
  }
  return value;
}

std::vector<std::string> Fields::texts(const char* name, size_t most, Nulls nulls) const {
  const Json* value = any(name);
  if (value == nullptr) return {};
  if (value->is_string()) return {value->get<std::string>()};
  if (!value->is_array()) wrong_type(name, *value, "a string or a list of strings");
  if (value->size() > most) {
    fail(name, fmt::format("expected at most {}, found {}", most, value->size()));
  }
  std::vector<std::string> texts;
  for (size_t i = 0; i < value->size(); ++i) {
    if ((*value)[i].is_null() && nulls == Nulls::skipped) continue;
    if (!(*value)[i].is_string()) {
      throw ApiError::bad_field(
          fmt::format("{}[{}]", path(name), i),
          fmt::format("expected a string, found {}", (*value)[i].type_name()));
    }
    texts.push_back((*value)[i].get<std::string>());
  }
  return texts;
}

std::optional<Fields> Fields::object(const char* name) const {
  const Json* value = any(name);
  if (value == nullptr) return std::nullopt;
  return Fields(*value, path(name));
}

const Json* Fields::array(const char* name) const {
  const Json* value = any(name);
  if (value != nullptr && !value->is_array()) wrong_type(name, *value, "a list");
  return value;
}

std::string Fields::required_text(const char* name) const {
  std::optional<std::string> value = text(name);
  if (!value) fail(name, "it is missing; expected a string");
  return *value;
}

}  // namespace anser::openai
