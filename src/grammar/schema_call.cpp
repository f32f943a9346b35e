// Calls of functions: objects of a name and of arguments that the name decides.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "anser/error.h"
#include "grammar/schema.h"
#include "grammar/schema_compiler.h"
#include "grammar/schema_references.h"
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
  Schema schema = parse_schema(function.parameters, budget);
  write_references_from_root(schema, budget);
  return schema;
}

// Arguments are an object, also where the schema would allow something else.
const Schema& object_type() {
  static const Schema schema = {{"type", "object"}};
  return schema;
}

void check_parameters(const Schema& parameters) {
  if (!parameters.is_object()) fail_at("#", "expected an object, for a function's parameters");
  if ((schema_types(parameters, "#") & kObject) != 0) return;
  fail_at("#",
          "a function's arguments are an object, and none is allowed here. Expected the type "
          "object");
}

}  // namespace

Grammar SchemaCompiler::compile_call(std::span<const Constraint::Function> functions) {
  if (functions.empty()) throw Error("there is no function that could be called");
  const RuleId whole = builder_.add_rule();
  const auto state = [&] { return builder_.add_state(whole); };
  const StateId begun = state(), which = state(), close = state(), end = state();
  builder_.finish_at(end);
  // As models' answers begin.
  builder_.add_text(builder_.start(whole), " ", begun);
  builder_.add_jump(builder_.start(whole), begun);
  builder_.add_text(begun, "{\"name\":", which);
  builder_.add_text(close, "}", end);

  std::deque<Schema> roots;  // addresses stay
  std::vector<RuleId> arguments;
  std::vector<RuleId> ends;  // one behind a function's own rules
  const auto add = [&](const Constraint::Function& function) {
    budget_.begin_part();
    const Schema& root = roots.emplace_back(read_parameters(function, budget_));
    check_parameters(root);
    arguments.push_back(rule_of_root(root, {{&object_type(), Part::Kind::plain}}, function.strict));
    const StateId value = state();
    builder_.add_text(which, '"' + json_inside(function.name) + "\",\"arguments\":", value);
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
    blame(functions, i,
          Error("no text satisfies the schema of its parameters" +
                reason_of(rules_without_end(grammar, arguments[i]))));
  }
  return grammar;
}

Grammar SchemaCompiler::build_call(Functions functions, std::span<const RuleId> ends,
                                   RuleId whole) {
  try {
    return std::move(builder_).build(whole);
  } catch (const CircularRule& error) {
    blame(functions, size_t(std::ranges::upper_bound(ends, error.rule) - ends.begin()), error);
  } catch (const NoText& error) {  // none can be called
    blame(functions, 0, Error(error.what() + reason_of(error.rules)));
  }
}

Grammar json_call_grammar(Functions functions) {
  CompileBudget budget;
  return SchemaCompiler(budget).compile_call(functions);
}

}  // namespace anser
