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

using Functions = std::span<const Constraint::Function>;

[[noreturn]] void blame(Functions functions, size_t index, const Error& error) {
  throw Constraint::FunctionError(
      one_kilobyte(
          fmt::format("the function {}: {}", anser::quoted(functions[index].name), error.what())),
      index);
}

Schema read_parameters(const Constraint::Function& function, CompileBudget& budget) {
  if (!is_valid_utf8(function.name)) throw Error("its name is not valid UTF-8");
  if (function.parameters.empty()) {
    return {{"type", "object"}, {"properties", Schema::object()}};
  }
  return parse_schema(function.parameters, budget);
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
  std::vector<RuleId> ends;  // one behind a function's own rules
  const auto add = [&](const Constraint::Function& function) {
    budget_.begin_part();
    const Schema& root = roots.emplace_back(read_parameters(function, budget_));
    arguments.push_back(rule_of_root(root, arguments_schema(root)));
    const StateId comma = state(), key = state(), second_colon = state(), value = state();
    builder_.add_text(which, '"' + json_inside(function.name) + '"', comma);
    json_.add_comma(comma, key);
    builder_.add_text(key, "\"arguments\"", second_colon);
    json_.add_colon(second_colon, value);
    builder_.add_call(value, arguments.back(), close);
    ends.push_back(builder_.rules());
  };
  for (size_t i = 0; i < functions.size(); ++i) {
    try {
      add(functions[i]);
    } catch (const BudgetExceeded& error) {
      if (functions.size() == 1 || error.alone) blame(functions, i, error);
      throw Error(fmt::format("the functions are too much together: {}", error.what()));
    } catch (const Error& error) {
      blame(functions, i, error);
    }
  }
  Grammar grammar = build_call(functions, ends, whole);
  // One that no text can call would be passed over without a word.
  for (size_t i = 0; i < functions.size(); ++i) {
    if (grammar.start_of(arguments[i]).height < kMaxCalls) continue;
    blame(functions, i, Error("no text satisfies the schema of its parameters"));
  }
  return grammar;
}

Grammar SchemaCompiler::build_call(Functions functions, std::span<const RuleId> ends,
                                   RuleId whole) {
  try {
    return std::move(builder_).build(whole);
  } catch (const CircularRule& error) {
    blame(functions, size_t(std::ranges::upper_bound(ends, error.rule) - ends.begin()), error);
  } catch (const Error& error) {
    blame(functions, 0, error);  // none can be called
  }
}

Grammar json_call_grammar(Functions functions) {
  CompileBudget budget;
  return SchemaCompiler(budget).compile_call(functions);
}

}  // namespace anser
