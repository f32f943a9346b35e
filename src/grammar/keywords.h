// The keywords of JSON Schema: which are obeyed, which say nothing about a text, which are refused.
#pragma once

#include <string>

#include "grammar/schema_text.h"

namespace anser {

// Throws Error at the first keyword that is refused or unknown. `schema` is an object.
void check_keywords(const Schema& schema, const std::string& pointer);

// Whether the keyword limits texts: not title, description, $defs and the like.
bool is_assertion(const std::string& keyword);

// `schema` without the keywords that limit nothing, and without `except`.
Schema assertions(const Schema& schema, const std::string& except = {});

// A schema that both satisfy (booleans and objects). Simple cases only: throws Error, which names
// the keyword, where two values of a keyword cannot be made one.
Schema merge_schemas(const Schema& a, const Schema& b, const std::string& pointer);

}  // namespace anser
