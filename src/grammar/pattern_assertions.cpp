// Patterns that look ahead, or say within them where the text begins or ends.
//
// A way through such a pattern has duties: what is to come must be a text of other automata, too,
// each of which reads along. A state of the resulting automaton is a set of ways.
#include <algorithm>
#include <compare>
#include <map>
#include <set>
#include <utility>

#include "grammar/pattern_algebra.h"
#include "grammar/pattern_automaton.h"

namespace anser {
namespace {

constexpr size_t kMaxWritten = 30'000, kMaxStates = 5'000, kMaxDepth = 4;
struct TooLarge {};

using SetId = uint32_t;

// The pattern's states as PatternWriter writes them.
struct Written {
  struct Edge {
    SetId set;
    uint32_t to;
  };
  struct Assertion {
    const Expression* what;
    uint32_t to;
  };
  std::vector<std::vector<uint32_t>> jumps;
  std::vector<std::vector<Edge>> edges;
  std::vector<std::vector<Assertion>> assertions;
  std::vector<Characters> sets;

  uint32_t add_state() {
    if (jumps.size() == kMaxWritten) throw TooLarge();
    jumps.emplace_back();
    edges.emplace_back();
    assertions.emplace_back();
    return uint32_t(jumps.size() - 1);
  }
  void add_jump(uint32_t from, uint32_t to) { jumps[from].push_back(to); }
  void add_characters(uint32_t from, const Characters& characters, uint32_t to) {
    if (characters.empty()) return;
    Characters set = tidy(characters);
    const auto is_it = [&](const Characters& other) {
      return std::ranges::equal(other, set, [](const auto& a, const auto& b) {
        return a.low == b.low && a.high == b.high;
      });
    };
    // Few patterns have more than some sets of their own; those of many go on adding the last.
    const auto begin = sets.size() > 64 ? sets.end() - 64 : sets.begin();
    const auto known = std::find_if(begin, sets.end(), is_it);
    edges[from].push_back({SetId(known - sets.begin()), to});
    if (known == sets.end()) sets.push_back(std::move(set));
  }
  void add_assertion(uint32_t from, const Expression& what, uint32_t to) {
    assertions[from].push_back({&what, to});
  }
};

bool has_begin(const Expression& expression) {
  return expression.kind == Expression::Kind::begin ||
         std::ranges::any_of(expression.parts, has_begin);
}

// Characters that no set tells apart, as ranges; and of each set which of these it has.
class Alphabet {
 public:
  Alphabet(const std::vector<const Characters*>& sets, CompileBudget& budget) {
    std::vector<uint32_t> borders = {0};
    for (const Characters* set : sets) {
      for (const auto& [low, high] : *set) {
        borders.push_back(low);
        if (high < kLastCharacter) borders.push_back(high + 1);
      }
    }
    std::ranges::sort(borders);
    borders.erase(std::unique(borders.begin(), borders.end()), borders.end());
    std::vector<std::vector<uint32_t>> members(borders.size());
    for (uint32_t i = 0; i < sets.size(); ++i) {
      for (const auto& [low, high] : *sets[i]) {
        size_t at = size_t(std::ranges::lower_bound(borders, low) - borders.begin());
        for (; at < borders.size() && borders[at] <= high; ++at) {
          members[at].push_back(i);
          if (!budget.may_simplify(8)) throw TooLarge();
        }
      }
    }
    std::map<std::vector<uint32_t>, size_t> ids;
    for (size_t i = 0; i < borders.size(); ++i) {
      const uint32_t high = i + 1 < borders.size() ? borders[i + 1] - 1 : kLastCharacter;
      const auto [id, is_new] = ids.try_emplace(members[i], classes_.size());
      if (is_new) classes_.emplace_back();
      classes_[id->second].push_back({borders[i], high});
    }
  }

  size_t size() const { return classes_.size(); }
  const Characters& characters(size_t one) const { return classes_[one]; }
  bool has(const Characters& set, size_t one) const {
    const uint32_t c = classes_[one][0].low;
    const auto at = std::ranges::lower_bound(set, c, {}, &CharacterRange::high);
    return at != set.end() && at->low <= c;
  }

