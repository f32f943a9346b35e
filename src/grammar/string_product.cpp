#include "grammar/string_product.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "anser/error.h"
#include "text/utf8.h"

namespace anser {
namespace {

constexpr size_t kMaxStates = 20'000;

const Characters kEvery = {{0, kLastCharacter}};

// Where a state leads to with a character.
const PatternAutomaton::Edge* edge_of(const PatternAutomaton::State& state, uint32_t character) {
  for (const PatternAutomaton::Edge& edge : state.edges) {
    for (const auto [low, high] : edge.characters) {
      if (low <= character && character <= high) return &edge;
    }
  }
  return nullptr;
}

}  // namespace

PatternAutomaton automaton_of_strings(std::span<const std::string> strings) {
  PatternAutomaton automaton;
  automaton.states.emplace_back();
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> children;
  for (const std::string& text : strings) {
    uint32_t at = 0;
    for (const uint32_t c : code_points(text)) {
      const auto [child, is_new] = children.try_emplace({at, c}, automaton.states.size());
      if (is_new) {
        automaton.states[at].edges.push_back({{{c, c}}, child->second});
        automaton.states.emplace_back();
      }
      at = child->second;
    }
    automaton.states[at].final = true;
  }
  return automaton;
}

PatternAutomaton automaton_of_lengths(uint32_t least, uint32_t most, CompileBudget& budget) {
  PatternAutomaton automaton;
  const uint32_t last = most == kUnlimited ? least : most;
  for (uint32_t length = 0; length <= last; ++length) {
    budget.add_state();
    automaton.states.push_back({length >= least});
    if (length < last) automaton.states.back().edges.push_back({kEvery, length + 1});
  }
  if (most == kUnlimited) automaton.states.back().edges.push_back({kEvery, last});
  return automaton;
}

bool reads(const PatternAutomaton& automaton, std::string_view text) {
  const PatternAutomaton::State* at = automaton.states.data();
  for (const uint32_t c : code_points(text)) {
    const PatternAutomaton::Edge* const edge = edge_of(*at, c);
    if (edge == nullptr) return false;
    at = &automaton.states[edge->to];
  }
  return at->final;
}

StringProduct::Readers StringProduct::add(const PatternAutomaton& automaton, bool needed) {
  if (automata_.size() == kMost) {
    throw Error(fmt::format("more than {} patterns and lists meet here", kMost));
  }
  automata_.push_back(&automaton);
  needed_.push_back(needed);
  return Readers{1} << (automata_.size() - 1);
}

// Nothing where one that is needed cannot read on.
std::optional<StringProduct::States> StringProduct::after(const States& states,
                                                          uint32_t character) const {
  States next(states.size(), kDead);
  for (size_t i = 0; i < states.size(); ++i) {
    if (states[i] != kDead) {
      const PatternAutomaton::Edge* const edge =
          edge_of(automata_[i]->states[states[i]], character);
      if (edge != nullptr) next[i] = edge->to;
    }
    if (needed_[i] && next[i] == kDead) return std::nullopt;
  }
  return next;
}

StringProduct::Readers StringProduct::readers(const States& states) const {
  Readers all = 0;
  for (size_t i = 0; i < states.size(); ++i) {
    if (states[i] != kDead && automata_[i]->states[states[i]].final) all |= Readers{1} << i;
  }
  return all;
}

// Characters from which on, until the next of these, all automata do the same.
std::vector<uint32_t> StringProduct::borders(const States& states) const {
  std::vector<uint32_t> at = {0};
  for (size_t i = 0; i < states.size(); ++i) {
    if (states[i] == kDead) continue;
    for (const auto& edge : automata_[i]->states[states[i]].edges) {
      for (const auto [low, high] : edge.characters) {
        at.push_back(low);
        if (high < kLastCharacter) at.push_back(high + 1);
      }
    }
  }
  std::ranges::sort(at);
  at.erase(std::unique(at.begin(), at.end()), at.end());
  return at;
}

void StringProduct::write(GrammarBuilder& builder, JsonRules& json, StateId from, const End& end) {
  std::map<States, StateId> known;
  std::deque<std::pair<States, StateId>> open;
  const auto state_of = [&](const States& states) {
    const auto [at, is_new] = known.try_emplace(states, 0);
    if (is_new) {
      if (known.size() > kMaxStates) throw Error("patterns that meet here are too large together");
      budget_.spend(16 + 8 * states.size());
      at->second = builder.add_state(builder.rule_of(from));
      open.emplace_back(states, at->second);
    }
    return at->second;
  };
  builder.add_jump(from, state_of(States(automata_.size(), 0)));
  for (; !open.empty(); open.pop_front()) {
    const auto [states, state] = open.front();
    if (const std::optional<StateId> to = end(readers(states))) builder.add_jump(state, *to);
    const std::vector<uint32_t> cuts = borders(states);
    budget_.spend(16 * cuts.size() * (1 + automata_.size()));
    std::map<StateId, Characters> edges;
    for (size_t i = 0; i < cuts.size(); ++i) {
      const std::optional<States> next = after(states, cuts[i]);
      if (!next) continue;
      const uint32_t last = i + 1 < cuts.size() ? cuts[i + 1] - 1 : kLastCharacter;
      edges[state_of(*next)].push_back({cuts[i], last});
    }
    for (const auto& [to, characters] : edges) json.add_plain(state, characters, to);
  }
}

}  // namespace anser
