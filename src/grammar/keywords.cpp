#include "grammar/keywords.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>

#include "anser/error.h"
#include "base/cut_text.h"
#include "grammar/schema_values.h"

namespace anser {
namespace {

using Use = KeywordUse;
using Value = KeywordValue;

// Sorted by name.
constexpr Keyword kKeywords[] = {
    {"$anchor", Use::note, Value::text},
    {"$comment", Use::note, Value::anything},
    {"$defs", Use::note, Value::named_schemas},
    {"$dynamicAnchor", Use::note, Value::text},
    {"$dynamicRef", Use::assertion, Value::text},
    {"$id", Use::note, Value::anything},
    {"$recursiveAnchor", Use::note, Value::anything},
    {"$recursiveRef", Use::assertion, Value::text},
    {"$ref", Use::assertion, Value::text},
    {"$schema", Use::note, Value::anything},
    {"$vocabulary", Use::note, Value::anything},
    {"additionalItems", Use::assertion, Value::schema},
    {"additionalProperties", Use::assertion, Value::schema},
    {"allOf", Use::assertion, Value::schema_list},
    {"anyOf", Use::assertion, Value::schemas},
    {"const", Use::assertion, Value::anything},
    {"contains", Use::assertion, Value::schema},
    {"contentEncoding", Use::assertion, Value::text},
    {"contentMediaType", Use::assertion, Value::text},
    {"contentSchema", Use::note, Value::anything},
    {"default", Use::note, Value::anything},
    {"definitions", Use::note, Value::named_schemas},
    {"dependencies", Use::assertion, Value::dependencies},
    {"dependentRequired", Use::assertion, Value::named_names},
    {"dependentSchemas", Use::assertion, Value::named_schemas},
    {"deprecated", Use::note, Value::anything},
    {"description", Use::note, Value::anything},
    {"disallow", Use::refused, Value::anything},
    {"discriminator", Use::note, Value::anything},
    {"divisibleBy", Use::refused, Value::anything},
    {"else", Use::assertion, Value::schema},
    {"enum", Use::assertion, Value::values},
    {"example", Use::note, Value::anything},
    {"examples", Use::note, Value::anything},
    {"exclusiveMaximum", Use::assertion, Value::bound},
    {"exclusiveMinimum", Use::assertion, Value::bound},
    {"extends", Use::refused, Value::anything},
    {"externalDocs", Use::note, Value::anything},
    {"format", Use::assertion, Value::text},
    {"formatExclusiveMaximum", Use::refused, Value::anything},
    {"formatExclusiveMinimum", Use::refused, Value::anything},
    {"formatMaximum", Use::refused, Value::anything},
    {"formatMinimum", Use::refused, Value::anything},
    {"id", Use::note, Value::anything},
    {"if", Use::assertion, Value::schema},
    {"items", Use::assertion, Value::items},
    {"maxContains", Use::assertion, Value::count},
    {"maxItems", Use::assertion, Value::count},
    {"maxLength", Use::assertion, Value::count},
    {"maxProperties", Use::assertion, Value::count},
    {"maximum", Use::assertion, Value::number},
    {"minContains", Use::assertion, Value::count},
    {"minItems", Use::assertion, Value::count},
    {"minLength", Use::assertion, Value::count},
    {"minProperties", Use::assertion, Value::count},
    {"minimum", Use::assertion, Value::number},
    {"multipleOf", Use::assertion, Value::step},
    {"not", Use::assertion, Value::schema},
    {"nullable", Use::assertion, Value::flag},
    {"oneOf", Use::assertion, Value::schemas},
    {"pattern", Use::assertion, Value::pattern},
    {"patternProperties", Use::assertion, Value::named_schemas},
    {"prefixItems", Use::assertion, Value::schema_list},
    {"properties", Use::assertion, Value::named_schemas},
    {"propertyDependencies", Use::refused, Value::anything},
    {"propertyNames", Use::assertion, Value::schema},
    {"readOnly", Use::note, Value::anything},
    {"required", Use::assertion, Value::names},
    {"then", Use::assertion, Value::schema},
    {"title", Use::note, Value::anything},
    {"type", Use::assertion, Value::types},
    {"unevaluatedItems", Use::assertion, Value::schema},
    {"unevaluatedProperties", Use::assertion, Value::schema},
    {"uniqueItems", Use::assertion, Value::flag},
    {"writeOnly", Use::note, Value::anything},
    {"xml", Use::note, Value::anything},
};
static_assert(std::ranges::is_sorted(kKeywords, {}, &Keyword::name));

// What no dialect of patterns can read; empty where there is nothing. What can be read but not be
// kept to is told where it is used.
std::string_view fault_of_pattern(std::string_view pattern) {
  int groups = 0;
  bool in_class = false, may_repeat = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\') {
      if (++i == pattern.size()) return "\\ at its end";
      may_repeat = true;
    } else if (in_class) {
      in_class = c != ']';
    } else if (c == '[') {
      in_class = may_repeat = true;
      // ] as the first is one of the class in some dialects.
      if (i + 1 < pattern.size() && pattern[i + 1] == '^') ++i;
    } else if (c == '(') {
      ++groups;
      may_repeat = false;
      if (i + 1 < pattern.size() && pattern[i + 1] == '?') ++i;
    } else if (c == ')') {
      if (--groups < 0) return "a ) without (";
      may_repeat = true;
    } else if (c == '*' || c == '+' || c == '?') {
      if (!may_repeat) return "nothing to repeat";
    } else {
      may_repeat = c != '|' && c != '^';
    }
  }
  return in_class ? "[ without ]" : groups > 0 ? "( without )" : "";
}

