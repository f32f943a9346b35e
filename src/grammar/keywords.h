// The keywords of JSON Schema: which are obeyed, which say nothing about a text, which are refused.
#pragma once

#include <string>
#include <string_view>

#include "grammar/schema_text.h"

namespace anser {

// Throws Error at the first keyword that is refused or unknown. `schema` is an object.
void check_keywords(const Schema& schema, const std::string& pointer);

// Whether the keyword limits texts: not title, description, $defs and the like.
bool is_assertion(std::string_view keyword);

// Whether a schema (an object) limits texts by other keywords than this one.
bool has_assertions_beside(const Schema& schema, std::string_view except);

// `schema` without the keywords that limit nothing, and without `except`.
Schema assertions(const Schema& schema, CompileBudget& budget, std::string_view except = {});

// Makes `into`, assertions or a boolean, what satisfies `more`, too. Simple cases only: throws
// Error, which names the keyword, where two values of a keyword cannot be made one.
void merge_schema(Schema& into, const Schema& more, const std::string& pointer,
                  CompileBudget& budget);

}  // namespace anser
