// Regular expressions of JSON Schema's "pattern".
//
// Literals, classes, . \d \w \s \p{L} and their opposites, groups, alternatives, * + ? {m,n}, ^ and
// $ anywhere, and (?=...) and (?!...). Unanchored patterns match anywhere in a string, as in
// ECMAScript. What looks back, what was matched before, and \b are refused. Where dialects differ,
// a text matches in all of them (character_classes.h).
#pragma once

#include <string>
#include <string_view>

#include "grammar/pattern_expression.h"

namespace anser {

// Of whole strings. Throws Error that begins with `where`.
Expression parse_pattern(std::string_view pattern, const std::string& where);

}  // namespace anser
