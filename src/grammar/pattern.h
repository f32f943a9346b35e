// Regular expressions of JSON Schema's "pattern".
//
// Literals, classes, . \d \w \s and their opposites, groups, alternatives, * + ? {m,n}, and ^ and $
// at the ends of the whole. Unanchored patterns match anywhere in a string, as in ECMAScript. What
// looks ahead or back, and \b, is refused.
#pragma once

#include <string>
#include <string_view>

#include "grammar/json_rules.h"
#include "grammar/pattern_expression.h"

namespace anser {

// The inside of a string that matches, between its quotes. Throws Error that begins with `where`.
void add_pattern(GrammarBuilder& builder, JsonRules& json, StateId from, std::string_view pattern,
                 const std::string& where, StateId to);

// Of whole strings. Throws Error that begins with `where`.
Expression parse_pattern(std::string_view pattern, const std::string& where);

}  // namespace anser
