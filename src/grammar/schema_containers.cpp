// Objects and lists.
#include <fmt/format.h>

#include <algorithm>

#include "grammar/schema_compiler.h"
#include "grammar/schema_values.h"

namespace anser {

std::vector<SchemaCompiler::Property> SchemaCompiler::properties(const Schema& schema,
                                                                 const std::string& pointer) {
  std::vector<Property> list;
  if (schema.contains("properties")) {
    if (!schema["properties"].is_object()) fail_at(pointer, "'properties' is no object");
    const std::string path = child_pointer(pointer, "properties");
    for (const auto& [name, value] : schema["properties"].items()) {
      list.push_back({name, false, rule_of(value, child_pointer(path, name))});
    }
  }
  if (!schema.contains("required")) return list;
  if (!schema["required"].is_array()) fail_at(pointer, "'required' is no list");
  std::map<std::string, size_t> places;
  for (size_t i = 0; i < list.size(); ++i) places[list[i].name] = i;
  for (const Schema& name : schema["required"]) {
    if (!name.is_string()) fail_at(pointer, "'required' has something that is no string");
    const auto [place, is_new] = places.try_emplace(name.get<std::string>(), list.size());
    if (is_new) {
      const RuleId value = schema.contains("additionalProperties")
                               ? rule_of(schema["additionalProperties"],
                                         child_pointer(pointer, "additionalProperties"))
                               : json_.any();
      list.push_back({place->first, false, value});
    }
    list[place->second].required = true;
  }
  return list;
}

RuleId SchemaCompiler::object_rule(const Schema& schema, const std::string& pointer) {
  const std::vector<Property> list = properties(schema, pointer);
  const size_t required = size_t(std::ranges::count(list, true, &Property::required));
  if (schema_count(schema, "minProperties", pointer).value_or(0) > required) {
    fail_at(pointer,
            "'minProperties' above the number of required properties is not supported; "
            "name the properties in 'required'");
  }
  // Where the schema is silent: any names if it has none itself, else only its own.
  std::optional<RuleId> additional;
  if (schema.contains("additionalProperties")) {
    if (schema["additionalProperties"] != false)
      additional =
          rule_of(schema["additionalProperties"], child_pointer(pointer, "additionalProperties"));
  } else if (list.empty() && !schema.contains("properties")) {
    return json_.object();
  }

  const RuleId rule = builder_.add_rule();
  const auto state = [&] { return builder_.add_state(rule); };
  const StateId open = state(), inside = state(), close = state(), brace = state(), end = state();
  builder_.finish_at(end);
  builder_.add_text(builder_.start(rule), "{", open);
  builder_.add_call(open, json_.space(), inside);
  builder_.add_call(close, json_.space(), brace);
  builder_.add_text(brace, "}", end);
  // names[i]: before the name of property i or a later one; after[i]: a value was the last, and
  // those before i are written or left out.
  const size_t n = list.size();
  std::vector<StateId> names(n + 1), after(n + 1);
  for (size_t i = 0; i <= n; ++i) names[i] = state(), after[i] = state();
  size_t last_required = 0;  // one behind it
  for (size_t i = 0; i < n; ++i) {
    if (list[i].required) last_required = i + 1;
  }
  builder_.add_jump(inside, names[0]);
  if (last_required == 0) builder_.add_text(inside, "}", end);
  for (size_t i = 0; i <= n; ++i) {
    if (i < n) {
      const StateId colon = state(), value = state();
      builder_.add_text(names[i], '"' + json_inside(list[i].name) + '"', colon);
      json_.add_colon(colon, value);
      builder_.add_call(value, list[i].value, after[i + 1]);
      if (!list[i].required) builder_.add_jump(names[i], names[i + 1]);
    }
    json_.add_comma(after[i], names[i]);
    if (i >= last_required) builder_.add_jump(after[i], close);
  }
  if (additional) {
    const StateId name = state(), colon = state(), value = state();
    std::vector<std::string> taken;
    for (const Property& property : list) taken.push_back(property.name);
    builder_.add_text(names[n], "\"", name);
    json_.add_other_name(name, taken, colon);
    json_.add_colon(colon, value);
    builder_.add_call(value, *additional, after[n]);
  }
  return rule;
}

RuleId SchemaCompiler::array_rule(const Schema& schema, const std::string& pointer) {
  if (schema_flag(schema, "uniqueItems", pointer)) {
    fail_at(pointer,
            "'uniqueItems' is not supported; remove it, or list the items in 'prefixItems'");
  }
  Counts length = schema_counts(schema, "minItems", "maxItems", pointer);
  std::vector<RuleId> first;
  if (schema.contains("prefixItems")) {
    const Schema& items = schema["prefixItems"];
    if (!items.is_array()) fail_at(pointer, "'prefixItems' is no list");
    const std::string path = child_pointer(pointer, "prefixItems");
    for (size_t i = 0; i < items.size() && i < length.most; ++i) {
      first.push_back(rule_of(items[i], child_pointer(path, std::to_string(i))));
    }
    // Where the schema is silent, all are written, and no more than needed.
    if (!schema.contains("minItems")) length.least = uint32_t(first.size());
    if (!schema.contains("items") && !schema.contains("maxItems")) {
      length.most = std::max(length.least, uint32_t(first.size()));
    }
  }
  if (schema.contains("items") && schema["items"].is_array()) {
    fail_at(pointer, "'items' is a list; write 'prefixItems'");
  }
  const bool silent = !schema.contains("items");
  if (silent && first.empty() && !length.limited()) return json_.array();
  const RuleId rest =
      silent ? json_.any() : rule_of(schema["items"], child_pointer(pointer, "items"));
  // So that behind the first items the rest may be empty, or is no deeper than what was written.
  if (length.least > first.size()) first.push_back(rest);

  const RuleId rule = builder_.add_rule();
  const auto state = [&] { return builder_.add_state(rule); };
  const StateId open = state(), inside = state(), close = state(), bracket = state(), end = state();
  builder_.finish_at(end);
  builder_.add_text(builder_.start(rule), "[", open);
  builder_.add_call(open, json_.space(), inside);
  builder_.add_call(close, json_.space(), bracket);
  builder_.add_text(bracket, "]", end);
  if (length.least == 0) builder_.add_text(inside, "]", end);

  // `before`: an item comes next; `after`: one was the last.
  StateId before = inside, after = inside;
  for (size_t i = 0; i < first.size(); ++i) {
    if (i > 0) json_.add_comma(after, before = state());
    builder_.add_call(before, first[i], after = state());
    if (i + 1 >= length.least && i + 1 < first.size()) builder_.add_jump(after, close);
  }
  const uint32_t written = uint32_t(first.size());
  const Counts more = {length.least > written ? length.least - written : 0,
                       length.most == kUnlimited ? kUnlimited : length.most - written};
  if (first.empty() && more.most > 0) {
    // The first of the rest has no comma.
    before = state(), after = state();
    builder_.set_counter(rule, more.least, more.most);
    builder_.add_again(inside, before);
    builder_.add_call(before, rest, after);
  } else if (first.empty()) {
    return rule;
  } else {
    builder_.set_counter(rule, more.least, more.most);
  }
  builder_.add_enough(after, close);
  if (more.most > 0) {
    const StateId comma = state(), item = state();
    builder_.add_again(after, comma);
    json_.add_comma(comma, item);
    builder_.add_call(item, rest, after);
  }
  return rule;
}

}  // namespace anser
