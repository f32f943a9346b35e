#include "grammar/grammar.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "anser/error.h"

namespace anser {
namespace {

using Kind = GrammarEdge::Kind;

}  // namespace

CircularRule::CircularRule(RuleId in_circle)
    : Error(
          "the schema refers to itself in a circle of $ref, anyOf or allOf with no object or list "
          "between; such a schema says nothing. Put the reference inside properties or items"),
      rule(in_circle) {}

NoText::NoText(std::vector<RuleId>&& without_end)
    : Error(fmt::format("no text satisfies the schema: something that is required can never be "
                        "written, or never ends, or needs more than {} levels",
                        kMaxCalls - 1)),
      rules(std::move(without_end)) {}

std::vector<RuleId> rules_without_end(const Grammar& grammar, RuleId from) {
  std::vector<RuleId> found;
  std::vector<uint8_t> seen(grammar.states.size());
  const auto visit = [&](RuleId rule, std::vector<StateId>& open) {
    const StateId start = grammar.rules[rule].start;
    if (seen[start] != 0 || grammar.states[start].height != kUnlimited) return;
    found.push_back(rule);
    seen[start] = 1;
    open.push_back(start);
  };
  std::vector<StateId> open;
  visit(from, open);
  for (size_t i = 0; i < found.size(); ++i) {
    if (i > 0) open = {grammar.rules[found[i]].start};
    while (!open.empty()) {
      const StateId at = open.back();
      open.pop_back();
      for (const GrammarEdge& edge : grammar.states[at].edges) {
        if (edge.kind == Kind::call) {
          std::vector<StateId> later;  // its states' turn comes with its rule's
          visit(edge.rule, later);
        }
        if (std::exchange(seen[edge.to], uint8_t{1}) == 0) open.push_back(edge.to);
      }
    }
  }
  return found;
}

RuleId GrammarBuilder::add_rule() {
  const RuleId rule = RuleId(grammar_.rules.size());
  grammar_.rules.push_back({});
  grammar_.rules[rule].start = add_state(rule);
  return rule;
}

StateId GrammarBuilder::add_state(RuleId rule) {
  budget_.add_state();
  grammar_.states.push_back({rule});
  return StateId(grammar_.states.size() - 1);
}

void GrammarBuilder::set_counter(RuleId rule, uint32_t least, uint32_t most) {
  grammar_.rules[rule].least = least;
  grammar_.rules[rule].most = most;
}

void GrammarBuilder::add(StateId from, GrammarEdge edge) {
  budget_.add_edge();
  grammar_.states[from].edges.push_back(edge);
}

void GrammarBuilder::add_bytes(StateId from, uint8_t low, uint8_t high, StateId to) {
  add(from, {Kind::bytes, low, high, 0, to});
}
void GrammarBuilder::add_jump(StateId from, StateId to) {
  add(from, {.kind = Kind::jump, .to = to});
}
void GrammarBuilder::add_call(StateId from, RuleId rule, StateId to) {
  add(from, {.kind = Kind::call, .rule = rule, .to = to});
}
void GrammarBuilder::add_again(StateId from, StateId to) {
  add(from, {.kind = Kind::again, .to = to});
}
void GrammarBuilder::add_enough(StateId from, StateId to) {
  add(from, {.kind = Kind::enough, .to = to});
}

std::optional<RuleId> GrammarBuilder::add_filtered(
    RuleId rule, const FilterStep& next, const std::function<bool(FilterState)>& accepts) {
  const RuleId filtered = add_rule();
  std::map<std::pair<StateId, FilterState>, StateId> known;
  std::vector<std::pair<StateId, FilterState>> open;
  const auto state_of = [&](StateId state, FilterState at) {
    const auto [found, is_new] = known.try_emplace({state, at}, 0);
    if (is_new) {
      found->second = add_state(filtered);
      open.push_back({state, at});
    }
    return found->second;
  };
  add_jump(start(filtered), state_of(start(rule), 0));
  while (!open.empty()) {
    const auto [state, at] = open.back();
    open.pop_back();
    const StateId from = known.at({state, at});
    if (grammar_.states[state].final && accepts(at)) finish_at(from);
    const std::vector<GrammarEdge> edges = grammar_.states[state].edges;  // which grow elsewhere
    for (const GrammarEdge& edge : edges) {
      if (edge.kind == Kind::jump) {
        add_jump(from, state_of(edge.to, at));
        continue;
      }
      if (edge.kind != Kind::bytes) return std::nullopt;
      for (int byte = edge.low; byte <= edge.high; ++byte) {
        const std::optional<FilterState> to = next(at, uint8_t(byte));
        if (to) add_bytes(from, uint8_t(byte), uint8_t(byte), state_of(edge.to, *to));
      }
    }
  }
  return filtered;
}

void GrammarBuilder::add_text(StateId from, std::string_view bytes, StateId to) {
  if (bytes.empty()) return add_jump(from, to);
  const RuleId rule = grammar_.states[from].rule;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const StateId next = i + 1 == bytes.size() ? to : add_state(rule);
    add_bytes(from, uint8_t(bytes[i]), uint8_t(bytes[i]), next);
    from = next;
  }
}