 private:
  std::vector<Characters> classes_;
};

class AssertionDeterminiser {
 public:
  AssertionDeterminiser(const Expression& pattern, bool at_begin, size_t depth,
                        CompileBudget& budget)
      : at_begin_(at_begin), depth_(depth), budget_(budget) {
    if (depth > kMaxDepth) throw TooLarge();
    start_ = written_.add_state();
    end_ = written_.add_state();
    PatternWriter<Written>(written_).add(start_, pattern, end_);
    automata_.push_back({{{true}}});  // kNothing
    for (const auto& list : written_.assertions) {
      for (const auto& [what, to] : list) find_automata(*what);
    }
  }

  PatternAutomaton run() {
    std::vector<const Characters*> sets;
    for (const Characters& set : written_.sets) sets.push_back(&set);
    for (const PatternAutomaton& one : automata_) {
      for (const auto& state : one.states) {
        for (const auto& edge : state.edges) sets.push_back(&edge.characters);
      }
    }
    const Alphabet alphabet(sets, budget_);
    fill_tables(alphabet);
    Ways first;
    follow({start_, {}}, at_begin_, first);
    number(std::move(first));
    for (uint32_t at = 0; at < found_.size(); ++at) {
      if (found_.size() > kMaxStates) throw TooLarge();
      std::map<uint32_t, Characters> edges;
      for (size_t one = 0; one < alphabet.size(); ++one) {
        Ways next = step(*found_[at], one);
        if (next.empty()) continue;
        Characters& all = edges[number(std::move(next))];
        const Characters& more = alphabet.characters(one);
        all.insert(all.end(), more.begin(), more.end());
      }
      for (auto& [to, characters] : edges) {
        automaton_.states[at].edges.push_back({tidy(std::move(characters)), to});
      }
    }
    return minimal(automaton_, budget_);
  }

 private:
  static constexpr uint32_t kNothing = 0;  // the automaton of the empty text
  static constexpr uint32_t kNone = UINT32_MAX;

  // What is to come is a text of an automaton from one of its states on.
  struct Duty {
    uint32_t automaton, state;
    auto operator<=>(const Duty&) const = default;
  };
  struct Way {
    uint32_t state;
    std::vector<Duty> duties;  // sorted
    auto operator<=>(const Way&) const = default;
  };
  using Ways = std::vector<Way>;  // sorted

  void spend(size_t steps) {
    if (!budget_.may_simplify(steps)) throw TooLarge();
  }

  // Of what may stand where the text begins, and elsewhere.
  void find_automata(const Expression& what) {
    if (what.kind != Expression::Kind::ahead || of_.contains(&what)) return;
    const Expression whole = {Expression::Kind::sequence, {}, {what.parts[0], any_text()}};
    const auto add = [&](bool at_begin) {
      PatternAutomaton one = AssertionDeterminiser(whole, at_begin, depth_ + 1, budget_).run();
      if (what.negative) one = minimal(complement(one), budget_);
      automata_.push_back(std::move(one));
      return uint32_t(automata_.size() - 1);
    };
    const uint32_t later = add(false);
    const bool differs = at_begin_ && has_begin(what);
    of_[&what] = {later, differs ? add(true) : later};
  }

  // False: it cannot be done. True, and nothing added, where everything will do.
  bool add_duty(std::vector<Duty>& duties, const Duty& duty) const {
    const auto& state = automata_[duty.automaton].states[duty.state];
    if (!state.final && state.edges.empty()) return false;
    if (accepts_all(automata_[duty.automaton], duty.state)) return true;
    const auto place = std::ranges::lower_bound(duties, duty);
    if (place == duties.end() || *place != duty) duties.insert(place, duty);
    return true;
  }

  // All ways on that read nothing, to where something is read, or to the end.
  void follow(Way from, bool at_begin, Ways& found) {
    std::vector<Way> open = {std::move(from)};
    std::set<Way> seen;
    while (!open.empty()) {
      Way way = std::move(open.back());
      open.pop_back();
      spend(64 + 16 * way.duties.size());
      if (!seen.insert(way).second) continue;
      for (const uint32_t to : written_.jumps[way.state]) open.push_back({to, way.duties});
      for (const auto& [what, to] : written_.assertions[way.state]) {
        if (what->kind == Expression::Kind::begin && !at_begin) continue;
        Way next = {to, way.duties};
        if (what->kind == Expression::Kind::end && !add_duty(next.duties, {kNothing, 0})) continue;
        if (what->kind == Expression::Kind::ahead) {
          const auto& [later, begin] = of_.at(what);
          if (!add_duty(next.duties, {at_begin ? begin : later, 0})) continue;
        }
        open.push_back(std::move(next));
      }
      if (way.state == end_ || !written_.edges[way.state].empty()) found.push_back(std::move(way));
    }
  }

