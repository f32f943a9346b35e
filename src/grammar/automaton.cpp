#include "grammar/automaton.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "anser/error.h"
#include "base/check.h"

namespace anser {
namespace {

using Kind = GrammarEdge::Kind;

// Ambiguous schemas have many stacks for one text. Beyond these the last ones found are dropped:
// each stack can be finished by itself, so what is written stays right, and there is a way on; only
// some right texts can no longer be written.
constexpr size_t kMaxStacks = 2048, kMaxExpanded = 1 << 14, kMaxEdges = 1 << 17;

// Of one mask: a fifth of a second of work, and 24 MB. Of 7,446 schemas that people wrote none
// needs more than a hundredth of it.
constexpr size_t kMaxUnits = 16'000'000, kMaxBytes = 24 << 20;

std::atomic<size_t> all_bytes = 0;

uint64_t mixed(uint64_t hash, uint64_t part) {
  hash = (hash ^ part) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 29);
}

[[noreturn]] void fail_ambiguous() {
  throw Error(
      "the schema is too ambiguous: a text can be read in so many ways that it takes too long to "
      "find out what may follow it. Use simpler patterns and fewer alternatives that begin alike");
}

uint64_t finished(uint64_t hash) {
  hash *= 0xbf58476d1ce4e5b9u;
  return hash ^ (hash >> 32);
}

}  // namespace

Automaton::Automaton(const Grammar& grammar) : grammar_(grammar) {
  ++expansion_;
  visit({grammar_.rules[grammar_.root].start, 0, kNone});
  expand();
  ANSER_CHECK(number() == start());
}

Automaton::~Automaton() {
  all_bytes -= counted_;
}

uint32_t Automaton::node(const Node& node) {
  const uint64_t hash = finished(mixed(mixed(node.state, node.count), node.outer));
  const auto [id, is_new] = node_ids_.find_or_add(
      hash, uint32_t(nodes_.size()), [&](uint32_t other) { return nodes_[other] == node; });
  units_ += is_new ? 6 : 2;
  if (is_new) {
    nodes_.push_back(node);
    depth_.push_back(node.outer == kNone ? 0 : depth_[node.outer] + 1);
    seen_.push_back(0);
  }
  return id;
}

// To be expanded, if its end can be reached without nesting too deep.
void Automaton::visit(const Node& to) {
  const uint32_t height = grammar_.states[to.state].height;
  const uint32_t depth = to.outer == kNone ? 0 : depth_[to.outer] + 1;
  if (height == kUnlimited || depth + height > kMaxCalls) return;
  open_.push_back(node(to));
}

// Follows all edges that read nothing from the nodes in open_, depth first: so that a stack that
// waits for a byte is found soon, however many there are. The stacks come to found_.
void Automaton::expand() {
  found_.clear();
  complete_ = false;
  const size_t begin = units_;
  const auto is_too_much = [&](size_t expanded) {
    return expanded >= kMaxExpanded || (units_ - begin > kMaxEdges && !found_.empty());
  };
  for (size_t expanded = 0; !open_.empty() && !is_too_much(expanded); ++expanded) {
    const uint32_t id = open_.back();
    open_.pop_back();
    if (std::exchange(seen_[id], expansion_) == expansion_) continue;
    const size_t first = open_.size();
    follow(id);
    std::reverse(open_.begin() + ptrdiff_t(first), open_.end());
    const Node at = nodes_[id];
    const GrammarState& state = grammar_.states[at.state];
    if (state.final) {
      if (at.outer == kNone) {
        complete_ = true;
      } else {
        open_.push_back(at.outer);
      }
    }
    if (found_.size() == kMaxStacks) break;
  }
  open_.clear();
}

void Automaton::follow(uint32_t id) {
  const Node at = nodes_[id];
  const GrammarState& state = grammar_.states[at.state];
  const GrammarRule& rule = grammar_.rules[state.rule];
  units_ += 1 + state.edges.size();
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
  if (waits) found_.push_back(id);
}

// Of the configuration in found_ and complete_.
Automaton::Id Automaton::number() {
  if (found_.empty() && !complete_) return kDead;
  uint64_t hash = complete_ ? 1 : 0;
  for (const uint32_t stack : found_) hash = mixed(hash, stack);
  const auto is_it = [&](uint32_t id) {
    const Configuration& other = configurations_[id];
    return other.complete == complete_ && std::ranges::equal(stacks_of(other), found_);
  };
  const auto [id, is_new] =
      ids_.find_or_add(finished(hash), uint32_t(configurations_.size()), is_it);
  if (is_new) {
    configurations_.push_back({uint32_t(stacks_.size()), uint32_t(found_.size()), complete_});
    stacks_.insert(stacks_.end(), found_.begin(), found_.end());
    steps_.resize(steps_.size() + size_t(grammar_.classes), kUnknown);
  }
  return Id(id);
}

