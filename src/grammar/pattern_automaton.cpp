#include "grammar/pattern_automaton.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

namespace anser {
namespace {

constexpr size_t kMaxStates = 30'000, kMaxEdges = 60'000;

// Of what the ends of a set of characters are compared by, once for all sets of one pattern.
using SetId = uint32_t;

// The pattern's states as PatternWriter writes them. What reads a character is an edge; edges are
// what the sets of the automaton consist of.
struct Written {
  struct Edge {
    SetId set;
    uint32_t to;
  };
  std::vector<std::vector<uint32_t>> jumps, edges;  // of each state
  std::vector<Edge> all_edges;
  std::vector<Characters> sets;
  std::map<std::vector<std::pair<uint32_t, uint32_t>>, SetId> set_ids;
  struct TooLarge {};

  // Those that have assertions are not for this one.
  void add_assertion(uint32_t, const Expression&, uint32_t) { throw TooLarge(); }
  uint32_t add_state() {
    if (jumps.size() == kMaxStates) throw TooLarge();
    jumps.emplace_back();
    edges.emplace_back();
    return uint32_t(jumps.size() - 1);
  }
  void add_jump(uint32_t from, uint32_t to) { jumps[from].push_back(to); }
  void add_characters(uint32_t from, const Characters& characters, uint32_t to) {
    if (characters.empty()) return;
    if (all_edges.size() == kMaxEdges) throw TooLarge();
    std::vector<std::pair<uint32_t, uint32_t>> key;
    for (const auto& [low, high] : characters) key.push_back({low, high});
    const auto [id, is_new] = set_ids.try_emplace(std::move(key), SetId(sets.size()));
    if (is_new) sets.push_back(tidy(characters));
    edges[from].push_back(uint32_t(all_edges.size()));
    all_edges.push_back({id->second, to});
  }
};

// What may be read next: edges in ascending order, each the first of those that are equal to it;
// and kEnd at the end where nothing need be.
using Set = std::vector<uint32_t>;
constexpr uint32_t kEnd = UINT32_MAX;

class Determiniser {
 public:
  Determiniser(const Expression& pattern, CompileBudget& budget) : budget_(budget) {
    start_ = written_.add_state();
    end_ = written_.add_state();
    PatternWriter<Written>(written_).add(start_, pattern, end_);
    seen_.resize(written_.jumps.size());
    for (size_t i = 0; i < written_.all_edges.size(); ++i) equal_.push_back(uint32_t(i));
  }

  std::optional<PatternAutomaton> run() {
    join_equal_edges();
    const size_t most = 2 * written_.all_edges.size() + 256;
    number(behind({start_}));
    for (size_t i = 0; i < sets_.size(); ++i) {
      if (sets_.size() > most) return std::nullopt;
      follow(uint32_t(i));
    }
    return std::move(automaton_);
  }

 private:
  // Steps of some nanoseconds.
  void spend(size_t steps) {
    if (!budget_.may_simplify(steps)) throw Written::TooLarge();
  }

  // All that may be read from these states on; or some of it, if that are more than so many.
  Set behind(const std::vector<uint32_t>& states, size_t most = kMaxEdges) {
    Set set;
    ++walk_;
    std::vector<uint32_t> open = states;
    size_t steps = 0;
    bool ends = false;
    while (!open.empty() && set.size() <= most) {
      const uint32_t at = open.back();
      open.pop_back();
      if (std::exchange(seen_[at], walk_) == walk_) continue;
      steps += 1 + written_.jumps[at].size() + written_.edges[at].size();
      ends |= at == end_;
      for (const uint32_t edge : written_.edges[at]) set.push_back(equal_[edge]);
      open.insert(open.end(), written_.jumps[at].begin(), written_.jumps[at].end());
    }
    std::ranges::sort(set);
    set.erase(std::unique(set.begin(), set.end()), set.end());
    if (ends) set.push_back(kEnd);
    spend(4 * steps);
    return set;
  }