  void fill_tables(const Alphabet& alphabet) {
    classes_ = alphabet.size();
    spend(4 * written_.sets.size() * classes_);
    for (const Characters& set : written_.sets) {
      for (size_t one = 0; one < classes_; ++one) reads_.push_back(alphabet.has(set, one));
    }
    for (const PatternAutomaton& automaton : automata_) {
      std::vector<uint32_t>& table = tables_.emplace_back();
      table.resize(automaton.states.size() * classes_, kNone);
      for (size_t s = 0; s < automaton.states.size(); ++s) {
        const auto& edges = automaton.states[s].edges;
        spend((1 + 4 * edges.size()) * classes_);
        for (const auto& edge : edges) {
          for (size_t one = 0; one < classes_; ++one) {
            if (alphabet.has(edge.characters, one)) table[s * classes_ + one] = edge.to;
          }
        }
      }
    }
  }

  Ways step(const Ways& ways, size_t one) {
    Ways next;
    for (const Way& way : ways) {
      std::vector<Duty> duties;
      bool possible = !written_.edges[way.state].empty();
      spend(16 + 16 * way.duties.size() + 4 * written_.edges[way.state].size());
      for (size_t i = 0; i < way.duties.size() && possible; ++i) {
        const auto& [automaton, state] = way.duties[i];
        const uint32_t to = tables_[automaton][state * classes_ + one];
        possible = to != kNone && add_duty(duties, {automaton, to});
      }
      if (!possible) continue;
      for (const auto& [set, to] : written_.edges[way.state]) {
        if (reads_[set * classes_ + one]) follow({to, duties}, false, next);
      }
    }
    tidy_ways(next);
    return next;
  }

  // Sorted, each once, and without those that have more duties than another one.
  void tidy_ways(Ways& ways) {
    std::ranges::sort(ways);
    ways.erase(std::unique(ways.begin(), ways.end()), ways.end());
    spend(ways.size() * ways.size());
    Ways kept;
    for (const Way& way : ways) {
      const bool needless = std::ranges::any_of(ways, [&](const Way& other) {
        return other.state == way.state && other.duties.size() < way.duties.size() &&
               std::ranges::includes(way.duties, other.duties);
      });
      if (!needless) kept.push_back(way);
    }
    ways = std::move(kept);
  }

  bool is_final(const Ways& ways) const {
    return std::ranges::any_of(ways, [&](const Way& way) {
      return way.state == end_ && std::ranges::all_of(way.duties, [&](const Duty& duty) {
               return automata_[duty.automaton].states[duty.state].final;
             });
    });
  }

  uint32_t number(Ways&& ways) {
    tidy_ways(ways);
    const bool final = is_final(ways);
    const auto [id, is_new] = ids_.try_emplace(std::move(ways), uint32_t(found_.size()));
    if (is_new) {
      found_.push_back(&id->first);
      automaton_.states.push_back({final});
    }
    return id->second;
  }

  const bool at_begin_;
  const size_t depth_;
  CompileBudget& budget_;
  Written written_;
  uint32_t start_, end_;
  std::vector<PatternAutomaton> automata_;
  std::map<const Expression*, std::pair<uint32_t, uint32_t>> of_;  // later, and at the begin
  size_t classes_ = 0;
  std::vector<bool> reads_;                    // [sets][classes]
  std::vector<std::vector<uint32_t>> tables_;  // of each automaton: [states][classes]; kNone
  PatternAutomaton automaton_;
  std::map<Ways, uint32_t> ids_;
  std::vector<const Ways*> found_;
};

}  // namespace

std::optional<PatternAutomaton> deterministic_with_assertions(const Expression& pattern,
                                                              CompileBudget& budget) {
  try {
    return AssertionDeterminiser(pattern, true, 0, budget).run();
  } catch (const TooLarge&) {
    return std::nullopt;
  }
}

}  // namespace anser