class Checker {
 public:
  explicit Checker(CompileBudget& budget) : budget_(budget) {}

  void check(const Schema& schema, const std::string& pointer) {
    if (schema.is_boolean()) return;
    if (!schema.is_object()) {
      fail_at(pointer,
              fmt::format("expected an object or a boolean, found {}", cut_text(schema.dump())));
    }
    budget_.spend(bytes_of_keys(schema));
    for (const auto& [word, value] : schema.items()) {
      const Keyword* const keyword = find_keyword(word);
      if (keyword != nullptr) check_value(*keyword, value, schema, pointer);
    }
  }

 private:
  [[noreturn]] static void fail(const Keyword& keyword, const Schema& value,
                                const std::string& pointer, std::string_view expected) {
    fail_at(pointer,
            fmt::format("'{}' is {}, expected {}", keyword.name, cut_text(value.dump()), expected));
  }

  void check_value(const Keyword& keyword, const Schema& value, const Schema& schema,
                   const std::string& pointer) {
    const std::string name(keyword.name);
    const auto expect = [&](bool right, std::string_view expected) {
      if (!right) fail(keyword, value, pointer, expected);
    };
    switch (keyword.value) {
      case Value::anything:
        return;
      case Value::schema:
        return check(value, child_pointer(pointer, name));
      case Value::items:
        if (!value.is_array()) return check(value, child_pointer(pointer, name));
        return check_list(value, child_pointer(pointer, name));
      case Value::schemas:
        expect(value.is_array() && !value.empty(), "a list of at least one schema");
        return check_list(value, child_pointer(pointer, name));
      case Value::schema_list:
        expect(value.is_array(), "a list of schemas");
        return check_list(value, child_pointer(pointer, name));
      case Value::named_schemas:
      case Value::dependencies:
      case Value::named_names:
        expect(value.is_object(), "an object");
        return check_named(keyword, value, child_pointer(pointer, name));
      case Value::names:
        return expect(are_texts(value), "a list of strings");
      case Value::values:
        return expect(value.is_array(), "a list of values");
      case Value::text:
        return expect(value.is_string(), "a string");
      case Value::pattern:
        expect(value.is_string(), "a string");
        return check_pattern(value.get_ref<const std::string&>(), pointer);
      case Value::flag:
        return expect(value.is_boolean(), "true or false");
      case Value::types:
        schema_types(schema, pointer);
        return expect(value.dump().find("\\u0001") == std::string::npos, "types of JSON");
      case Value::count:
        schema_count(schema, name.c_str(), pointer);
        return;
      case Value::number:
        return expect(value.is_number(), "a number");
      case Value::step:
        return expect(value.is_number() && value > 0, "a number above 0");
      case Value::bound:
        return expect(value.is_number() || value.is_boolean(), "a number");
    }
  }

  static void check_pattern(const std::string& pattern, const std::string& pointer) {
    const std::string_view fault = fault_of_pattern(pattern);
    if (fault.empty()) return;
    fail_at(pointer,
            fmt::format("the pattern '{}' is malformed: it has {}", cut_text(pattern), fault));
  }

  void check_list(const Schema& list, const std::string& pointer) {
    for (size_t i = 0; i < list.size(); ++i) {
      check(list[i], child_pointer(pointer, std::to_string(i)));
    }
  }

  void check_named(const Keyword& keyword, const Schema& object, const std::string& pointer) {
    for (const auto& [name, value] : object.items()) {
      const bool may_be_names = keyword.value != Value::named_schemas;
      if (may_be_names && (value.is_array() || keyword.value == Value::named_names)) {
        if (!are_texts(value)) fail(keyword, value, pointer, "a list of strings of each name");
        continue;
      }
      if (keyword.name == "patternProperties") check_pattern(name, pointer);
      check(value, child_pointer(pointer, name));
    }
  }

  static bool are_texts(const Schema& list) {
    return list.is_array() &&
           std::ranges::all_of(list, [](const Schema& name) { return name.is_string(); });
  }

  CompileBudget& budget_;
};

}  // namespace

const Keyword* find_keyword(std::string_view word) {
  const auto at = std::ranges::lower_bound(kKeywords, word, {}, &Keyword::name);
  return at != std::end(kKeywords) && at->name == word ? &*at : nullptr;
}

bool is_assertion(std::string_view word) {
  const Keyword* const keyword = find_keyword(word);
  return keyword != nullptr && keyword->use != KeywordUse::note;
}

std::string_view advice_for(std::string_view keyword) {
  if (keyword == "disallow") return "use not";
  if (keyword == "divisibleBy") return "use multipleOf";
  if (keyword == "extends") return "use allOf";
  if (keyword == "propertyDependencies") return "use anyOf with a const in each alternative";
  return "use a pattern";  // bounds of formats
}

void check_schema(const Schema& schema, const std::string& pointer, CompileBudget& budget) {
  Checker(budget).check(schema, pointer);
}

}  // namespace anser
