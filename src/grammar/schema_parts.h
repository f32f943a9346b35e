// What must hold at one place of a text, as a list of parts of the schema as it was written.
//
// $ref and allOf only add parts, and each part is there once. So where schemas lead in circles the
// same lists come again, and a list is one rule of the grammar, however often it is reached.
#pragma once

#include <compare>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "grammar/schema_text.h"

namespace anser {

struct Part {
  enum class Kind {
    plain,        // the schema's keywords that speak of the value itself
    any_of,       // the schema's anyOf
    one_of,       // its oneOf
    conditional,  // its if, then and else
    nullable,     // all of it, or null
    depends,      // [name, schema or names]: where the property is the other must hold
    negated,      // the schema must not hold
    absent,       // the name of a property that must not be there
    only,         // names; no other property may be there but what patterns allow
  };
  const Schema* schema;
  Kind kind;
  auto operator<=>(const Part&) const = default;
};
using Parts = std::vector<Part>;

class SchemaParts {
 public:
  // Both must outlive it. Not strict: what cannot be kept to is passed over.
  SchemaParts(const Schema& root, bool strict, CompileBudget& budget)
      : root_(root), strict_(strict), budget_(budget) {}
  SchemaParts(const SchemaParts&) = delete;

  // Adds the parts of a schema in the order of its text, each once.
  void add(Parts& into, const Schema& schema, const std::string& pointer);
  void add(Parts& into, const Parts& more);
  // Of a schema whose `nullable` is not looked at.
  void add_without_null(Parts& into, const Schema& schema, const std::string& pointer);

  // A schema that was made here, in one place for all that are equal.
  const Schema& keep(Schema&& schema, const std::string& pointer);

  // Throws Error where this is strict.
  void refuse(const std::string& pointer, const std::string& what) const;
  bool strict() const { return strict_; }

  const Schema& target(const std::string& reference, const std::string& pointer);
  CompileBudget& budget() { return budget_; }

 private:
  struct Flat {
    bool open = true;  // being found
    Parts parts = {};
  };
  const Parts& flat(const Schema& schema, const std::string& pointer);
  const Schema& behind_references(const Schema& schema, const std::string& pointer);
  void gather(Parts& into, const Schema& schema, const std::string& pointer);
  void gather_keyword(Parts& into, const Schema& schema, const std::string& keyword,
                      const Schema& value, const std::string& pointer);
  void gather_choice(Parts& into, const Schema& schema, const std::string& keyword,
                     const Schema& value, const std::string& pointer);
  void gather_unevaluated(Parts& into, const Schema& schema, const std::string& pointer);
  bool find_names(const Schema& schema, const std::string& pointer, Schema& names, int depth);

  const Schema& root_;
  const bool strict_;
  CompileBudget& budget_;
  std::map<const Schema*, Flat> flat_;
  int depth_ = 0;
  std::deque<Schema> made_;  // addresses stay
  std::map<std::string, const Schema*> kept_, targets_;
};

}  // namespace anser
