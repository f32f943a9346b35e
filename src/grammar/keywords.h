// The keywords of JSON Schema, of all drafts and of OpenAPI: what their values look like, and what
// is done with them. Words of no vocabulary are notes, as JSON Schema has it.
#pragma once

#include <string>
#include <string_view>

#include "grammar/schema_text.h"

namespace anser {

enum class KeywordUse {
  note,       // says nothing about a text
  assertion,  // is kept to
  refused,    // says something that cannot be kept to
};
enum class KeywordValue {
  anything,
  schema,
  items,          // a schema, or a list of them
  schemas,        // a list of at least one
  schema_list,    // that may be empty
  named_schemas,  // an object of them
  dependencies,   // an object of schemas and of lists of names
  named_names,    // an object of lists of names
  names,
  values,
  types,
  text,
  pattern,
  flag,
  count,
  number,
  step,   // a number above 0
  bound,  // a number, or draft 4's boolean
};
struct Keyword {
  std::string_view name;
  KeywordUse use;
  KeywordValue value;
};

// Nothing for a word of no vocabulary.
const Keyword* find_keyword(std::string_view word);

// Whether the keyword limits texts: not title, description, $defs and the like.
bool is_assertion(std::string_view word);

// What to do instead of a keyword that is refused.
std::string_view advice_for(std::string_view keyword);

// Throws Error at the first keyword whose value is malformed, here or in a schema within this one,
// whether it is used or not.
void check_schema(const Schema& schema, const std::string& pointer, CompileBudget& budget);

}  // namespace anser
