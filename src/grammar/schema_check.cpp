#include "grammar/schema_check.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>

#include "anser/error.h"
#include "grammar/keywords.h"
#include "grammar/pattern.h"
#include "grammar/schema_values.h"
#include "grammar/string_product.h"

namespace anser {
namespace {

constexpr int kMaxDepth = 100;

// Those that readers look at.
constexpr std::string_view kCheckedFormats[] = {"date",
                                                "time",
                                                "date-time",
                                                "duration",
                                                "email",
                                                "idn-email",
                                                "hostname",
                                                "idn-hostname",
                                                "ipv4",
                                                "ipv6",
                                                "uri",
                                                "uri-reference",
                                                "iri",
                                                "iri-reference",
                                                "uuid",
                                                "uri-template",
                                                "json-pointer",
                                                "regex",
                                                "relative-json-pointer"};

bool is_one_of(const auto& list, std::string_view word) {
  return std::ranges::find(list, word) != std::end(list);
}

// Whether SchemaParts makes a part of its own of a keyword.
bool is_part(std::string_view word) {
  static constexpr std::string_view kParts[] = {"$ref",  "$dynamicRef", "$recursiveRef", "allOf",
                                                "anyOf", "oneOf",       "not",           "if",
                                                "then",  "else",        "nullable"};
  return is_one_of(kParts, word) || word.starts_with("depend");
}

Verdict verdict(bool holds) {
  return holds ? Verdict::yes : Verdict::no;
}
Verdict both(Verdict a, Verdict b) {
  return std::min(a, b);
}
Verdict either(Verdict a, Verdict b) {
  return std::max(a, b);
}
Verdict opposite(Verdict a) {
  return a == Verdict::yes ? Verdict::no : a == Verdict::no ? Verdict::yes : a;
}

size_t characters_of(const std::string& text) {
  return size_t(std::ranges::count_if(text, [](char c) { return (uint8_t(c) & 0xc0) != 0x80; }));
}

bool equal(const Schema& a, const Schema& b) {
  return type_of(a) == type_of(b) && canonical_text(a) == canonical_text(b);
}

// Whole numbers up to 64 bits and doubles are both exact here.
long double exact(const Schema& number) {
  if (number.is_number_unsigned()) return static_cast<long double>(number.get<uint64_t>());
  if (number.is_number_integer()) return static_cast<long double>(number.get<int64_t>());
  return number.get<double>();
}

bool is_multiple(const Schema& value, const Schema& step) {
  if (step.is_number_integer() && type_of(value) == kInteger) {
    return std::fmod(exact(value), exact(step)) == 0;
  }
  const double quotient = value.get<double>() / step.get<double>();
  return std::isfinite(quotient) && quotient == std::floor(quotient);
}

bool is_unique(const Schema& list) {
  std::set<std::string> seen;
  return std::ranges::all_of(
      list, [&](const Schema& item) { return seen.insert(canonical_text(item)).second; });
}

}  // namespace

const PatternAutomaton* PatternCache::find(const std::string& pattern, const std::string& where) {
  auto at = known_.find(pattern);
  if (at == known_.end()) {
    const Expression expression = parse_pattern(pattern, where);
    at = known_.emplace(pattern, deterministic(expression, budget_)).first;
  }
  return at->second ? &*at->second : nullptr;
}

const PatternAutomaton* PatternCache::find_opposite(const std::string& pattern) {
  const std::string opposite = "^(?![\\s\\S]*(?:" + pattern + "))";
  try {
    return find(opposite, "");
  } catch (const BudgetExceeded&) {
    throw;
  } catch (const Error&) {  // patterns do not look ahead
    known_.emplace(opposite, std::nullopt);
    return nullptr;
  }
}

std::optional<bool> PatternCache::matches(const std::string& pattern, const std::string& text) {
  budget_.spend(4 * text.size());
  try {
    const PatternAutomaton* const automaton = find(pattern, "");
    if (automaton == nullptr) return std::nullopt;
    if (reads(*automaton, text)) return true;
    const PatternAutomaton* const opposite = find_opposite(pattern);
    if (opposite == nullptr || reads(*opposite, text)) return false;
    return std::nullopt;
  } catch (const BudgetExceeded&) {
    throw;
  } catch (const Error&) {  // it is not understood
    known_.emplace(pattern, std::nullopt);
    return std::nullopt;
  }
}

Verdict ValueCheck::check(const Schema& value, const Part& part) {
  const Schema& schema = *part.schema;
  switch (part.kind) {
    case Part::Kind::plain: {
      if (schema.is_boolean()) return verdict(schema == true);
      Verdict all = Verdict::yes;
      for (const auto& [word, said] : schema.items()) {
        // Where values come from, what is looked at apart, and what are parts of their own.
        if (word == "enum" || word == "const" || word == "format" || is_part(word)) continue;
        all = both(all, check_keyword(value, word, said, schema, 0));
        if (all == Verdict::no) break;
      }
      return all;
    }
    case Part::Kind::any_of:
      return check_in_place(value, "anyOf", schema["anyOf"], schema, 0);
    case Part::Kind::one_of:
      return check_in_place(value, "oneOf", schema["oneOf"], schema, 0);
    case Part::Kind::conditional:
      return check_in_place(value, "if", schema["if"], schema, 0);
    case Part::Kind::nullable:
      return value.is_null() ? Verdict::yes : check(value, schema, 0);
    case Part::Kind::depends:
      if (!value.is_object()) return Verdict::yes;
      return check_depends(value, schema[0].get_ref<const std::string&>(), schema[1], 0);
    case Part::Kind::negated:
      return opposite(check(value, schema, 0));
    case Part::Kind::absent:
      return verdict(!value.is_object() || !value.contains(schema.get_ref<const std::string&>()));
    case Part::Kind::only:
      return value.is_object() && !value.empty() ? Verdict::perhaps : Verdict::yes;
  }
  return Verdict::perhaps;
}

Verdict ValueCheck::check(const Schema& value, const Schema& schema, int depth) {
  if (schema.is_boolean()) return verdict(schema == true);
  if (!schema.is_object() || depth > kMaxDepth) return Verdict::perhaps;
  schemas_.budget().spend(bytes_of_keys(schema) + 16);
  Verdict all = Verdict::yes;
  for (const auto& [word, said] : schema.items()) {
    all = both(all, check_keyword(value, word, said, schema, depth + 1));
    if (all == Verdict::no) break;
  }
  return all;
}

Verdict ValueCheck::check_keyword(const Schema& value, const std::string& word, const Schema& said,
                                  const Schema& schema, int depth) {
  const Keyword* const keyword = find_keyword(word);
  if (keyword == nullptr || keyword->use == KeywordUse::note) return Verdict::yes;
  if (keyword->use == KeywordUse::refused) return Verdict::perhaps;
  if (word == "type") return verdict((schema_types(schema, "") & type_of(value)) != 0);
  if (word == "const") return verdict(equal(value, said));
  if (word == "enum") {
    schemas_.budget().spend(bytes_of_copy(said));
    return verdict(std::ranges::any_of(said, [&](const Schema& one) { return equal(one, value); }));
  }
  const Verdict in_place = check_in_place(value, word, said, schema, depth);
  if (in_place == Verdict::no) return Verdict::no;
  Verdict own = Verdict::yes;
  if (value.is_object()) own = check_object(value, word, said, schema, depth);
  if (value.is_array()) own = check_array(value, word, said, schema, depth);
  if (value.is_string()) own = check_string(value, word, said);
  if (value.is_number()) own = check_number(value, word, said, schema);
  return both(in_place, own);
}

// Keywords by which other schemas speak of the same value.
Verdict ValueCheck::check_in_place(const Schema& value, const std::string& word, const Schema& said,
                                   const Schema& schema, int depth) {
  const auto holds = [&](const Schema& other) { return check(value, other, depth + 1); };
  if (word == "$ref" || word == "$dynamicRef" || word == "$recursiveRef") {
    return holds(schemas_.target(said.get_ref<const std::string&>(), "#"));
  }
  if (word == "not") return opposite(holds(said));
  if (word == "if") {
    const auto of = [&](const char* branch) {
      return schema.contains(branch) ? holds(schema[branch]) : Verdict::yes;
    };
    const Verdict condition = holds(said);
    if (condition == Verdict::perhaps) return both(of("then"), of("else"));
    return of(condition == Verdict::yes ? "then" : "else");
  }
  if (word == "allOf") {
    Verdict all = Verdict::yes;
    for (const Schema& part : said) all = both(all, holds(part));
    return all;
  }
  if (word != "anyOf" && word != "oneOf") return Verdict::yes;
  Verdict any = Verdict::no;
  int right = 0, unsure = 0;
  for (const Schema& part : said) {
    const Verdict one = holds(part);
    any = either(any, one);
    right += one == Verdict::yes;
    unsure += one == Verdict::perhaps;
  }
  if (word == "anyOf") return any;
  if (right > 1) return Verdict::no;
  return unsure > 0 ? Verdict::perhaps : verdict(right == 1);
}

Verdict ValueCheck::check_object(const Schema& value, const std::string& word, const Schema& said,
                                 const Schema& schema, int depth) {
  if (word == "required") {
    return verdict(std::ranges::all_of(said, [&](const Schema& name) {
      return value.contains(name.get_ref<const std::string&>());
    }));
  }
  const auto count = [&] { return schema_count(schema, word.c_str(), "").value_or(0); };
  if (word == "minProperties") return verdict(value.size() >= count());
  if (word == "maxProperties") return verdict(value.size() <= count());
  if (word == "propertyNames") {
    Verdict all = Verdict::yes;
    for (const auto& [name, member] : value.items()) {
      all = both(all, check(Schema(name), said, depth));
    }
    return all;
  }
  if (word == "dependentRequired" || word == "dependentSchemas" || word == "dependencies") {
    Verdict all = Verdict::yes;
    for (const auto& [name, needed] : said.items()) {
      all = both(all, check_depends(value, name, needed, depth));
    }
    return all;
  }
  if (word == "unevaluatedProperties") return value.empty() ? Verdict::yes : Verdict::perhaps;
  if (word == "properties" || word == "patternProperties" || word == "additionalProperties") {
    return check_members(value, schema, depth);
  }
  return Verdict::yes;
}

Verdict ValueCheck::check_members(const Schema& value, const Schema& schema, int depth) {
  Verdict all = Verdict::yes;
  for (const auto& [name, member] : value.items()) {
    bool listed = false, unsure = false;
    if (schema.contains("properties") && schema["properties"].contains(name)) {
      listed = true;
      all = both(all, check(member, schema["properties"][name], depth));
    }
    if (schema.contains("patternProperties")) {
      for (const auto& [pattern, other] : schema["patternProperties"].items()) {
        const std::optional<bool> matches = patterns_.matches(pattern, name);
        listed |= matches.value_or(true);
        unsure |= !matches.has_value();
        if (matches.value_or(false)) all = both(all, check(member, other, depth));
      }
    }
    if (unsure) all = both(all, Verdict::perhaps);
    if (!listed && schema.contains("additionalProperties")) {
      all = both(all, check(member, schema["additionalProperties"], depth));
    }
  }
  return all;
}

Verdict ValueCheck::check_depends(const Schema& value, const std::string& name,
                                  const Schema& needed, int depth) {
  if (!value.contains(name)) return Verdict::yes;
  if (!needed.is_array()) return check(value, needed, depth);
  return verdict(std::ranges::all_of(needed, [&](const Schema& other) {
    return value.contains(other.get_ref<const std::string&>());
  }));
}

Verdict ValueCheck::check_array(const Schema& value, const std::string& word, const Schema& said,
                                const Schema& schema, int depth) {
  const auto count = [&] { return schema_count(schema, word.c_str(), "").value_or(0); };
  if (word == "minItems") return verdict(value.size() >= count());
  if (word == "maxItems") return verdict(value.size() <= count());
  if (word == "uniqueItems") return verdict(said == false || is_unique(value));
  if (word == "contains") {
    size_t right = 0, unsure = 0;
    for (const Schema& item : value) {
      const Verdict one = check(item, said, depth);
      right += one == Verdict::yes;
      unsure += one == Verdict::perhaps;
    }
    if (unsure > 0) return Verdict::perhaps;
    return verdict(right >= schema_count(schema, "minContains", "").value_or(1) &&
                   right <= schema_count(schema, "maxContains", "").value_or(kUnlimited));
  }
  if (word == "unevaluatedItems") return value.empty() ? Verdict::yes : Verdict::perhaps;
  const bool is_tuple = schema.contains("items") && schema["items"].is_array();
  const char* const first = is_tuple ? "items" : "prefixItems";
  const size_t tuple = schema.contains(first) ? schema[first].size() : 0;
  Verdict all = Verdict::yes;
  for (size_t i = 0; i < value.size(); ++i) {
    if (word == first) {
      if (i < tuple) all = both(all, check(value[i], said[i], depth));
    } else if (word == (is_tuple ? "additionalItems" : "items")) {
      if (i >= tuple) all = both(all, check(value[i], said, depth));
    }
  }
  return all;
}

Verdict ValueCheck::check_string(const Schema& value, const std::string& word, const Schema& said) {
  const std::string& text = value.get_ref<const std::string&>();
  if (word == "minLength") return verdict(double(characters_of(text)) >= said.get<double>());
  if (word == "maxLength") return verdict(double(characters_of(text)) <= said.get<double>());
  if (word == "pattern") {
    const std::optional<bool> matches = patterns_.matches(said, text);
    return matches ? verdict(*matches) : Verdict::perhaps;
  }
  return word == "format" && is_one_of(kCheckedFormats, said.get_ref<const std::string&>())
             ? Verdict::perhaps
             : Verdict::yes;
}

Verdict ValueCheck::check_number(const Schema& value, const std::string& word, const Schema& said,
                                 const Schema& schema) {
  if (word == "multipleOf") return verdict(is_multiple(value, said));
  if (word == "exclusiveMinimum" || word == "exclusiveMaximum") {
    const bool lower = word == "exclusiveMinimum";
    const char* const bound = lower ? "minimum" : "maximum";
    if (said.is_boolean() && (said == false || !schema.contains(bound))) return Verdict::yes;
    const long double limit = exact(said.is_boolean() ? schema[bound] : said);
    return verdict(lower ? exact(value) > limit : exact(value) < limit);
  }
  if (word == "minimum") return verdict(exact(value) >= exact(said));
  if (word == "maximum") return verdict(exact(value) <= exact(said));
  return Verdict::yes;
}

}  // namespace anser
