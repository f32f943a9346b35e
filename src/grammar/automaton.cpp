#include "grammar/automaton.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace anser {
namespace {

using Kind = GrammarEdge::Kind;

// Ambiguous schemas have many stacks for one text. Beyond these the last ones found are dropped:
// each stack can be finished by itself, so what is written stays right, and there is a way on; only
// some right texts can no longer be written.
constexpr size_t kMaxStacks = 2048, kMaxExpanded = 1 << 14;

}  // namespace

size_t Automaton::NodeHash::operator()(const Node& node) const {
  uint64_t hash = node.state;
  for (const uint64_t part : {uint64_t(node.count), uint64_t(node.outer)}) {
    hash = (hash ^ (hash >> 29)) * 0x9e3779b97f4a7c15u + part;
  }
  hash *= 0xbf58476d1ce4e5b9u;
  return size_t(hash ^ (hash >> 32));
}

Automaton::Automaton(const Grammar& grammar) : grammar_(grammar) {
  ++expansion_;
  visit({grammar_.rules[grammar_.root].start, 0, kNone});
  Configuration first;
  expand(first);
  ANSER_CHECK(number(std::move(first)) == start());
}

uint32_t Automaton::node(const Node& node) {
  const auto [at, is_new] = node_ids_.try_emplace(node, uint32_t(nodes_.size()));
  if (is_new) {
    nodes_.push_back(node);
    depth_.push_back(node.outer == kNone ? 0 : depth_[node.outer] + 1);
    seen_.push_back(0);
  }
  return at->second;
}

// To be expanded, if its end can be reached without nesting too deep.
void Automaton::visit(const Node& to) {
  const uint32_t height = grammar_.states[to.state].height;
  const uint32_t depth = to.outer == kNone ? 0 : depth_[to.outer] + 1;
  if (height == kUnlimited || depth + height > kMaxCalls) return;
  open_.push_back(node(to));
}

// Follows all edges that read nothing from the nodes in open_, depth first: so that a stack that
// waits for a byte is found soon, however many there are.
void Automaton::expand(Configuration& into) {
  for (size_t expanded = 0; !open_.empty() && expanded < kMaxExpanded; ++expanded) {
    const uint32_t id = open_.back();
    open_.pop_back();
    if (std::exchange(seen_[id], expansion_) == expansion_) continue;
    const Node at = nodes_[id];
    const GrammarState& state = grammar_.states[at.state];
    const GrammarRule& rule = grammar_.rules[state.rule];
    const size_t first = open_.size();
    bool waits = false;
    for (const GrammarEdge& edge : state.edges) {
      switch (edge.kind) {
        case Kind::bytes:
          waits = true;
          break;
        case Kind::jump:
          visit({edge.to, at.count, at.outer});
          break;
        case Kind::again:
          if (at.count < rule.most) {
            // Without an upper limit it need not be counted further than the lower one.
            const uint32_t top = rule.most == kUnlimited ? rule.least : rule.most;
            visit({edge.to, std::min(at.count + 1, top), at.outer});
          }
          break;
        case Kind::enough:
          if (at.count >= rule.least) visit({edge.to, 0, at.outer});
          break;
        case Kind::call: {
          // Where nothing follows the call, the stack need not grow: alternatives of alternatives
          // become one stack.
          const GrammarState& after = grammar_.states[edge.to];
          const bool last = after.final && after.edges.empty();
          const uint32_t depth = depth_[id];
          if (after.height == kUnlimited || depth + after.height > kMaxCalls) break;
          const StateId start = grammar_.rules[edge.rule].start;
          const uint32_t callee = grammar_.states[start].height;
          if (callee == kUnlimited || depth + 1 + callee > kMaxCalls) break;
          visit({start, 0, last ? at.outer : node({edge.to, at.count, at.outer})});
          break;
        }
      }
    }
    std::reverse(open_.begin() + ptrdiff_t(first), open_.end());
    if (state.final) {
      if (at.outer == kNone) {
        into.complete = true;
      } else {
        open_.push_back(at.outer);
      }
    }
    if (waits) {
      into.stacks.push_back(id);
      if (into.stacks.size() == kMaxStacks) break;
    }
  }
  open_.clear();
}

Automaton::Id Automaton::number(Configuration&& configuration) {
  if (configuration.stacks.empty() && !configuration.complete) return kDead;
  const auto [at, is_new] =
      ids_.try_emplace({configuration.stacks, configuration.complete}, Id(configurations_.size()));
  if (is_new) {
    set_bytes_ += configuration.stacks.size() * 2 * sizeof(uint32_t);
    configurations_.push_back(std::move(configuration));
    steps_.resize(steps_.size() + size_t(grammar_.classes), kUnknown);
  }
  return at->second;
}

Automaton::Id Automaton::find_step(Id from, uint8_t byte) {
  ++expansion_;
  Configuration next;
  // The first stack's come first, also when some must be dropped.
  const std::vector<uint32_t>& stacks = configurations_[size_t(from)].stacks;
  for (auto stack = stacks.rbegin(); stack != stacks.rend(); ++stack) {
    const Node at = nodes_[*stack];
    for (const GrammarEdge& edge : grammar_.states[at.state].edges) {
      if (edge.kind != Kind::bytes || byte < edge.low || byte > edge.high) continue;
      visit({edge.to, at.count, at.outer});
    }
  }
  expand(next);
  const Id to = number(std::move(next));
  steps_[size_t(from) * size_t(grammar_.classes) + grammar_.class_of[byte]] = to;
  return to;
}

const TokenSet& Automaton::allowed(Id id, const TokenTree& tokens, size_t vocab) {
  if (configurations_[size_t(id)].allowed) return *configurations_[size_t(id)].allowed;
  auto set = std::make_unique<TokenSet>((vocab + 63) / 64);
  const std::span<const TokenTree::Node> nodes = tokens.nodes();
  path_.assign(tokens.depth() + 1, kDead);
  path_[0] = id;
  for (size_t i = 0; i + 1 < nodes.size();) {
    const TokenTree::Node& at = nodes[i];
    const Id to = step(path_[at.depth - 1], at.byte);
    if (to == kDead) {
      i = at.end;
      continue;
    }
    path_[at.depth] = to;
    for (const Token token : tokens.tokens(i)) {
      if (size_t(token) < vocab) (*set)[size_t(token) / 64] |= uint64_t{1} << token % 64;
    }
    ++i;
  }
  set_bytes_ += set->size() * sizeof(uint64_t);
  return *(configurations_[size_t(id)].allowed = std::move(set));
}

Automaton::Id Automaton::import(const Automaton& other, Id id) {
  const Configuration& from = other.configurations_[size_t(id)];
  Configuration copy;
  copy.complete = from.complete;
  std::vector<uint32_t> outward;
  for (const uint32_t stack : from.stacks) {
    outward.clear();
    for (uint32_t at = stack; at != kNone; at = other.nodes_[at].outer) outward.push_back(at);
    uint32_t outer = kNone;
    for (auto at = outward.rbegin(); at != outward.rend(); ++at) {
      const Node& old = other.nodes_[*at];
      outer = node({old.state, old.count, outer});
    }
    copy.stacks.push_back(outer);
  }
  return number(std::move(copy));
}

size_t Automaton::size() const {
  return steps_.size() * sizeof(Id) + nodes_.size() * 64 + configurations_.size() * 128 +
         set_bytes_;
}

}  // namespace anser
