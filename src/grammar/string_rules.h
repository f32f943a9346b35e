// Strings as rules of a grammar.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/json_rules.h"
#include "grammar/pattern_automaton.h"
#include "grammar/string_limits.h"

namespace anser {

class StringRules {
 public:
  StringRules(GrammarBuilder& builder, JsonRules& json) : builder_(builder), json_(json) {}

  // `where` begins what errors say. All throw Error for patterns that are not supported, or are too
  // large together.

  // A string with its quotes; made once for equal limits.
  RuleId rule(const StringLimits& limits, const std::string& where);
  // The characters of one, between its quotes.
  void add_inside(StateId from, const StringLimits& limits, const std::string& where, StateId to);

  // Whether a text is within the limits.
  bool satisfies(const StringLimits& limits, std::string_view text, const std::string& where);

 private:
  // What was made of a pattern; `automaton` is empty where that would be too large. A length that
  // it asks for where it begins, as in ^(?=.{1,253}$), is counted apart.
  struct Pattern {
    Expression expression;
    std::optional<PatternAutomaton> automaton = {};
    uint32_t least = 0, most = kUnlimited;
    bool is_minimal = false;
  };

  Pattern& pattern(const std::string& text, const std::string& where);
  std::optional<PatternAutomaton> together(const StringLimits& limits, const std::string& where);
  PatternAutomaton intersect(const StringLimits& limits, const std::vector<std::string>& formats,
                             const std::string& where);
  static std::optional<Expression> take_length(Pattern& pattern);
  StringLimits with_lengths(StringLimits limits, const std::string& where);
  void fill(StateId from, const StringLimits& limits, const std::string& where, StateId to);
  void add_length(StateId from, const StringLimits& limits, StateId to);
  void add_automaton(StateId from, const PatternAutomaton& automaton, StateId to);

  GrammarBuilder& builder_;
  JsonRules& json_;
  std::map<std::string, std::unique_ptr<Pattern>> patterns_;
  std::map<std::string, RuleId> rules_;
};

}  // namespace anser
