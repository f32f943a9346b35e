#include "grammar/schema_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "anser/error.h"
#include "base/cut_text.h"
#include "grammar/keywords.h"
#include "grammar/schema_values.h"

namespace anser {
namespace {

constexpr int kMaxDepth = 200;        // of allOf and $ref beside other keywords within each other
constexpr size_t kMaxSteps = 10'000;  // of references that lead to references
constexpr size_t kFew = 16;

constexpr std::string_view kReferences[] = {"$ref", "$dynamicRef", "$recursiveRef"};
// What speaks of the same value by other schemas.
constexpr std::string_view kInPlace[] = {
    "$ref",  "$dynamicRef", "$recursiveRef",    "allOf",       "anyOf",
    "oneOf", "if",          "dependentSchemas", "dependencies"};

bool is_one_of(const auto& list, std::string_view word) {
  return std::ranges::find(list, word) != std::end(list);
}

[[noreturn]] void fail_circle(const std::string& pointer) {
  fail_at(pointer,
          "allOf and $ref lead in a circle, or too far. Put the reference inside properties or "
          "items");
}

}  // namespace

void SchemaParts::refuse(const std::string& pointer, const std::string& what) const {
  if (strict_) fail_at(pointer, what);
}

const Schema& SchemaParts::keep(Schema&& schema, const std::string& pointer) {
  std::string text = schema.dump();
  const auto [at, is_new] = kept_.try_emplace(std::move(text), nullptr);
  if (!is_new) return *at->second;
  budget_.keep_merged(at->first.size(), pointer);
  made_.push_back(std::move(schema));
  return *(at->second = &made_.back());
}

const Schema& SchemaParts::target(const std::string& reference, const std::string& pointer) {
  const auto [at, is_new] = targets_.try_emplace(reference, nullptr);
  if (!is_new) return *at->second;
  try {
    const Schema& other =
        resolve_reference(root_, reference, fmt::format("the schema at {}", pointer), budget_);
    // It may be in a place where no schema is looked for.
    check_schema(other, cut_text(reference), budget_);
    return *(at->second = &other);
  } catch (...) {
    targets_.erase(at);
    throw;
  }
}

void SchemaParts::add(Parts& into, const Parts& more) {
  budget_.spend(sizeof(Part) * (into.size() + more.size()));
  if (into.size() < kFew || more.size() < 2) {
    for (const Part& part : more) {
      if (std::ranges::find(into, part) == into.end()) into.push_back(part);
    }
    return;
  }
  std::set<Part> seen(into.begin(), into.end());
  for (const Part& part : more) {
    if (seen.insert(part).second) into.push_back(part);
  }
}

void SchemaParts::add(Parts& into, const Schema& schema, const std::string& pointer) {
  add(into, flat(schema, pointer));
}

void SchemaParts::add_without_null(Parts& into, const Schema& schema, const std::string& pointer) {
  gather(into, schema, pointer);
}

// Past schemas that are a reference and nothing else.
const Schema& SchemaParts::behind_references(const Schema& schema, const std::string& pointer) {
  const Schema* at = &schema;
  for (size_t steps = 0; at->is_object(); ++steps) {
    const Schema* reference = nullptr;
    size_t assertions = 0;
    budget_.spend(bytes_of_keys(*at));
    for (const auto& [word, value] : at->items()) {
      if (!is_assertion(word)) continue;
      ++assertions;
      if (is_one_of(kReferences, word)) reference = &value;
    }
    if (reference == nullptr || assertions > 1) break;
    if (steps > kMaxSteps) fail_circle(pointer);
    at = &target(reference->get_ref<const std::string&>(), pointer);
    if (at == &schema) fail_circle(pointer);
  }
  return *at;
}

const Parts& SchemaParts::flat(const Schema& schema, const std::string& pointer) {
  const Schema& behind = behind_references(schema, pointer);
  const auto [at, is_new] = flat_.try_emplace(&behind);
  Flat& found = at->second;
  if (!is_new) {
    if (found.open) fail_circle(pointer);
    return found.parts;
  }
  if (++depth_ > kMaxDepth) fail_circle(pointer);
  Parts parts;
  const auto has = [&](std::string_view word) { return behind.contains(std::string(word)); };
  if (behind.is_object() && schema_flag(behind, "nullable", pointer) && !has("type") &&
      std::ranges::any_of(kInPlace, has)) {
    parts.push_back({&behind, Part::Kind::nullable});
  } else {
    gather(parts, behind, pointer);
  }
  --depth_;
  found.open = false;
  found.parts = std::move(parts);
  return found.parts;
}

void SchemaParts::gather(Parts& into, const Schema& schema, const std::string& pointer) {
  if (schema.is_boolean()) {
    if (schema == false) add(into, {{&schema, Part::Kind::plain}});
    return;
  }
  if (!schema.is_object()) fail_at(pointer, "expected an object or a boolean");
  budget_.spend(bytes_of_keys(schema));
  for (const auto& [word, value] : schema.items()) {
    const Keyword* const keyword = find_keyword(word);
    if (keyword == nullptr || keyword->use == KeywordUse::note) continue;
    if (keyword->use == KeywordUse::refused) {
      refuse(pointer, fmt::format("'{}' is not supported; {}", word, advice_for(word)));
      continue;
    }
    gather_keyword(into, schema, word, value, pointer);
  }
}

void SchemaParts::gather_keyword(Parts& into, const Schema& schema, const std::string& keyword,
                                 const Schema& value, const std::string& pointer) {
  const auto has_in_place = [&] {
    return std::ranges::any_of(
        kInPlace, [&](std::string_view word) { return schema.contains(std::string(word)); });
  };
  if (is_one_of(kReferences, keyword)) {
    add(into, target(value.get_ref<const std::string&>(), pointer), pointer);
  } else if (keyword == "allOf") {
    const std::string path = child_pointer(pointer, keyword);
    for (size_t i = 0; i < value.size(); ++i) {
      add(into, value[i], child_pointer(path, std::to_string(i)));
    }
  } else if (keyword == "anyOf" || keyword == "oneOf") {
    gather_choice(into, schema, keyword, value, pointer);
  } else if (keyword == "if") {
    if (schema.contains("then") || schema.contains("else")) {
      add(into, {{&schema, Part::Kind::conditional}});
    }
  } else if (keyword == "not") {
    add(into, {{&value, Part::Kind::negated}});
  } else if (keyword.starts_with("depend")) {
    for (const auto& [name, needed] : value.items()) {
      budget_.spend(bytes_of_copy(needed));
      const Schema& both = keep(Schema::array({name, needed}), pointer);
      add(into, {{&both, Part::Kind::depends}});
    }
  } else if (keyword == "unevaluatedProperties" && has_in_place()) {
    gather_unevaluated(into, schema, pointer);
  } else if (keyword == "unevaluatedItems" && has_in_place()) {
    if (value != true) {
      refuse(pointer, "'unevaluatedItems' beside other schemas is not supported; use items");
    }
  } else if (keyword != "then" && keyword != "else" && keyword != "nullable") {
    add(into, {{&schema, Part::Kind::plain}});
  }
}

void SchemaParts::gather_choice(Parts& into, const Schema& schema, const std::string& keyword,
                                const Schema& value, const std::string& pointer) {
  if (value.size() == 1) {
    return add(into, value[0], child_pointer(child_pointer(pointer, keyword), "0"));
  }
  add(into, {{&schema, keyword == "anyOf" ? Part::Kind::any_of : Part::Kind::one_of}});
}

// The names that schemas of the same value list; false where there are others that are looked at,
// or that cannot be known.
bool SchemaParts::find_names(const Schema& schema, const std::string& pointer, Schema& names,
                             int depth) {
  if (!schema.is_object()) return true;
  if (depth > 8) return false;
  budget_.spend(bytes_of_keys(schema));
  for (const auto& [word, value] : schema.items()) {
    if (word == "properties") {
      for (const auto& [name, property] : value.items()) names.push_back(name);
    } else if (word == "additionalProperties" || word == "patternProperties" ||
               word == "propertyNames") {
      return false;
    } else if (word == "allOf" || word == "anyOf" || word == "oneOf") {
      for (const Schema& part : value) {
        if (!find_names(part, pointer, names, depth + 1)) return false;
      }
    } else if (word == "then" || word == "else" || word == "if") {
      if (!find_names(value, pointer, names, depth + 1)) return false;
    } else if (is_one_of(kReferences, word)) {
      const Schema& other = target(value.get_ref<const std::string&>(), pointer);
      if (!find_names(other, pointer, names, depth + 1)) return false;
    } else if (word == "dependentSchemas" || word == "dependencies") {
      return false;
    }
  }
  return true;
}

// Alternatives that are not taken list names, too; these are in no other part then, and so are not
// written.
void SchemaParts::gather_unevaluated(Parts& into, const Schema& schema,
                                     const std::string& pointer) {
  if (schema["unevaluatedProperties"] == true) return;
  Schema names = Schema::array();
  if (!find_names(schema, pointer, names, 0)) {
    return refuse(pointer,
                  "'unevaluatedProperties' beside other schemas that are not lists of properties "
                  "is not supported; use additionalProperties");
  }
  add(into, {{&keep(std::move(names), pointer), Part::Kind::only}});
}

}  // namespace anser
