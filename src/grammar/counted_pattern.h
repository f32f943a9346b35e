// Automata of patterns as states of a grammar, also beside limits of length.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "grammar/json_rules.h"
#include "grammar/pattern_automaton.h"

namespace anser {

// As it is.
class PatternStates {
 public:
  PatternStates(GrammarBuilder& builder, JsonRules& json, const PatternAutomaton& automaton)
      : builder_(builder), json_(json), automaton_(automaton) {}
  void add(StateId from, StateId to);

 private:
  GrammarBuilder& builder_;
  JsonRules& json_;
  const PatternAutomaton& automaton_;
};

// With `least` to `most` characters. Where that is cheaper, most of them are counted by the
// counter of the rule, which must be free:
//
//   head: the first `least` characters, a state each for every state of the automaton;
//   middle: up to as many, counted, that from wherever one is then,
//   tail: the way to the nearest end still fits.
//
// So there is always a way on. The automaton is trimmed.
class CountedPattern {
 public:
  CountedPattern(GrammarBuilder& builder, JsonRules& json, const PatternAutomaton& automaton,
                 uint32_t least, uint32_t most);
  // False where that would be too large.
  bool add(StateId from, StateId to);

 private:
  bool add_product(StateId from, StateId to);
  void add_phases(StateId from, StateId to);
  std::vector<std::vector<bool>> head_states() const;
  void add_middle(StateId to);
  StateId tail(uint32_t state, uint32_t left);

  GrammarBuilder& builder_;
  JsonRules& json_;
  const PatternAutomaton& automaton_;
  const uint32_t least_, most_;
  std::vector<uint32_t> distance_;  // of each state to the nearest end
  uint32_t longest_;                // of these
  RuleId rule_ = 0;
  StateId to_ = 0;
  std::vector<StateId> middle_;  // of each state
  std::map<std::pair<uint32_t, uint32_t>, StateId> tails_;
};

}  // namespace anser