Automaton::Id Automaton::find_step(Id from, uint8_t byte) {
  ++expansion_;
  // The first stack's come first, also when some must be dropped.
  const std::span<const uint32_t> stacks = stacks_of(configurations_[size_t(from)]);
  for (auto stack = stacks.rbegin(); stack != stacks.rend(); ++stack) {
    const Node at = nodes_[*stack];
    units_ += grammar_.states[at.state].edges.size();
    for (const GrammarEdge& edge : grammar_.states[at.state].edges) {
      if (edge.kind != Kind::bytes || byte < edge.low || byte > edge.high) continue;
      visit({edge.to, at.count, at.outer});
    }
  }
  expand();
  const Id to = number();
  steps_[size_t(from) * size_t(grammar_.classes) + grammar_.class_of[byte]] = to;
  return to;
}

// Bytes of nodes and configurations, tables included.
size_t Automaton::remembered() const {
  return nodes_.size() * (sizeof(Node) + 24) + stacks_.size() * sizeof(uint32_t) +
         configurations_.size() * (sizeof(Configuration) + 16) + steps_.size() * sizeof(Id);
}

Automaton::Mask& Automaton::mask_of(Id id, const TokenTree& tokens, size_t vocab) {
  std::unique_ptr<Mask>& mask = configurations_[size_t(id)].mask;
  if (mask == nullptr) {
    mask = std::make_unique<Mask>(Mask{TokenSet((vocab + 63) / 64)});
    mask->path.assign(tokens.depth() + 1, kDead);
    mask->path[0] = id;
    mask_bytes_ += mask->set.size() * sizeof(uint64_t) + sizeof(Mask);
  }
  return *mask;  // stays where it is
}

// A step that is not known yet, done for a mask.
Automaton::Id Automaton::find_step_for(Mask& mask, Id from, uint8_t byte) {
  if (mask.units > kMaxUnits || mask.bytes > kMaxBytes) fail_ambiguous();
  const size_t units_before = units_, bytes_before = remembered();
  const Id to = find_step(from, byte);
  mask.units += units_ - units_before;
  mask.bytes += remembered() - bytes_before;
  return to;
}

bool Automaton::prepare(Id id, const TokenTree& tokens, size_t vocab, size_t& units) {
  Mask& mask = mask_of(id, tokens, vocab);
  if (mask.path.empty()) return true;
  const std::span<const TokenTree::Node> nodes = tokens.nodes();
  const std::span<Id> path = mask.path;
  // Whatever ends the walk with an exception, it cannot go on.
  size_t i = std::exchange(mask.at, kBroken), left = units;
  if (i == kBroken) fail_ambiguous();
  while (i + 1 < nodes.size() && left > 0) {
    const TokenTree::Node& at = nodes[i];
    const Id from = path[at.depth - 1];
    Id to = steps_[size_t(from) * size_t(grammar_.classes) + grammar_.class_of[at.byte]];
    --left;
    if (to == kUnknown) {
      const size_t before = mask.units;
      to = find_step_for(mask, from, at.byte);
      left -= std::min(left, mask.units - before);
    }
    if (to == kDead) {
      i = at.end;
      continue;
    }
    path[at.depth] = to;
    for (const Token token : tokens.tokens(i)) {
      if (size_t(token) < vocab) mask.set[size_t(token) / 64] |= uint64_t{1} << token % 64;
    }
    ++i;
  }
  mask.at = i;
  units = left;
  if (i + 1 < nodes.size()) return false;
  mask.path = {};
  return true;
}

Automaton::Id Automaton::import(const Automaton& other, Id id) {
  const Configuration& from = other.configurations_[size_t(id)];
  found_.clear();
  complete_ = from.complete;
  std::vector<uint32_t> outward;
  for (const uint32_t stack : other.stacks_of(from)) {
    outward.clear();
    for (uint32_t at = stack; at != kNone; at = other.nodes_[at].outer) outward.push_back(at);
    uint32_t outer = kNone;
    for (auto at = outward.rbegin(); at != outward.rend(); ++at) {
      const Node& old = other.nodes_[*at];
      outer = node({old.state, old.count, outer});
    }
    found_.push_back(outer);
  }
  return number();
}

size_t Automaton::size() {
  const auto bytes = [](const auto& list) { return list.capacity() * sizeof(list[0]); };
  const size_t now = bytes(nodes_) + bytes(depth_) + bytes(seen_) + bytes(stacks_) +
                     bytes(configurations_) + bytes(steps_) + node_ids_.bytes() + ids_.bytes() +
                     mask_bytes_;
  all_bytes += now - std::exchange(counted_, now);
  return now;
}

size_t Automaton::size_of_all() {
  return all_bytes;
}

}  // namespace anser
