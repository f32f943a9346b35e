#include "grammar/pattern_algebra.h"

#include <algorithm>
#include <deque>
#include <map>
#include <tuple>
#include <utility>

#include "text/utf8.h"

namespace anser {
namespace {

using State = PatternAutomaton::State;

constexpr size_t kMaxProduct = 20'000;  // states
// What is made minimal: others are written as they are.
constexpr size_t kMaxRefined = 2'000;
constexpr int kMaxRounds = 40;

// For each state those that lead to it.
std::vector<std::vector<uint32_t>> sources(const PatternAutomaton& automaton) {
  std::vector<std::vector<uint32_t>> from(automaton.states.size());
  for (uint32_t s = 0; s < automaton.states.size(); ++s) {
    for (const auto& edge : automaton.states[s].edges) from[edge.to].push_back(s);
  }
  return from;
}

Characters joined(const std::vector<PatternAutomaton::Edge>& edges) {
  Characters all;
  for (const auto& edge : edges) {
    all.insert(all.end(), edge.characters.begin(), edge.characters.end());
  }
  return tidy(std::move(all));
}

bool is_everything(const Characters& characters) {
  return characters.size() == 1 && characters[0].low == 0 && characters[0].high == kLastCharacter;
}

// Edges to one state as one edge, in the order of states.
std::vector<PatternAutomaton::Edge> merged_edges(std::map<uint32_t, Characters>&& by_target) {
  std::vector<PatternAutomaton::Edge> edges;
  for (auto& [to, characters] : by_target) edges.push_back({tidy(std::move(characters)), to});
  return edges;
}

// The blocks of states that no text tells apart, as the number of each state's block.
class Partition {
 public:
  Partition(const PatternAutomaton& automaton, CompileBudget& budget)
      : automaton_(automaton), budget_(budget), block_(automaton.states.size()) {}

  // False if that would take too long.
  bool refine() {
    if (block_.size() > kMaxRefined) return false;
    int rounds = 0;
    for (size_t s = 0; s < block_.size(); ++s) block_[s] = automaton_.states[s].final ? 1 : 0;
    for (size_t before = 0, now = 1; now != before;) {
      before = now;
      if (++rounds > kMaxRounds) return false;
      std::map<std::vector<uint32_t>, uint32_t> ids;
      std::vector<uint32_t> next(block_.size());
      for (size_t s = 0; s < block_.size(); ++s) {
        std::vector<uint32_t> key = signature(s);
        if (!budget_.may_simplify(8 * key.size())) return false;
        next[s] = ids.try_emplace(std::move(key), uint32_t(ids.size())).first->second;
      }
      block_ = std::move(next);
      now = ids.size();
    }
    return true;
  }

  PatternAutomaton join() const {
    PatternAutomaton small;
    std::map<uint32_t, uint32_t> ids;  // of blocks: the start's first
    std::vector<size_t> first;
    for (size_t s = 0; s < block_.size(); ++s) {
      if (ids.try_emplace(block_[s], uint32_t(ids.size())).second) first.push_back(s);
    }
    for (const size_t s : first) {
      std::map<uint32_t, Characters> edges;
      for (const auto& edge : automaton_.states[s].edges) {
        Characters& all = edges[ids.at(block_[edge.to])];
        all.insert(all.end(), edge.characters.begin(), edge.characters.end());
      }
      small.states.push_back({automaton_.states[s].final, merged_edges(std::move(edges))});
    }
    return small;
  }

 private:
  std::vector<uint32_t> signature(size_t state) const {
    std::map<uint32_t, Characters> edges;
    for (const auto& edge : automaton_.states[state].edges) {
      Characters& all = edges[block_[edge.to]];
      all.insert(all.end(), edge.characters.begin(), edge.characters.end());
    }
    std::vector<uint32_t> key = {block_[state]};
    for (auto& [to, characters] : edges) {
      key.push_back(to);
      const Characters tidied = tidy(std::move(characters));
      key.push_back(uint32_t(tidied.size()));
      for (const auto& [low, high] : tidied) key.push_back(low), key.push_back(high);
    }
    return key;
  }

