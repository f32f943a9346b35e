#include "grammar/schema_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <string_view>
#include <utility>

#include "anser/error.h"
#include "base/cut_text.h"

namespace anser {
namespace {

constexpr uint32_t kMaxCount = 1'000'000'000;

struct NamedType {
  std::string_view name;
  Types types;
};
constexpr NamedType kTypes[] = {
    {"object", kObject},   {"array", kArray},     {"string", kString}, {"number", kNumber},
    {"integer", kInteger}, {"boolean", kBoolean}, {"null", kNull},     {kFractionName, kFraction}};

// Beyond these a double is not the only whole number of its text.
constexpr double kExact = 9007199254740992.0;

bool is_whole(const Schema& number) {
  if (number.is_number_integer()) return true;
  const double value = number.get<double>();
  return std::isfinite(value) && value == std::floor(value);
}

}  // namespace

void fail_at(const std::string& pointer, const std::string& what) {
  throw Error(fmt::format("the schema at {}: {}", pointer, what));
}

Types type_of(const Schema& value) {
  if (value.is_object()) return kObject;
  if (value.is_array()) return kArray;
  if (value.is_string()) return kString;
  if (value.is_number()) return is_whole(value) ? kInteger : kFraction;
  return value.is_boolean() ? kBoolean : kNull;
}

std::string names_of(Types types) {
  std::string names;
  for (const NamedType& type : kTypes) {
    const bool is_part =
        (types & kNumber) == kNumber && type.types != kNumber && (type.types & kNumber) != 0;
    if ((types & type.types) != type.types || is_part) continue;
    const bool is_ours = type.name == kFractionName;
    names += names.empty() ? "" : " or ";
    names += is_ours ? "number with a fraction" : type.name;
  }
  return names.empty() ? "nothing" : names;
}

Types schema_types(const Schema& schema, const std::string& pointer) {
  const auto found = schema.find("type");
  if (found == schema.end()) return kAllTypes;
  const auto one = [&](const Schema& name) {
    const auto type =
        name.is_string()
            ? std::ranges::find(kTypes, name.get_ref<const std::string&>(), &NamedType::name)
            : std::end(kTypes);
    if (type == std::end(kTypes)) {
      fail_at(pointer, fmt::format("'type' is {}, expected object, array, string, number, integer, "
                                   "boolean, null, or a list of these",
                                   cut_text(found->dump())));
    }
    return type->types;
  };
  Types types = schema_flag(schema, "nullable", pointer) ? kNull : 0;
  if (!found->is_array()) return types | one(*found);
  for (const Schema& name : *found) types |= one(name);
  return types;
}

Types types_spoken_of(const Schema& schema) {
  static constexpr std::pair<std::string_view, Types> kSpeakOf[] = {
      {"properties", kObject},
      {"required", kObject},
      {"additionalProperties", kObject},
      {"patternProperties", kObject},
      {"propertyNames", kObject},
      {"minProperties", kObject},
      {"maxProperties", kObject},
      {"unevaluatedProperties", kObject},
      {"items", kArray},
      {"prefixItems", kArray},
      {"minItems", kArray},
      {"maxItems", kArray},
      {"uniqueItems", kArray},
      {"contains", kArray},
      {"unevaluatedItems", kArray},
      {"minLength", kString},
      {"maxLength", kString},
      {"pattern", kString},
      {"format", kString},
      {"minimum", kNumber},
      {"maximum", kNumber},
      {"exclusiveMinimum", kNumber},
      {"exclusiveMaximum", kNumber},
      {"multipleOf", kNumber}};
  Types types = 0;
  for (auto at = schema.begin(); at != schema.end(); ++at) {
    for (const auto& [keyword, type] : kSpeakOf) {
      if (keyword == at.key()) types |= type;
    }
  }
  return types;
}

std::string canonical_text(const Schema& value) {
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (is_whole(value) && std::abs(number) < 9e18) return std::to_string(int64_t(number));
    return value.dump();
  }
  if (value.is_array()) {
    std::string text = "[";
    for (const Schema& part : value) text += canonical_text(part) + ",";
    return text + "]";
  }
  if (value.is_object()) {
    std::map<std::string, std::string> sorted;
    for (const auto& [name, part] : value.items()) sorted[name] = canonical_text(part);
    std::string text = "{";
    for (const auto& [name, part] : sorted) text += Schema(name).dump() + ":" + part + ",";
    return text + "}";
  }
  return value.dump();
}

std::string written_text(const Schema& value) {
  const bool as_integer =
      value.is_number_float() && is_whole(value) && std::abs(value.get<double>()) <= kExact;
  return as_integer ? std::to_string(int64_t(value.get<double>())) : value.dump();
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
