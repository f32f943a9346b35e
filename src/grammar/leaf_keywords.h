// How the keywords of strings and numbers are made one where two schemas meet.
#pragma once

#include <string>
#include <string_view>

#include "grammar/schema_text.h"

namespace anser {

// A keyword of our own, which merging adds: a list of objects with patterns, formats, encodings and
// multiples beside those of the schema itself. All must hold.
inline constexpr const char* kAlso =
    "\x01"
    "also";

// Whether merge_leaf_keyword() is for it.
bool is_leaf_keyword(std::string_view keyword);

// Adds a keyword that `into` has already: the tighter one of two bounds and lengths; both of
// others. What is malformed stays, and is named where it is read.
void merge_leaf_keyword(Schema& into, const std::string& keyword, const Schema& value);

// Draft 4's true and false of exclusiveMinimum and exclusiveMaximum as the numbers of later drafts,
// which do not depend on the keyword beside them.
bool has_flags_of_bounds(const Schema& schema);
void replace_flags_of_bounds(Schema& schema);

}  // namespace anser
