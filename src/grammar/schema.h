// JSON Schema to grammar.
//
// docs/formats.md says which keywords there are and what is chosen where a schema leaves a choice.
#pragma once

#include <span>
#include <string_view>

#include "anser/constraint.h"
#include "grammar/grammar.h"

namespace anser {

// Any JSON object.
Grammar json_object_grammar();

// Texts that satisfy a schema: not always all, but only such. Throws Error that names the place as
// a JSON pointer, and the keyword. Not strict: keywords that cannot be kept to are passed over.
Grammar json_schema_grammar(std::string_view schema, bool strict = true);

// A call of one of the functions. Throws Error, and FunctionError where one is to blame.
Grammar json_call_grammar(std::span<const Constraint::Function> functions);

}  // namespace anser
