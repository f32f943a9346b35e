// Whether a value satisfies a schema, as JSON Schema has it: of values that schemas list.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "grammar/pattern_automaton.h"
#include "grammar/schema_parts.h"

namespace anser {

// Patterns that were read, each once.
class PatternCache {
 public:
  explicit PatternCache(CompileBudget& budget) : budget_(budget) {}

  // Of strings that match in every dialect of patterns. Nothing where the pattern is too large.
  // Throws Error, which begins with `where`.
  const PatternAutomaton* find(const std::string& pattern, const std::string& where);
  // Of strings that match in none. Nothing where these are all that find() does not read.
  const PatternAutomaton* find_opposite(const std::string& pattern);
  // Nothing where it cannot be said.
  std::optional<bool> matches(const std::string& pattern, const std::string& text);

 private:
  CompileBudget& budget_;
  std::map<std::string, std::optional<PatternAutomaton>> known_;
};

enum class Verdict { no, perhaps, yes };

class ValueCheck {
 public:
  ValueCheck(SchemaParts& schemas, PatternCache& patterns)
      : schemas_(schemas), patterns_(patterns) {}

  Verdict check(const Schema& value, const Schema& schema) { return check(value, schema, 0); }
  Verdict check(const Schema& value, const Part& part);

 private:
  Verdict check(const Schema& value, const Schema& schema, int depth);
  Verdict check_keyword(const Schema& value, const std::string& word, const Schema& said,
                        const Schema& schema, int depth);
  Verdict check_in_place(const Schema& value, const std::string& word, const Schema& said,
                         const Schema& schema, int depth);
  Verdict check_object(const Schema& value, const std::string& word, const Schema& said,
                       const Schema& schema, int depth);
  Verdict check_members(const Schema& value, const Schema& schema, int depth);
  Verdict check_depends(const Schema& value, const std::string& name, const Schema& needed,
                        int depth);
  Verdict check_array(const Schema& value, const std::string& word, const Schema& said,
                      const Schema& schema, int depth);
  Verdict check_string(const Schema& value, const std::string& word, const Schema& said);
  static Verdict check_number(const Schema& value, const std::string& word, const Schema& said,
                              const Schema& schema);

  SchemaParts& schemas_;
  PatternCache& patterns_;
};

}  // namespace anser