void GrammarBuilder::add_characters(StateId from, uint32_t low, uint32_t high, StateId to,
                                    SharedBytes& shared) {
  // Ranges of one length, around the surrogates.
  static constexpr std::pair<uint32_t, uint32_t> kLengths[] = {
      {0, 0x7f}, {0x80, 0x7ff}, {0x800, 0xd7ff}, {0xe000, 0xffff}, {0x10000, 0x10ffff}};
  static constexpr int kBytes[] = {1, 2, 3, 3, 4};
  for (size_t i = 0; i < std::size(kLengths); ++i) {
    const uint32_t first = std::max(low, kLengths[i].first);
    const uint32_t last = std::min(high, kLengths[i].second);
    if (first <= last) add_sequence(from, first, last, kBytes[i], to, shared);
  }
}

// Cuts a range until every byte is free of the others: then it is one path.
void GrammarBuilder::add_sequence(StateId from, uint32_t low, uint32_t high, int length, StateId to,
                                  SharedBytes& shared) {
  for (int i = 1; i < length; ++i) {
    const uint32_t tail = (1u << (6 * i)) - 1;
    if ((low & ~tail) == (high & ~tail)) continue;
    if ((low & tail) != 0) {
      add_sequence(from, low, low | tail, length, to, shared);
      add_sequence(from, (low | tail) + 1, high, length, to, shared);
      return;
    }
    if ((high & tail) != tail) {
      add_sequence(from, low, (high & ~tail) - 1, length, to, shared);
      add_sequence(from, high & ~tail, high, length, to, shared);
      return;
    }
  }
  static constexpr uint8_t kLead[] = {0, 0x00, 0xc0, 0xe0, 0xf0};
  for (int i = length - 1; i >= 0; --i) {
    const bool first = i == length - 1;
    const auto byte = [&](uint32_t c) {
      return uint8_t(first ? kLead[length] | (c >> (6 * i)) : 0x80 | (c >> (6 * i) & 0x3f));
    };
    if (i == 0) return add_bytes(from, byte(low), byte(high), to);
    const auto [next, is_new] = shared.try_emplace({from, byte(low), byte(high)}, 0);
    if (is_new) {
      next->second = add_state(grammar_.states[from].rule);
      add_bytes(from, byte(low), byte(high), next->second);
    }
    from = next->second;
  }
}

// From the ends backwards, in the order of heights: so each state's is found once. Where a call is
// needed the height is that of the callee and one more, or of what follows, whichever is larger.
void GrammarBuilder::find_heights() {
  auto& states = grammar_.states;
  // The edges that depend on a state's height, as lists within one: state s has those of
  // [begin[s], begin[s + 1]).
  struct Use {
    StateId state;
    uint32_t edge;
  };
  std::vector<uint32_t> begin(states.size() + 1);
  const auto for_each_use = [&](auto&& work) {
    for (StateId s = 0; s < states.size(); ++s) {
      for (uint32_t e = 0; e < states[s].edges.size(); ++e) {
        const GrammarEdge& edge = states[s].edges[e];
        work(edge.to, Use{s, e});
        if (edge.kind == Kind::call) work(grammar_.rules[edge.rule].start, Use{s, e});
      }
    }
  };
  for_each_use([&](StateId of, const Use&) { ++begin[of + 1]; });
  for (size_t s = 0; s < states.size(); ++s) begin[s + 1] += begin[s];
  std::vector<Use> uses(begin.back());
  std::vector<uint32_t> next(begin.begin(), begin.end() - 1);
  for_each_use([&](StateId of, const Use& use) { uses[next[of]++] = use; });

  std::array<std::vector<StateId>, kMaxCalls + 1> found;  // of each height, some found lower since
  for (StateId s = 0; s < states.size(); ++s) {
    if (!states[s].final) continue;
    states[s].height = 0;
    found[0].push_back(s);
  }
  for (uint32_t height = 0; height <= kMaxCalls; ++height) {
    for (size_t i = 0; i < found[height].size(); ++i) {
      const StateId at = found[height][i];
      if (states[at].height < height) continue;
      for (uint32_t u = begin[at]; u < begin[at + 1]; ++u) {
        GrammarState& state = states[uses[u].state];
        const GrammarEdge& edge = state.edges[uses[u].edge];
        uint32_t needed = states[edge.to].height;
        if (edge.kind == Kind::call && needed != kUnlimited) {
          const uint32_t callee = grammar_.start_of(edge.rule).height;
          needed = callee == kUnlimited ? kUnlimited : std::max(needed, callee + 1);
        }
        if (needed > kMaxCalls || needed >= state.height) continue;
        state.height = needed;
        found[needed].push_back(uses[u].state);
      }
    }
  }
}

