#include "grammar/counted_pattern.h"

#include <algorithm>
#include <optional>

#include "grammar/pattern_algebra.h"

namespace anser {
namespace {

// Beyond so many states the characters that need an escape, of which each costs many, are left out
// but for ends of lines and tabs, where there are others.
constexpr size_t kFewStates = 300;

Characters without_controls(const Characters& characters) {
  static const Characters kWritten = {{'\t', '\n'}, {'\r', '\r'}, {0x20, kLastCharacter}};
  Characters some = common(characters, kWritten);
  return some.empty() ? characters : some;
}

// States of a pattern, each as often as there are lengths.
constexpr size_t kMaxProduct = 50'000;
// Characters of a tail, each of which may be a way to read a text of its own.
constexpr uint32_t kMaxTail = 64;

}  // namespace

void PatternStates::add(StateId from, StateId to) {
  const RuleId rule = builder_.rule_of(from);
  std::vector<StateId> states;
  for (size_t i = 0; i < automaton_.states.size(); ++i) states.push_back(builder_.add_state(rule));
  builder_.add_jump(from, states[0]);
  for (size_t i = 0; i < states.size(); ++i) {
    const PatternAutomaton::State& state = automaton_.states[i];
    if (state.final) builder_.add_jump(states[i], to);
    for (const auto& [characters, next] : state.edges) {
      const bool all = states.size() <= kFewStates;
      json_.add_plain(states[i], all ? characters : without_controls(characters), states[next]);
    }
  }
}

CountedPattern::CountedPattern(GrammarBuilder& builder, JsonRules& json,
                               const PatternAutomaton& automaton, uint32_t least, uint32_t most)
    : builder_(builder),
      json_(json),
      automaton_(automaton),
      least_(least),
      most_(most),
      distance_(distances_to_end(automaton)),
      longest_(std::ranges::max(distance_)) {}

bool CountedPattern::add(StateId from, StateId to) {
  if (longest_ == kUnlimited) return true;  // there is no text at all
  const uint64_t in_phases = uint64_t(least_) + longest_ + 3;
  const uint64_t in_product = uint64_t(most_ == kUnlimited ? least_ : most_) + 1;
  const bool fits = most_ != kUnlimited && uint64_t(least_) + longest_ < most_;
  if (!fits || longest_ > kMaxTail || in_phases >= in_product) return add_product(from, to);
  if (in_phases * automaton_.states.size() > kMaxProduct) return false;
  add_phases(from, to);
  return true;
}

bool CountedPattern::add_product(StateId from, StateId to) {
  const auto product = counted(automaton_, least_, most_, kMaxProduct, builder_.budget());
  if (product) PatternStates(builder_, json_, *product).add(from, to);
  return product.has_value();
}

// [count][state]: whether the middle can be reached from there.
std::vector<std::vector<bool>> CountedPattern::head_states() const {
  const size_t n = automaton_.states.size();
  std::vector<std::vector<bool>> live(least_ + 1, std::vector<bool>(n, true));
  for (uint32_t count = least_; count-- > 0;) {
    for (size_t s = 0; s < n; ++s) {
      live[count][s] = std::ranges::any_of(
          automaton_.states[s].edges, [&](const auto& edge) { return live[count + 1][edge.to]; });
    }
  }
  return live;
}

void CountedPattern::add_phases(StateId from, StateId to) {
  rule_ = builder_.rule_of(from);
  to_ = to;
  const size_t n = automaton_.states.size();
  for (size_t s = 0; s < n; ++s) middle_.push_back(builder_.add_state(rule_));
  const auto live = head_states();
  std::map<uint32_t, StateId> now = {{0, from}};
  for (uint32_t count = 0; count < least_; ++count) {
    std::map<uint32_t, StateId> next;
    for (const auto& [s, state] : now) {
      for (const auto& edge : automaton_.states[s].edges) {
        if (!live[count + 1][edge.to]) continue;
        const auto [place, is_new] = next.try_emplace(edge.to, 0);
        if (is_new) place->second = builder_.add_state(rule_);
        json_.add_plain(state, without_controls(edge.characters), place->second);
      }
    }
    now = std::move(next);
  }
  for (const auto& [s, state] : now) builder_.add_jump(state, middle_[s]);
  add_middle(to);
}

void CountedPattern::add_middle(StateId to) {
  builder_.set_counter(rule_, 0, most_ - least_ - longest_);
  for (uint32_t s = 0; s < middle_.size(); ++s) {
    const PatternAutomaton::State& state = automaton_.states[s];
    if (state.final) builder_.add_enough(middle_[s], to);
    if (!state.edges.empty()) {
      const StateId next = builder_.add_state(rule_);
      builder_.add_again(middle_[s], next);
      for (const auto& edge : state.edges) {
        json_.add_plain(next, without_controls(edge.characters), middle_[edge.to]);
      }
    }
    if (longest_ > 0) builder_.add_enough(middle_[s], tail(s, longest_));
  }
}

// Behind the middle, with so many characters left.
StateId CountedPattern::tail(uint32_t state, uint32_t left) {
  const auto [place, is_new] = tails_.try_emplace({state, left}, 0);
  if (!is_new) return place->second;
  const StateId here = place->second = builder_.add_state(rule_);
  if (automaton_.states[state].final) builder_.add_jump(here, to_);
  for (const auto& edge : automaton_.states[state].edges) {
    if (distance_[edge.to] >= left) continue;
    json_.add_plain(here, without_controls(edge.characters), tail(edge.to, left - 1));
  }
  return here;
}

}  // namespace anser
