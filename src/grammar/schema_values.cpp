#include "grammar/schema_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "anser/error.h"
#include "base/cut_text.h"

namespace anser {
namespace {

constexpr uint32_t kMaxCount = 1'000'000'000;

const char* const kTypes[] = {"object", "array", "string", "number", "integer", "boolean", "null"};

}  // namespace

void fail_at(const std::string& pointer, const std::string& what) {
  throw Error(fmt::format("the schema at {}: {}", pointer, what));
}

bool is_type(const Schema& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "number") return value.is_number();
  if (type == "integer") return value.is_number_integer();
  if (type == "boolean") return value.is_boolean();
  return value.is_null();
}

std::vector<std::string> schema_types(const Schema& schema, const std::string& pointer) {
  std::vector<std::string> list;
  if (schema.contains("type")) {
    const Schema& given = schema["type"];
    const auto take = [&](const Schema& type) {
      if (!type.is_string() ||
          std::ranges::find(kTypes, type.get<std::string>()) == std::end(kTypes)) {
        fail_at(pointer,
                fmt::format("'type' is {}, expected object, array, string, number, integer, "
                            "boolean, null, or a list of these",
                            cut_text(type.dump())));
      }
      list.push_back(type);
    };
    if (given.is_array()) {
      for (const Schema& type : given) take(type);
    } else {
      take(given);
    }
  } else {
    const auto has = [&](std::initializer_list<const char*> keywords) {
      return std::ranges::any_of(keywords, [&](const char* k) { return schema.contains(k); });
    };
    if (has({"properties", "required", "additionalProperties", "minProperties"})) {
      list.push_back("object");
    }
    if (has({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"})) {
      list.push_back("array");
    }
    if (has({"minLength", "maxLength", "pattern", "format"})) list.push_back("string");
    if (has({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})) {
      list.push_back("number");
    }
    if (list.empty()) list.assign(std::begin(kTypes), std::end(kTypes));
  }
  if (schema_flag(schema, "nullable", pointer)) list.push_back("null");
  std::ranges::sort(list);
  if (std::ranges::find(list, "number") != list.end()) std::erase(list, "integer");
  list.erase(std::unique(list.begin(), list.end()), list.end());
  return list;
}

bool schema_flag(const Schema& schema, const char* keyword, const std::string& pointer) {
  if (!schema.contains(keyword)) return false;
  if (!schema[keyword].is_boolean()) {
    fail_at(pointer, fmt::format("'{}' is neither true nor false", keyword));
  }
  return schema[keyword] == true;
}

std::optional<uint32_t> schema_count(const Schema& schema, const char* keyword,
                                     const std::string& pointer) {
  if (!schema.contains(keyword)) return std::nullopt;
  const Schema& value = schema[keyword];
  const double number = value.is_number() ? value.get<double>() : -1;
  if (!(number >= 0 && number <= kMaxCount) || number != double(uint32_t(number))) {
    fail_at(pointer, fmt::format("'{}' is {}, expected a whole number from 0 to {}", keyword,
                                 cut_text(value.dump()), kMaxCount));
  }
  return uint32_t(number);
}

Counts schema_counts(const Schema& schema, const char* least, const char* most,
                     const std::string& pointer) {
  const Counts range = {schema_count(schema, least, pointer).value_or(0),
                        schema_count(schema, most, pointer).value_or(kUnlimited)};
  if (range.least > range.most) {
    fail_at(pointer, fmt::format("'{}' is {} and '{}' is {}: nothing is between", least,
                                 range.least, most, range.most));
  }
  return range;
}

}  // namespace anser
