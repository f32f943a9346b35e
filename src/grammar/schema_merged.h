// All plain parts of one place made one: what each kind of value that may stand there must obey.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/schema_parts.h"
#include "grammar/schema_values.h"

namespace anser {

struct MergedSchema {
  Types types = kAllTypes;  // that are allowed
  bool has_types = false;   // else what the keywords speak of is written
  Types spoken_of = 0;
  std::string nothing_because;  // where it is empty something may satisfy this

  std::vector<const Schema*> nodes;  // the plain parts
  // Of enum and const; each is in all of them.
  std::optional<std::vector<const Schema*>> values;
  std::vector<const Schema*> forbidden;  // values

  // Of strings and numbers, each keyword with its tightest value. `pattern` is there if it is one,
  // or beside a format.
  Schema leaf = Schema::object();
  std::vector<std::string> patterns, forbidden_patterns;
  std::vector<uint32_t> forbidden_steps;  // numbers that it is no multiple of

  uint32_t least_items = 0, most_items = kUnlimited;
  bool unique = false;
  std::vector<const Schema*> contains;  // whole nodes

  uint32_t least_properties = 0, most_properties = kUnlimited;
  std::vector<std::string> required;  // in order, each once
  std::set<std::string> absent;
  std::optional<std::set<std::string>> only;

  Parts others;  // choices, and what must not hold

  // Types that texts are written of: those that keywords speak of, unless the values or the types
  // themselves are named.
  Types written_types() const {
    return has_types || values || spoken_of == 0 ? types : types & spoken_of;
  }
};

MergedSchema merge_parts(const Parts& parts, SchemaParts& schemas, const std::string& pointer);

// A schema that says nothing but which values, or which pattern, a text has, or of which small
// whole number it is a multiple: what is not so can be written directly.
bool is_simple(const Schema& schema);

}  // namespace anser