  const PatternAutomaton& automaton_;
  CompileBudget& budget_;
  std::vector<uint32_t> block_;
};

}  // namespace

Characters common(const Characters& a, const Characters& b) {
  Characters both;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const uint32_t low = std::max(a[i].low, b[j].low), high = std::min(a[i].high, b[j].high);
    if (low <= high) both.push_back({low, high});
    (a[i].high < b[j].high ? i : j) += 1;
  }
  return both;
}

PatternAutomaton trimmed(const PatternAutomaton& automaton) {
  const auto& states = automaton.states;
  const auto mark = [&](std::vector<uint32_t> open, auto&& neighbours) {
    std::vector<bool> seen(states.size());
    while (!open.empty()) {
      const uint32_t at = open.back();
      open.pop_back();
      if (seen[at]) continue;
      seen[at] = true;
      neighbours(at, open);
    }
    return seen;
  };
  const std::vector<bool> reached = mark({0}, [&](uint32_t at, std::vector<uint32_t>& open) {
    for (const auto& edge : states[at].edges) open.push_back(edge.to);
  });
  std::vector<uint32_t> ends;
  for (uint32_t s = 0; s < states.size(); ++s) {
    if (states[s].final) ends.push_back(s);
  }
  const auto from = sources(automaton);
  const std::vector<bool> ending =
      mark(std::move(ends), [&](uint32_t at, std::vector<uint32_t>& open) {
        open.insert(open.end(), from[at].begin(), from[at].end());
      });
  PatternAutomaton small;
  std::vector<uint32_t> ids(states.size(), UINT32_MAX);
  for (uint32_t s = 0; s < states.size(); ++s) {
    if (s != 0 && !(reached[s] && ending[s])) continue;
    ids[s] = uint32_t(small.states.size());
    small.states.push_back({states[s].final});
  }
  for (uint32_t s = 0; s < states.size(); ++s) {
    if (ids[s] == UINT32_MAX) continue;
    for (const auto& edge : states[s].edges) {
      if (ids[edge.to] == UINT32_MAX || !ending[edge.to]) continue;
      small.states[ids[s]].edges.push_back({edge.characters, ids[edge.to]});
    }
  }
  return small;
}

PatternAutomaton minimal(const PatternAutomaton& automaton, CompileBudget& budget) {
  PatternAutomaton small = trimmed(automaton);
  Partition partition(small, budget);
  return partition.refine() ? partition.join() : small;
}

std::optional<PatternAutomaton> intersection(const PatternAutomaton& a, const PatternAutomaton& b,
                                             CompileBudget& budget) {
  PatternAutomaton both;
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> ids;
  std::deque<std::pair<uint32_t, uint32_t>> open;
  const auto number = [&](uint32_t x, uint32_t y) {
    const auto [id, is_new] = ids.try_emplace({x, y}, uint32_t(both.states.size()));
    if (is_new) {
      both.states.push_back({a.states[x].final && b.states[y].final});
      open.push_back({x, y});
    }
    return id->second;
  };
  number(0, 0);
  for (uint32_t at = 0; !open.empty(); ++at) {
    const auto [x, y] = open.front();
    open.pop_front();
    std::map<uint32_t, Characters> edges;
    size_t steps = 8;
    for (const auto& first : a.states[x].edges) {
      for (const auto& second : b.states[y].edges) {
        steps += first.characters.size() + second.characters.size();
        const Characters characters = common(first.characters, second.characters);
        if (characters.empty()) continue;
        Characters& all = edges[number(first.to, second.to)];
        all.insert(all.end(), characters.begin(), characters.end());
      }
    }
    if (both.states.size() > kMaxProduct || !budget.may_simplify(4 * steps)) return std::nullopt;
    both.states[at].edges = merged_edges(std::move(edges));
  }
  return trimmed(both);
}

PatternAutomaton complement(const PatternAutomaton& automaton) {
  PatternAutomaton other = automaton;
  const uint32_t outside = uint32_t(other.states.size());
  for (State& state : other.states) {
    state.final = !state.final;
    Characters rest;
    uint32_t low = 0;
    for (const auto& [first, last] : joined(state.edges)) {
      if (low < first) rest.push_back({low, first - 1});
      low = last + 1;
    }
    if (low <= kLastCharacter) rest.push_back({low, kLastCharacter});
    if (!rest.empty()) state.edges.push_back({std::move(rest), outside});
  }
  other.states.push_back({true, {{{{0, kLastCharacter}}, outside}}});
  return trimmed(other);
}

