// A grammar over bytes: rules that are small automata and call each other.
//
//   object:  '{' ws -> ... a property's name ... -> call(value) -> ws '}'
//
// Built by GrammarBuilder; immutable and ready for the automaton afterwards.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "grammar/compile_budget.h"

namespace anser {

// How deep calls may be nested, and with them objects and lists in a text.
constexpr uint32_t kMaxCalls = 64;
constexpr uint32_t kUnlimited = std::numeric_limits<uint32_t>::max();

using RuleId = uint32_t;
using StateId = uint32_t;

struct GrammarEdge {
  enum class Kind : uint8_t {
    bytes,   // one byte of low..high
    jump,    // nothing is read
    call,    // a text of `rule`
    again,   // nothing is read; the rule's counter goes up by one, to its `most` at the most
    enough,  // nothing is read; the counter has reached its `least`, and begins anew
  };
  Kind kind;
  uint8_t low = 0, high = 0;
  RuleId rule = 0;
  StateId to = 0;
};

struct GrammarState {
  RuleId rule;  // that it belongs to
  bool final = false;
  std::vector<GrammarEdge> edges = {};
  // The calls that must be nested, at the least, to come to the rule's end from here; kUnlimited:
  // there is no way.
  uint32_t height = kUnlimited;
};

struct GrammarRule {
  StateId start;
  // Of its counter. A call has a counter of its own.
  uint32_t least = 0, most = kUnlimited;
};

struct Grammar {
  RuleId root = 0;
  std::vector<GrammarRule> rules;
  std::vector<GrammarState> states;
  // Bytes that no edge tells apart are of one class.
  std::array<uint8_t, 256> class_of = {};
  int classes = 0;
  std::array<bool, 256> used = {};  // whether a text may have this byte

  const GrammarState& start_of(RuleId rule) const { return states[rules[rule].start]; }
};

// A rule that calls itself before a byte is read.
struct CircularRule : Error {
  explicit CircularRule(RuleId in_circle);
  RuleId rule;
};

// No text satisfies the grammar. `rules`, from the root on, have no end that could be reached.
struct NoText : Error {
  explicit NoText(std::vector<RuleId>&& without_end);
  std::vector<RuleId> rules;
};

// Rules without an end that could be reached, which `from` is, or which it leads to, nearest first.
std::vector<RuleId> rules_without_end(const Grammar& grammar, RuleId from);

class GrammarBuilder {
 public:
  // The budget must outlive it. All that adds something throws BudgetExceeded.
  explicit GrammarBuilder(CompileBudget& budget) : budget_(budget) {}
  CompileBudget& budget() { return budget_; }

  // A rule with a start, and nothing after it.
  RuleId add_rule();
  RuleId rules() const { return RuleId(grammar_.rules.size()); }
  StateId start(RuleId rule) const { return grammar_.rules[rule].start; }
  StateId add_state(RuleId rule);
  RuleId rule_of(StateId state) const { return grammar_.states[state].rule; }
  void set_counter(RuleId rule, uint32_t least, uint32_t most);
  void finish_at(StateId state) { grammar_.states[state].final = true; }

  void add_bytes(StateId from, uint8_t low, uint8_t high, StateId to);
  void add_jump(StateId from, StateId to);
  void add_call(StateId from, RuleId rule, StateId to);
  void add_again(StateId from, StateId to);
  void add_enough(StateId from, StateId to);

  // Paths of several edges.
  void add_text(StateId from, std::string_view bytes, StateId to);
  // One character of a range, as UTF-8. Surrogates in the range are left out. Ranges from one state
  // to another that are added with the same `shared` have one way for equal first bytes.
  using SharedBytes = std::map<std::tuple<StateId, uint8_t, uint8_t>, StateId>;
  void add_characters(StateId from, uint32_t low, uint32_t high, StateId to, SharedBytes& shared);
  void add_characters(StateId from, uint32_t low, uint32_t high, StateId to) {
    SharedBytes none;
    add_characters(from, low, high, to, none);
  }

  // A rule of the texts of `rule` that `next` leads through to an accepted state: from 0 with each
  // byte to another state, or to nothing. Nothing where the rule calls others or counts.
  using FilterState = uint64_t;
  using FilterStep = std::function<std::optional<FilterState>(FilterState, uint8_t)>;
  std::optional<RuleId> add_filtered(RuleId rule, const FilterStep& next,
                                     const std::function<bool(FilterState)>& accepts);

  // Throws NoText and CircularRule.
  Grammar build(RuleId root) &&;

 private:
  void add(StateId from, GrammarEdge edge);
  void add_sequence(StateId from, uint32_t low, uint32_t high, int length, StateId to,
                    SharedBytes& shared);
  void find_heights();
  void check_recursion() const;
  void drop_dead_ends();
  void find_classes();

  CompileBudget& budget_;
  Grammar grammar_;
};

}  // namespace anser
