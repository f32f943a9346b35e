// Strings that several automata read at once: names that match some patterns and not others.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/json_rules.h"
#include "grammar/pattern_automaton.h"

namespace anser {

PatternAutomaton automaton_of_strings(std::span<const std::string> strings);
// Of strings of so many characters; `most` may be kUnlimited. Has as many states as characters.
PatternAutomaton automaton_of_lengths(uint32_t least, uint32_t most, CompileBudget& budget);
// Whether the automaton reads `text`, which is valid UTF-8.
bool reads(const PatternAutomaton& automaton, std::string_view text);

class StringProduct {
 public:
  // A bit for each automaton: those that read the string.
  using Readers = uint64_t;
  static constexpr size_t kMost = 64;

  explicit StringProduct(CompileBudget& budget) : budget_(budget) {}

  // The bit of an automaton, which must outlive the product. Strings that a needed one does not
  // read are not written. Throws Error beyond kMost.
  Readers add(const PatternAutomaton& automaton, bool needed);

  // The inside of a string, between its quotes, as JsonRules::add_plain writes it. `end` says where
  // a string leads to that these automata read; nothing: it is not written. Throws Error where
  // there are too many states.
  using End = std::function<std::optional<StateId>(Readers)>;
  void write(GrammarBuilder& builder, JsonRules& json, StateId from, const End& end);

 private:
  using States = std::vector<uint32_t>;  // of each automaton; kDead
  static constexpr uint32_t kDead = UINT32_MAX;

  std::optional<States> after(const States& states, uint32_t character) const;
  Readers readers(const States& states) const;
  std::vector<uint32_t> borders(const States& states) const;

  CompileBudget& budget_;
  std::vector<const PatternAutomaton*> automata_;
  std::vector<bool> needed_;
};

}  // namespace anser
