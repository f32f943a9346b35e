// A pattern as an automaton that reads every string in one way.
//
// As it is written, a pattern may be read in thousands of ways at once, and each token that may
// come would have to be tried in all of them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "grammar/compile_budget.h"
#include "grammar/pattern_expression.h"

namespace anser {

struct PatternAutomaton {
  struct Edge {
    Characters characters;
    uint32_t to;
  };
  struct State {
    bool final = false;
    std::vector<Edge> edges = {};  // no character is in two of them
  };
  std::vector<State> states;  // the first is the start
};

// Nothing where it would be much larger than the pattern, or too much work.
std::optional<PatternAutomaton> deterministic(const Expression& pattern, CompileBudget& budget);

// The same for a pattern with assertions (pattern_assertions.cpp).
std::optional<PatternAutomaton> deterministic_with_assertions(const Expression& pattern,
                                                              CompileBudget& budget);

}  // namespace anser
