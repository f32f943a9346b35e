// How the keywords of strings and numbers are made one where two schemas meet.
#pragma once

#include <string>

#include "grammar/schema_text.h"

namespace anser {

// A keyword of our own, which merging adds: a list of objects with patterns, formats, encodings and
// multiples beside those of the schema itself. All must hold.
inline constexpr const char* kAlso =
    "\x01"
    "also";

// Whether one number of a schema is below another, exactly: as doubles 2^53 and the next whole
// number are the same.
bool is_below(const Schema& a, const Schema& b);

// Makes `value` the bound or length where that is tighter, or where there is none. `lower`: the
// larger one is.
void tighten(Schema& leaf, const std::string& keyword, const Schema& value, bool lower);

}  // namespace anser
