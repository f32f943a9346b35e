#include "grammar/keywords.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "anser/error.h"
#include "base/cut_text.h"
#include "grammar/leaf_keywords.h"

namespace anser {
namespace {

constexpr std::array<std::string_view, 29> kObeyed = {"$ref",
                                                      "allOf",
                                                      "anyOf",
                                                      "oneOf",
                                                      "type",
                                                      "enum",
                                                      "const",
                                                      "nullable",
                                                      "properties",
                                                      "required",
                                                      "additionalProperties",
                                                      "items",
                                                      "prefixItems",
                                                      "minItems",
                                                      "maxItems",
                                                      "minLength",
                                                      "maxLength",
                                                      "pattern",
                                                      "format",
                                                      "minimum",
                                                      "maximum",
                                                      "exclusiveMinimum",
                                                      "exclusiveMaximum",
                                                      "multipleOf",
                                                      "contentEncoding",
                                                      "contentMediaType",
                                                      kAlso,
                                                      "minProperties",
                                                      "uniqueItems"};

constexpr std::array<std::string_view, 19> kAnnotations = {
    "title",      "description", "default",       "examples",     "example",     "$schema",
    "$id",        "id",          "$comment",      "$defs",        "definitions", "deprecated",
    "readOnly",   "writeOnly",   "contentSchema", "externalDocs", "xml",         "discriminator",
    "$vocabulary"};

// What to do instead, where there is something.
struct Refused {
  std::string_view keyword, advice;
};
constexpr std::array<Refused, 16> kRefused = {{
    {"not", "say what is allowed instead"},
    {"if", "use anyOf with a const in each alternative"},
    {"then", "use anyOf with a const in each alternative"},
    {"else", "use anyOf with a const in each alternative"},
    {"patternProperties", "use additionalProperties with a schema"},
    {"propertyNames", "use properties, or additionalProperties with a schema"},
    {"maxProperties", "list the properties"},
    {"dependentRequired", "use anyOf"},
    {"dependentSchemas", "use anyOf"},
    {"dependencies", "use anyOf"},
    {"unevaluatedProperties", "use additionalProperties"},
    {"unevaluatedItems", "use items"},
    {"additionalItems", "use prefixItems and items"},
    {"contains", "use prefixItems"},
    {"$anchor", "refer with '#/$defs/...'"},
    {"$dynamicRef", "use $ref"},
}};

bool contains(const auto& list, std::string_view keyword) {
  return std::ranges::find(list, keyword) != list.end();
}

[[noreturn]] void refuse_merge(const std::string& pointer, const std::string& keyword) {
  throw Error(
      fmt::format("{}: two values of '{}' from allOf, anyOf or $ref meet here and cannot be made "
                  "one. Write the schema out in one place",
                  pointer, keyword));
}

Schema as_list(const Schema& value) {
  return value.is_array() ? value : Schema::array({value});
}

Schema merge_types(const Schema& a, const Schema& b) {
  Schema both = Schema::array();
  const auto has = [](const Schema& list, const char* type) {
    return std::ranges::find(list, Schema(type)) != list.end();
  };
  const Schema first = as_list(a), second = as_list(b);
  for (const char* type : {"object", "array", "string", "number", "integer", "boolean", "null"}) {
    const auto allows = [&](const Schema& list) {
      return has(list, type) || (std::string_view(type) == "integer" && has(list, "number"));
    };
    if (allows(first) && allows(second) &&
        !(std::string_view(type) == "integer" && has(both, "number"))) {
      both.push_back(type);
    }
  }
  return both;
}

// Where each key of an object is.
std::unordered_map<std::string, size_t> places_of(const Schema& object) {
  std::unordered_map<std::string, size_t> places;
  size_t place = 0;
  for (auto at = object.begin(); at != object.end(); ++at) places.emplace(at.key(), place++);
  return places;
}

void merge_properties(Schema& into, const Schema& more) {
  auto& all = into.get_ref<Schema::object_t&>();
  const auto places = places_of(into);
  for (const auto& [name, schema] : more.items()) {
    const auto place = places.find(name);
    if (place == places.end()) {
      all.emplace_back(name, schema);
      continue;
    }
    Schema& own = (all.begin() + ptrdiff_t(place->second))->second;
    if (own != schema) own = {{"allOf", Schema::array({own, schema})}};
  }
}

void merge_required(Schema& into, const Schema& more) {
  std::unordered_set<std::string> names;
  for (const Schema& name : into) {
    if (name.is_string()) names.insert(name.get<std::string>());
  }
  for (const Schema& name : more) {
    if (!name.is_string() || names.insert(name.get<std::string>()).second) into.push_back(name);
  }
}

Schema common(const Schema& a, const Schema& b) {
  std::vector<const Schema*> others;
  for (const Schema& value : b) others.push_back(&value);
  const auto less = [](const Schema* x, const Schema* y) { return *x < *y; };
  std::ranges::sort(others, less);
  Schema both = Schema::array();
  for (const Schema& value : a) {
    if (std::ranges::binary_search(others, &value, less)) both.push_back(value);
  }
  return both;
}

// additionalProperties speaks of the properties beside it, so that the two cannot be parted.
void check_additional(const Schema& limited, const Schema& other, const std::string& pointer) {
  const auto additional = limited.find("additionalProperties");
  if (additional == limited.end() || *additional == true || !other.contains("properties")) return;
  const auto own = limited.find("properties");
  const auto names =
      own == limited.end() ? std::unordered_map<std::string, size_t>() : places_of(*own);
  for (const auto& [name, schema] : other["properties"].items()) {
    if (!names.contains(name)) refuse_merge(pointer, "additionalProperties");
  }
}

// Nor can items and prefixItems.
void check_items(const Schema& a, const Schema& b, const std::string& pointer) {
  if (a.contains("prefixItems") && (b.contains("items") || b.contains("prefixItems"))) {
    refuse_merge(pointer, "prefixItems");
  }
}

void merge_keyword(Schema& into, const std::string& keyword, const Schema& value,
                   const std::string& pointer) {
  const auto found = into.find(keyword);
  if (found == into.end()) {
    into[keyword] = value;
    return;
  }
  Schema& old = *found;
  if (is_leaf_keyword(keyword)) return merge_leaf_keyword(into, keyword, value);
  if (old == value) return;
  const bool numbers = old.is_number() && value.is_number();
  if (keyword == "type") {
    old = merge_types(old, value);
  } else if (keyword == "properties" && old.is_object() && value.is_object()) {
    merge_properties(old, value);
  } else if (keyword == "required" && old.is_array() && value.is_array()) {
    merge_required(old, value);
  } else if (keyword == "enum" && old.is_array() && value.is_array()) {
    old = common(old, value);
  } else if (keyword == "items") {
    old = {{"allOf", Schema::array({old, value})}};
  } else if (keyword == "allOf" && old.is_array() && value.is_array()) {
    old.insert(old.end(), value.begin(), value.end());
  } else if (keyword == "nullable") {
    old = false;
  } else if (numbers && keyword.starts_with("min")) {
    if (old < value) old = value;
  } else if (numbers && keyword.starts_with("max")) {
    if (value < old) old = value;
  } else {
    refuse_merge(pointer, keyword);
  }
}

}  // namespace

bool is_assertion(std::string_view keyword) {
  return contains(kObeyed, keyword);
}

void check_keywords(const Schema& schema, const std::string& pointer) {
  for (const auto& [keyword, value] : schema.items()) {
    if (contains(kObeyed, keyword) || contains(kAnnotations, keyword)) continue;
    if (keyword.starts_with("x-")) continue;
    const auto refused = std::ranges::find(kRefused, keyword, &Refused::keyword);
    if (refused != kRefused.end()) {
      throw Error(fmt::format("{}: '{}' is not supported; {}", pointer, keyword, refused->advice));
    }
    throw Error(
        fmt::format("{}: '{}' is no keyword that is known here. Remove it, or begin its name with "
                    "'x-' if it is a note",
                    pointer, cut_text(keyword)));
  }
}

bool has_assertions_beside(const Schema& schema, std::string_view except) {
  for (auto at = schema.begin(); at != schema.end(); ++at) {
    if (at.key() != except && is_assertion(at.key())) return true;
  }
  return false;
}

Schema assertions(const Schema& schema, CompileBudget& budget, std::string_view except) {
  budget.spend(bytes_of_keys(schema));
  Schema::object_t kept;
  for (const auto& [keyword, value] : schema.items()) {
    if (!is_assertion(keyword) || keyword == except) continue;
    budget.spend(bytes_of_copy(value));
    kept.emplace_back(keyword, value);
  }
  return kept;
}

void merge_schema(Schema& into, const Schema& more, const std::string& pointer,
                  CompileBudget& budget) {
  if (into == false || more == true) return;
  budget.spend(bytes_of_keys(more));
  if (more.is_boolean() || into.is_boolean()) {
    budget.spend(bytes_of_copy(more));
    into = more;
    return;
  }
  if (has_flags_of_bounds(into)) replace_flags_of_bounds(into);
  if (has_flags_of_bounds(more)) {
    budget.spend(bytes_of_copy(more));
    Schema plain = more;
    replace_flags_of_bounds(plain);
    return merge_schema(into, plain, pointer, budget);
  }
  check_additional(into, more, pointer);
  check_additional(more, into, pointer);
  check_items(into, more, pointer);
  check_items(more, into, pointer);
  for (const auto& [keyword, value] : more.items()) {
    if (!is_assertion(keyword)) continue;
    // What is there already is compared with it, or searched.
    const auto own = into.find(keyword);
    budget.spend(bytes_of_copy(value) + (own != into.end() ? bytes_of_copy(*own) : 0));
    // Both must be followed, one after the other.
    if (keyword == "$ref" && own != into.end() && *own != value) {
      merge_keyword(into, "allOf", Schema::array({{{"$ref", value}}}), pointer);
    } else {
      merge_keyword(into, keyword, value, pointer);
    }
  }
}

}  // namespace anser
