#include "grammar/leaf_keywords.h"

#include <algorithm>
#include <array>
#include <optional>

#include "grammar/decimal.h"

namespace anser {
namespace {

constexpr std::string_view kLower[] = {"minimum", "exclusiveMinimum", "minLength"};
constexpr std::string_view kUpper[] = {"maximum", "exclusiveMaximum", "maxLength"};
constexpr std::string_view kBoth[] = {"pattern", "format", "contentEncoding", "contentMediaType",
                                      "multipleOf"};

bool contains(const auto& list, std::string_view keyword) {
  return std::ranges::find(list, keyword) != std::end(list);
}

void merge_bound(Schema& old, const Schema& value, bool lower) {
  const std::optional<Decimal> first = decimal_of(old), second = decimal_of(value);
  if (!first) return;
  if (!second || (lower ? compare(*first, *second) < 0 : compare(*second, *first) < 0)) {
    old = value;
  }
}

}  // namespace

bool is_leaf_keyword(std::string_view keyword) {
  return keyword == kAlso || contains(kLower, keyword) || contains(kUpper, keyword) ||
         contains(kBoth, keyword);
}

void merge_leaf_keyword(Schema& into, const std::string& keyword, const Schema& value) {
  Schema& old = into[keyword];
  if (keyword == kAlso) {
    if (old.is_array() && value.is_array()) old.insert(old.end(), value.begin(), value.end());
  } else if (contains(kBoth, keyword)) {
    if (old == value && old.is_number_float() == value.is_number_float()) return;
    const Schema one = {{keyword, value}};
    Schema& also = into[kAlso];
    if (!also.is_array()) also = Schema::array();
    if (std::ranges::find(also, one) == also.end()) also.push_back(one);
  } else {
    merge_bound(old, value, contains(kLower, keyword));
  }
}

bool has_flags_of_bounds(const Schema& schema) {
  return std::ranges::any_of(std::array{"exclusiveMinimum", "exclusiveMaximum"},
                             [&](const char* keyword) {
                               const auto found = schema.find(keyword);
                               return found != schema.end() && found->is_boolean();
                             });
}

void replace_flags_of_bounds(Schema& schema) {
  constexpr std::pair<const char*, const char*> kPairs[] = {{"exclusiveMinimum", "minimum"},
                                                            {"exclusiveMaximum", "maximum"}};
  for (const auto& [flag, bound] : kPairs) {
    const auto found = schema.find(flag);
    if (found == schema.end() || !found->is_boolean()) continue;
    const bool exclusive = found->get<bool>();
    schema.erase(flag);
    const auto limit = schema.find(bound);
    if (!exclusive || limit == schema.end()) continue;
    const Schema number = *limit;
    schema.erase(bound);
    schema[flag] = number;
  }
}

}  // namespace anser