bool accepts_all(const PatternAutomaton& automaton, uint32_t state) {
  const State& at = automaton.states[state];
  return at.final && at.edges.size() == 1 && at.edges[0].to == state &&
         is_everything(at.edges[0].characters);
}

bool accepts(const PatternAutomaton& automaton, std::string_view utf8) {
  uint32_t at = 0;
  for (const uint32_t c : code_points(utf8)) {
    const auto& edges = automaton.states[at].edges;
    const auto edge = std::ranges::find_if(edges, [&](const PatternAutomaton::Edge& one) {
      return std::ranges::any_of(one.characters,
                                 [&](const auto& r) { return r.low <= c && c <= r.high; });
    });
    if (edge == edges.end()) return false;
    at = edge->to;
  }
  return automaton.states[at].final;
}

std::vector<uint32_t> distances_to_end(const PatternAutomaton& automaton) {
  const auto from = sources(automaton);
  std::vector<uint32_t> distance(automaton.states.size(), kUnlimited);
  std::deque<uint32_t> open;
  for (uint32_t s = 0; s < automaton.states.size(); ++s) {
    if (!automaton.states[s].final) continue;
    distance[s] = 0;
    open.push_back(s);
  }
  for (; !open.empty(); open.pop_front()) {
    for (const uint32_t s : from[open.front()]) {
      if (distance[s] != kUnlimited) continue;
      distance[s] = distance[open.front()] + 1;
      open.push_back(s);
    }
  }
  return distance;
}

// By taking away states that nothing leads to any more; those of a circle stay.
uint32_t longest_text(const PatternAutomaton& automaton) {
  const auto& states = automaton.states;
  std::vector<size_t> leading(states.size());
  for (const State& state : states) {
    for (const auto& edge : state.edges) ++leading[edge.to];
  }
  std::vector<uint32_t> open, longest(states.size());
  for (uint32_t s = 0; s < states.size(); ++s) {
    if (leading[s] == 0) open.push_back(s);
  }
  size_t taken = 0;
  uint32_t most = 0;
  for (; !open.empty(); ++taken) {
    const uint32_t at = open.back();
    open.pop_back();
    if (states[at].final) most = std::max(most, longest[at]);
    for (const auto& edge : states[at].edges) {
      longest[edge.to] = std::max(longest[edge.to], longest[at] + 1);
      if (--leading[edge.to] == 0) open.push_back(edge.to);
    }
  }
  return taken == states.size() ? most : kUnlimited;
}

std::optional<PatternAutomaton> counted(const PatternAutomaton& automaton, uint32_t least,
                                        uint32_t most, size_t max_states, CompileBudget& budget) {
  PatternAutomaton all;
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> ids;
  std::deque<std::pair<uint32_t, uint32_t>> open;
  const auto number = [&](uint32_t state, uint32_t count) {
    const auto [id, is_new] = ids.try_emplace({state, count}, uint32_t(all.states.size()));
    if (is_new) {
      all.states.push_back({automaton.states[state].final && count >= least});
      open.push_back({state, count});
    }
    return id->second;
  };
  number(0, 0);
  for (uint32_t at = 0; !open.empty(); ++at) {
    const auto [state, count] = open.front();
    open.pop_front();
    if (count == most) continue;
    // Without an upper limit it need not be counted further than the lower one.
    const uint32_t next = most == kUnlimited ? std::min(count + 1, least) : count + 1;
    for (const auto& edge : automaton.states[state].edges) {
      const uint32_t to = number(edge.to, next);
      all.states[at].edges.push_back({edge.characters, to});
      if (!budget.may_simplify(8 + 8 * edge.characters.size())) return std::nullopt;
    }
    if (all.states.size() > max_states) return std::nullopt;
  }
  return trimmed(all);
}

}  // namespace anser