  // Edges that read the same characters and are followed by the same ones are one: of the hundred
  // endings of ".*a.*|.*b.*|..." one is left. Where an edge is followed by itself, that counts as
  // the same, too.
  void join_equal_edges() {
    constexpr size_t kMaxRounds = 8, kMost = 64;
    for (size_t round = 0; round < kMaxRounds; ++round) {
      bool joined = false;
      for (const bool with_itself : {false, true}) {
        std::map<std::pair<SetId, Set>, uint32_t> first;
        for (uint32_t edge = 0; edge < equal_.size(); ++edge) {
          if (equal_[edge] != edge) continue;
          Set next = behind({written_.all_edges[edge].to}, kMost);
          if (next.size() > kMost) continue;  // rather too many than too much work
          if (with_itself) {
            std::ranges::replace(next, edge, kEnd - 1);
            std::ranges::sort(next);
          }
          const auto [other, is_new] =
              first.try_emplace({written_.all_edges[edge].set, std::move(next)}, edge);
          if (is_new) continue;
          equal_[edge] = other->second;
          joined = true;
        }
        for (uint32_t& edge : equal_) edge = equal_[edge];
      }
      if (!joined) return;
    }
  }

  uint32_t number(Set&& set) {
    const auto [id, is_new] = ids_.try_emplace(std::move(set), uint32_t(sets_.size()));
    if (is_new) {
      sets_.push_back(&id->first);
      automaton_.states.push_back({!id->first.empty() && id->first.back() == kEnd});
    }
    return id->second;
  }

  // Cuts the characters where an edge begins or ends to count; what leads to the same states
  // becomes one edge.
  void follow(uint32_t from) {
    struct Border {
      uint32_t at, to;
      bool begins;
    };
    std::vector<Border> borders;
    for (const uint32_t edge : *sets_[from]) {
      if (edge == kEnd) continue;
      const auto& [set, to] = written_.all_edges[edge];
      for (const auto& [low, high] : written_.sets[set]) {
        borders.push_back({low, to, true});
        borders.push_back({high + 1, to, false});
      }
    }
    spend(32 * borders.size());
    std::ranges::sort(borders, {}, &Border::at);
    std::map<uint32_t, int> active;
    std::map<uint32_t, Characters> edges;
    for (size_t i = 0; i < borders.size();) {
      const uint32_t low = borders[i].at;
      for (; i < borders.size() && borders[i].at == low; ++i) {
        int& count = active[borders[i].to];
        count += borders[i].begins ? 1 : -1;
        if (count == 0) active.erase(borders[i].to);
      }
      if (active.empty()) continue;
      edges[target(active)].push_back({low, borders[i].at - 1});
    }
    for (auto& [to, characters] : edges) {
      automaton_.states[from].edges.push_back({tidy(std::move(characters)), to});
    }
  }

  uint32_t target(const std::map<uint32_t, int>& active) {
    std::vector<uint32_t> states;
    for (const auto& [state, count] : active) states.push_back(state);
    spend(8 * states.size());
    const auto known = targets_.find(states);
    if (known != targets_.end()) return known->second;
    const uint32_t to = number(behind(states));
    targets_.emplace(std::move(states), to);
    return to;
  }

  CompileBudget& budget_;
  Written written_;
  uint32_t start_, end_;
  std::vector<uint32_t> equal_;  // of each edge the first that is equal to it
  std::vector<uint32_t> seen_;   // of each state the number of the last walk that met it
  uint32_t walk_ = 0;
  PatternAutomaton automaton_;
  std::map<Set, uint32_t> ids_;
  std::vector<const Set*> sets_;
  std::map<std::vector<uint32_t>, uint32_t> targets_;
};

}  // namespace

std::optional<PatternAutomaton> deterministic(const Expression& pattern, CompileBudget& budget) {
  if (has_assertions(pattern)) return deterministic_with_assertions(pattern, budget);
  try {
    return Determiniser(pattern, budget).run();
  } catch (const Written::TooLarge&) {
    return std::nullopt;
  }
}

}  // namespace anser
