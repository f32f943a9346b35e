#include "grammar/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "base/cut_text.h"
#include "grammar/keywords.h"
#include "grammar/schema_compiler.h"
#include "grammar/schema_values.h"

namespace anser {
namespace {

constexpr int kMaxMerges = 64;  // of one place

}  // namespace

Grammar SchemaCompiler::compile(const Schema& root) {
  const RuleId whole = builder_.add_rule();
  const StateId begun = builder_.add_state(whole), end = builder_.add_state(whole);
  builder_.add_call(builder_.start(whole), json_.space(), begun);
  builder_.add_call(begun, rule_of_root(root, root), end);
  builder_.finish_at(end);
  return std::move(builder_).build(whole);
}

// With all that `schema`, which takes the place of `root`, needs: both must outlive the compiler.
RuleId SchemaCompiler::rule_of_root(const Schema& root, const Schema& schema) {
  root_ = &root;
  kept_.clear();
  targets_.clear();
  const RuleId rule = rule_of(schema, "#");
  // Rules refer to rules that are not filled yet; so nothing here recurs into the schema.
  for (; !open_.empty(); open_.pop_front()) fill(open_.front());
  return rule;
}

RuleId SchemaCompiler::rule_of(const Schema& schema, const std::string& pointer) {
  const auto [at, is_new] = rules_.try_emplace(&schema, 0);
  if (is_new) {
    at->second = builder_.add_rule();
    open_.push_back({at->second, &schema, pointer});
  }
  return at->second;
}

const Schema& SchemaCompiler::keep(Schema&& schema, const std::string& pointer) {
  std::string text = schema.dump();
  const auto [at, is_new] = kept_.try_emplace(std::move(text), nullptr);
  if (!is_new) return *at->second;
  budget_.keep_merged(at->first.size(), pointer);
  merged_.push_back(std::move(schema));
  return *(at->second = &merged_.back());
}

const Schema& SchemaCompiler::target(const Schema& schema, const std::string& pointer) {
  if (!schema["$ref"].is_string()) fail_at(pointer, "'$ref' is no string");
  const std::string& reference = schema["$ref"].get_ref<const std::string&>();
  const auto [at, is_new] = targets_.try_emplace(reference, nullptr);
  if (!is_new) return *at->second;
  const Schema& other =
      resolve_reference(*root_, reference, fmt::format("the schema at {}", pointer), budget_);
  if (other.is_object()) {
    check_keywords(other, fmt::format("the schema at {}", cut_text(reference)));
  } else if (!other.is_boolean()) {
    fail_at(pointer, fmt::format("the reference '{}' points at something that is no schema",
                                 cut_text(reference)));
  }
  return *(at->second = &other);
}

// Until neither $ref nor allOf is left beside other keywords.
const Schema* SchemaCompiler::flatten(const Schema* schema, const std::string& pointer) {
  for (int merges = 0;; ++merges) {
    if (merges > kMaxMerges) fail_at(pointer, "allOf and $ref lead in a circle, or too far");
    if (schema->is_boolean()) return schema;
    if (!schema->is_object()) fail_at(pointer, "expected an object or a boolean");
    const std::string where = fmt::format("the schema at {}", pointer);
    budget_.spend(bytes_of_keys(*schema));
    check_keywords(*schema, where);
    if (schema->contains("allOf")) {
      const Schema& parts = (*schema)["allOf"];
      if (!parts.is_array()) fail_at(pointer, "'allOf' is no list");
      Schema all = assertions(*schema, budget_, "allOf");
      for (const Schema& part : parts) {
        if (part.is_object()) check_keywords(part, fmt::format("{}/allOf", where));
        if (!part.is_object() && !part.is_boolean()) {
          fail_at(pointer, "'allOf' has something that is no schema");
        }
        merge_schema(all, part, where, budget_);
      }
      schema = &keep(std::move(all), pointer);
    } else if (schema->contains("$ref") && has_assertions_beside(*schema, "$ref")) {
      Schema both = assertions(*schema, budget_, "$ref");
      merge_schema(both, target(*schema, pointer), where, budget_);
      schema = &keep(std::move(both), pointer);
    } else {
      return schema;
    }
  }
}

void SchemaCompiler::fill(const Open& open) {
  const std::string& pointer = open.pointer;
  const Schema& schema = *flatten(open.schema, pointer);
  const StateId start = builder_.start(open.rule), end = builder_.add_state(open.rule);
  builder_.finish_at(end);
  if (schema.is_boolean()) {
    if (schema == true) builder_.add_call(start, json_.any(), end);
    return;
  }
  if (schema.contains("$ref")) {
    const Schema& other = target(schema, pointer);
    builder_.add_call(start, rule_of(other, cut_text(schema["$ref"].get<std::string>())), end);
    return;
  }
  for (const char* keyword : {"anyOf", "oneOf"}) {
    if (schema.contains(keyword)) return fill_choice(schema, keyword, pointer, start, end);
  }
  if (schema.contains("enum") || schema.contains("const")) {
    return fill_values(schema, pointer, start, end);
  }
  for (const std::string& type : schema_types(schema, pointer)) {
    builder_.add_call(start, rule_of_type(type, schema, pointer), end);
  }
}

void SchemaCompiler::fill_choice(const Schema& schema, const char* keyword,
                                 const std::string& pointer, StateId start, StateId end) {
  const Schema& choices = schema[keyword];
  if (!choices.is_array() || choices.empty()) {
    fail_at(pointer, fmt::format("'{}' is no list, or an empty one", keyword));
  }
  const Schema rest = assertions(schema, budget_, keyword);
  const std::string path = child_pointer(pointer, keyword);
  for (size_t i = 0; i < choices.size(); ++i) {
    const std::string at = child_pointer(path, std::to_string(i));
    if (rest.empty()) {
      builder_.add_call(start, rule_of(choices[i], at), end);
      continue;
    }
    const Schema& choice = *flatten(&choices[i], at);
    const Schema& followed =
        choice.is_object() && choice.contains("$ref") ? target(choice, at) : choice;
    if (!followed.is_object() && !followed.is_boolean()) fail_at(at, "expected a schema");
    budget_.spend(bytes_of_copy(rest));
    Schema both = rest;
    merge_schema(both, followed, fmt::format("the schema at {}", at), budget_);
    builder_.add_call(start, rule_of(keep(std::move(both), at), at), end);
  }
}

Grammar json_object_grammar() {
  const Schema schema = {{"type", "object"}};
  CompileBudget budget;
  return SchemaCompiler(budget).compile(schema);
}

Grammar json_schema_grammar(std::string_view text) {
  CompileBudget budget;
  try {
    const Schema schema = parse_schema(text, budget);
    return SchemaCompiler(budget).compile(schema);
  } catch (const Error& error) {
    throw Error(one_kilobyte(error.what()));
  }
}

}  // namespace anser
