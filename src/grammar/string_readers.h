// What a string must be and must not be, as automata that read it at once.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "grammar/schema_check.h"
#include "grammar/schema_merged.h"
#include "grammar/string_product.h"

namespace anser {

class StringReaders {
 public:
  // All must outlive it. `pointer` is the place in the schema, for errors: all throw Error for
  // patterns that are not supported, or too large.
  StringReaders(PatternCache& patterns, CompileBudget& budget, const std::string& pointer)
      : patterns_(patterns), budget_(budget), pointer_(pointer), product_(budget) {}

  void must_match(const std::string& pattern);
  void must_not_match(const std::string& pattern);
  void must_not_be(const std::vector<std::string>& strings);
  // All that a schema says of strings but formats and choices.
  void must_be(const MergedSchema& merged);
  // Whether it matches is told by `matched`.
  void may_match(const std::string& pattern);

  // Writes the inside of strings that are as they must be. `end` says where those lead to that
  // match these patterns of may_match() and no others; nothing: they are not written.
  using End = std::function<std::optional<StateId>(const std::set<std::string>& matched)>;
  void write(GrammarBuilder& builder, JsonRules& json, StateId from, const End& end);

 private:
  using Readers = StringProduct::Readers;
  // A bit of those that match in every dialect of patterns, and one of those that match in none;
  // 0: that are all others.
  struct Bits {
    Readers yes, no;
  };
  const PatternAutomaton& automaton_of(const std::string& pattern);
  std::optional<std::set<std::string>> matched(Readers readers) const;

  PatternCache& patterns_;
  CompileBudget& budget_;
  const std::string& pointer_;
  StringProduct product_;
  std::deque<PatternAutomaton> own_;  // addresses stay
  Readers needed_ = 0, forbidden_ = 0;
  std::map<std::string, Bits> told_;
};

}  // namespace anser
