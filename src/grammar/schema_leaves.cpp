// What holds no other values: the values of enum and const, strings, numbers, truth and null.
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "grammar/keywords.h"
#include "grammar/schema_compiler.h"
#include "grammar/schema_values.h"

namespace anser {

RuleId SchemaCompiler::rule_of_type(const std::string& type, const Schema& schema,
                                    const std::string& pointer) {
  if (type == "string") return string_rule(schema, pointer);
  if (type == "number" || type == "integer") return number_rule(type, schema, pointer);
  if (type == "object") return object_rule(schema, pointer);
  if (type == "array") return array_rule(schema, pointer);
  const RuleId rule = builder_.add_rule();
  const StateId end = builder_.add_state(rule);
  builder_.finish_at(end);
  if (type == "null") builder_.add_text(builder_.start(rule), "null", end);
  if (type == "boolean") {
    builder_.add_text(builder_.start(rule), "true", end);
    builder_.add_text(builder_.start(rule), "false", end);
  }
  return rule;
}

void SchemaCompiler::fill_values(const Schema& schema, const std::string& pointer, StateId start,
                                 StateId end) {
  for (const auto& [keyword, value] : schema.items()) {
    if (is_assertion(keyword) && keyword != "enum" && keyword != "const" && keyword != "type" &&
        keyword != "nullable" && keyword != "format") {
      fail_at(pointer,
              fmt::format("'{}' beside an enum or a const is not supported; remove it, and "
                          "the values that it forbids",
                          keyword));
    }
  }
  if (schema.contains("enum") && !schema["enum"].is_array()) fail_at(pointer, "'enum' is no list");
  const bool is_enum = schema.contains("enum"), is_const = schema.contains("const");
  const Schema& listed = schema[is_enum ? "enum" : "const"];
  std::vector<std::string> texts;
  const std::vector<std::string> allowed =
      schema.contains("type") ? schema_types(schema, pointer) : std::vector<std::string>();
  const auto take = [&](const Schema& value) {
    if (is_const && value != schema["const"]) return;
    const bool right = allowed.empty() || std::ranges::any_of(allowed, [&](const auto& type) {
                         return is_type(value, type);
                       });
    if (right) texts.push_back(value.dump());
  };
  if (is_enum) {
    for (const Schema& value : listed) take(value);
  } else {
    take(listed);
  }
  json_.add_choice(start, texts, end);
}

RuleId SchemaCompiler::string_rule(const Schema& schema, const std::string& pointer) {
  return strings_.rule(string_limits(schema, pointer), fmt::format("the schema at {}", pointer));
}

RuleId SchemaCompiler::number_rule(const std::string& type, const Schema& schema,
                                   const std::string& pointer) {
  return numbers_.rule(number_limits(schema, pointer), type == "integer",
                       fmt::format("the schema at {}", pointer));
}

}  // namespace anser
