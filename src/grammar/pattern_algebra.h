// What can be done with automata of patterns: to meet, to be turned round, to be counted.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "grammar/compile_budget.h"
#include "grammar/pattern_automaton.h"

namespace anser {

// Sorted, without overlaps, as tidy() leaves them.
Characters common(const Characters& a, const Characters& b);

// Without states that are never reached, or from which there is no end; the start stays.
PatternAutomaton trimmed(const PatternAutomaton& automaton);

// Of the same texts with as few states as possible, trimmed; or only trimmed, if that would take
// too long.
PatternAutomaton minimal(const PatternAutomaton& automaton, CompileBudget& budget);

// Of texts that both accept, trimmed. Nothing where it would be too large.
std::optional<PatternAutomaton> intersection(const PatternAutomaton& a, const PatternAutomaton& b,
                                             CompileBudget& budget);

// Of all texts that it does not accept.
PatternAutomaton complement(const PatternAutomaton& automaton);

// Whether a state accepts every text.
bool accepts_all(const PatternAutomaton& automaton, uint32_t state);

bool accepts(const PatternAutomaton& automaton, std::string_view utf8);

// Of a trimmed automaton: characters from each state to the nearest end (kUnlimited: there is
// none), and those of its longest text, which may be kUnlimited.
std::vector<uint32_t> distances_to_end(const PatternAutomaton& automaton);
uint32_t longest_text(const PatternAutomaton& automaton);

// Of its texts of `least` to `most` characters, trimmed. Nothing where that are more states than
// `max_states`.
std::optional<PatternAutomaton> counted(const PatternAutomaton& automaton, uint32_t least,
                                        uint32_t most, size_t max_states, CompileBudget& budget);

}  // namespace anser