// A rule that can call itself before a byte is read could be entered for ever.
void GrammarBuilder::check_recursion() const {
  const auto& rules = grammar_.rules;
  // Which rules can be empty, by repetition until nothing changes: they are few and shallow.
  std::vector<bool> empty(rules.size());
  std::vector<std::vector<RuleId>> first(rules.size());  // that are called before anything is read
  std::vector<uint32_t> seen(grammar_.states.size());
  uint32_t walk = 0;
  std::vector<StateId> open_states;
  for (bool changed = true; changed;) {
    changed = false;
    for (RuleId rule = 0; rule < rules.size(); ++rule) {
      if (empty[rule]) continue;
      first[rule].clear();
      open_states = {rules[rule].start};
      seen[rules[rule].start] = ++walk;
      while (!open_states.empty()) {
        const GrammarState& state = grammar_.states[open_states.back()];
        open_states.pop_back();
        if (state.final) empty[rule] = changed = true;
        for (const GrammarEdge& edge : state.edges) {
          if (edge.kind == Kind::bytes) continue;
          if (edge.kind == Kind::call) {
            first[rule].push_back(edge.rule);
            if (!empty[edge.rule]) continue;
          }
          if (std::exchange(seen[edge.to], walk) != walk) open_states.push_back(edge.to);
        }
      }
    }
  }
  // Depth first: a rule that is met while it is open is in a circle.
  enum : uint8_t { unknown, open, done };
  std::vector<uint8_t> mark(rules.size(), unknown);
  std::vector<std::pair<RuleId, size_t>> path;
  for (RuleId begin = 0; begin < rules.size(); ++begin) {
    if (mark[begin] != unknown) continue;
    path = {{begin, 0}};
    mark[begin] = open;
    while (!path.empty()) {
      auto& [rule, next] = path.back();
      if (next == first[rule].size()) {
        mark[rule] = done;
        path.pop_back();
        continue;
      }
      const RuleId callee = first[rule][next++];
      if (mark[callee] == open) throw CircularRule(callee);
      if (mark[callee] == unknown) {
        mark[callee] = open;
        path.push_back({callee, 0});
      }
    }
  }
}

// So that a state whose bytes all lead nowhere does not wait for one.
void GrammarBuilder::drop_dead_ends() {
  for (GrammarState& state : grammar_.states) {
    std::erase_if(state.edges, [&](const GrammarEdge& edge) {
      return edge.kind == Kind::bytes && grammar_.states[edge.to].height == kUnlimited;
    });
  }
}

void GrammarBuilder::find_classes() {
  // Where two neighbours are told apart.
  std::array<bool, 257> border = {};
  for (const GrammarState& state : grammar_.states) {
    if (state.height == kUnlimited) continue;
    for (const GrammarEdge& edge : state.edges) {
      if (edge.kind != Kind::bytes) continue;
      border[edge.low] = border[edge.high + 1] = true;
      std::fill(&grammar_.used[edge.low], &grammar_.used[edge.high] + 1, true);
    }
  }
  int current = 0;
  for (int byte = 0; byte < 256; ++byte) {
    if (byte > 0 && border[size_t(byte)]) ++current;
    grammar_.class_of[size_t(byte)] = uint8_t(current);
  }
  grammar_.classes = current + 1;
}

Grammar GrammarBuilder::build(RuleId root) && {
  grammar_.root = root;
  check_recursion();
  find_heights();
  if (grammar_.start_of(root).height == kUnlimited) {
    throw NoText(rules_without_end(grammar_, root));
  }
  drop_dead_ends();
  find_classes();
  return std::move(grammar_);
}

}  // namespace anser
