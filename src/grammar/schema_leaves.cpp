// Strings and numbers.
#include <fmt/format.h>

#include "grammar/schema_compiler.h"
#include "grammar/schema_values.h"

namespace anser {

RuleId SchemaCompiler::string_rule(const Schema& schema, const std::string& pointer) {
  return strings_.rule(string_limits(schema, pointer), fmt::format("the schema at {}", pointer));
}

RuleId SchemaCompiler::number_rule(const std::string& type, const Schema& schema,
                                   const std::string& pointer) {
  return numbers_.rule(number_limits(schema, pointer), type == "integer",
                       fmt::format("the schema at {}", pointer));
}

}  // namespace anser
