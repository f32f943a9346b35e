// Calls of functions: objects of a name and of arguments that the name decides.
#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "anser/error.h"
#include "grammar/schema.h"
#include "grammar/schema_compiler.h"
#include "grammar/schema_values.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace anser {
namespace {

// Runs `work`; its Error says which function it is about.
template <class Work>
auto about(const Constraint::Function& function, Work&& work) {
  try {
    return work();
  } catch (const Error& error) {
    throw Error(fmt::format("the function {}: {}", anser::quoted(function.name), error.what()));
  }
}

Schema read_parameters(const Constraint::Function& function) {
  if (!is_valid_utf8(function.name)) throw Error("its name is not valid UTF-8");
  if (function.parameters.empty()) {
    return {{"type", "object"}, {"properties", Schema::object()}};
  }
  return parse_schema(function.parameters);
}

}  // namespace

// Arguments are an object, also where the schema would allow something else.
const Schema& SchemaCompiler::arguments_schema(const Schema& parameters) {
  if (!parameters.is_object()) fail_at("#", "expected an object, for a function's parameters");
  const std::vector<std::string> types = schema_types(parameters, "#");
  if (std::ranges::find(types, "object") == types.end()) {
    fail_at("#",
            "a function's arguments are an object, and none is allowed here. Expected the "
            "type object");
  }
  const auto has = [&](const char* keyword) { return parameters.contains(keyword); };
  const bool alone = std::ranges::none_of(
      std::initializer_list<const char*>{"anyOf", "oneOf", "allOf", "$ref"}, has);
  if (alone && has("type") && types.size() == 1) return parameters;
  Schema object = parameters;
  object["type"] = "object";
  object["nullable"] = false;
  return keep(std::move(object), "#");
}

Grammar SchemaCompiler::compile_call(std::span<const Constraint::Function> functions) {
  if (functions.empty()) throw Error("there is no function that could be called");
  const RuleId whole = builder_.add_rule();
  const auto state = [&] { return builder_.add_state(whole); };
  const StateId begun = state(), open = state(), name = state(), colon = state(), which = state(),
                close = state(), brace = state(), end = state();
  builder_.finish_at(end);
  builder_.add_call(builder_.start(whole), json_.space(), begun);
  builder_.add_text(begun, "{", open);
  builder_.add_call(open, json_.space(), name);
  builder_.add_text(name, "\"name\"", colon);
  json_.add_colon(colon, which);
  builder_.add_call(close, json_.space(), brace);
  builder_.add_text(brace, "}", end);

  std::deque<Schema> roots;  // addresses stay
  std::vector<RuleId> arguments;
  for (const Constraint::Function& function : functions) {
    about(function, [&] {
      const Schema& root = roots.emplace_back(read_parameters(function));
      arguments.push_back(rule_of_root(root, arguments_schema(root)));
      const StateId comma = state(), key = state(), second_colon = state(), value = state();
      builder_.add_text(which, '"' + json_inside(function.name) + '"', comma);
      json_.add_comma(comma, key);
      builder_.add_text(key, "\"arguments\"", second_colon);
      json_.add_colon(second_colon, value);
      builder_.add_call(value, arguments.back(), close);
    });
  }
  const auto build = [&] { return std::move(builder_).build(whole); };
  Grammar grammar = functions.size() == 1 ? about(functions[0], build) : build();
  // One that no text can call would be passed over without a word.
  for (size_t i = 0; i < functions.size(); ++i) {
    if (grammar.start_of(arguments[i]).height < kMaxCalls) continue;
    about(functions[i], [] { throw Error("no text satisfies the schema of its parameters"); });
  }
  return grammar;
}

Grammar json_call_grammar(std::span<const Constraint::Function> functions) {
  return SchemaCompiler().compile_call(functions);
}

}  // namespace anser
