#include "grammar/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "grammar/keywords.h"
#include "grammar/schema_compiler.h"
#include "grammar/schema_values.h"

namespace anser {
namespace {

// A schema as it is followed, merges included: 4 MB, a second at the most.
constexpr size_t kMaxMerged = 4 << 20;
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
  merged_bytes_ += schema.dump().size();
  if (merged_bytes_ > kMaxMerged) {
    fail_at(pointer, "allOf, anyOf and $ref beside other keywords multiply to too much");
  }
  merged_.push_back(std::move(schema));
  return merged_.back();
}

const Schema& SchemaCompiler::target(const Schema& schema, const std::string& pointer) {
  const Schema& reference = schema["$ref"];
  if (!reference.is_string()) fail_at(pointer, "'$ref' is no string");
  const Schema& other = resolve_reference(*root_, reference.get<std::string>(),
                                          fmt::format("the schema at {}", pointer));
  if (other.is_object()) {
    check_keywords(other, fmt::format("the schema at {}", reference.get<std::string>()));
  } else if (!other.is_boolean()) {
    fail_at(pointer, fmt::format("the reference {} points at something that is no schema",
                                 reference.dump()));
  }
  return other;
}

// Until neither $ref nor allOf is left beside other keywords.
const Schema* SchemaCompiler::flatten(const Schema* schema, const std::string& pointer) {
  for (int merges = 0;; ++merges) {
    if (merges > kMaxMerges) fail_at(pointer, "allOf and $ref lead in a circle, or too far");
    if (schema->is_boolean()) return schema;
    if (!schema->is_object()) fail_at(pointer, "expected an object or a boolean");
    check_keywords(*schema, fmt::format("the schema at {}", pointer));
    const Schema limits = assertions(*schema);
    if (limits.contains("allOf")) {
      const Schema& parts = limits["allOf"];
      if (!parts.is_array()) fail_at(pointer, "'allOf' is no list");
      Schema all = assertions(limits, "allOf");
      for (const Schema& part : parts) {
        if (part.is_object()) check_keywords(part, fmt::format("the schema at {}/allOf", pointer));
        if (!part.is_object() && !part.is_boolean()) {
          fail_at(pointer, "'allOf' has something that is no schema");
        }
        all = merge_schemas(all, part, fmt::format("the schema at {}", pointer));
      }
      schema = &keep(std::move(all), pointer);
    } else if (limits.contains("$ref") && limits.size() > 1) {
      const Schema& other = target(limits, pointer);
      schema = &keep(merge_schemas(assertions(limits, "$ref"), other,
                                   fmt::format("the schema at {}", pointer)),
                     pointer);
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
    const std::string reference =
        schema["$ref"].is_string() ? schema["$ref"].get<std::string>() : "";
    builder_.add_call(start, rule_of(target(schema, pointer), reference), end);
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
  const Schema rest = assertions(schema, keyword);
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
    const Schema& merged =
        keep(merge_schemas(rest, followed, fmt::format("the schema at {}", at)), at);
    builder_.add_call(start, rule_of(merged, at), end);
  }
}

Grammar json_object_grammar() {
  const Schema schema = {{"type", "object"}};
  return SchemaCompiler().compile(schema);
}

Grammar json_schema_grammar(std::string_view text) {
  const Schema schema = parse_schema(text);
  return SchemaCompiler().compile(schema);
}

}  // namespace anser
