// What may follow: a grammar as an automaton whose states are found when a text first comes there.
//
// A configuration is a set of stacks, each the innermost state of the grammar and the calls around
// it. Configurations are numbered and their steps remembered, so that a byte is one look into a
// table most of the time. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "grammar/grammar.h"
#include "text/token_tree.h"

namespace anser {

// Ids of tokens that may come next, a bit each: id i is bit i % 64 of word i / 64.
using TokenSet = std::vector<uint64_t>;

class Automaton {
 public:
  // The grammar must outlive it.
  explicit Automaton(const Grammar& grammar);

  using Id = int32_t;
  static constexpr Id kDead = -1;  // no text begins so

  Id start() const { return 0; }
  Id step(Id from, uint8_t byte) {
    const size_t at = size_t(from) * size_t(grammar_.classes) + grammar_.class_of[byte];
    return steps_[at] != kUnknown ? steps_[at] : find_step(from, byte);
  }
  // Whether the text may end here, and whether it may go on.
  bool complete(Id id) const { return configurations_[size_t(id)].complete; }
  bool open(Id id) const { return !configurations_[size_t(id)].stacks.empty(); }

  // The tokens that may come next, of ids below `vocab`. Valid as long as the automaton.
  const TokenSet& allowed(Id id, const TokenTree& tokens, size_t vocab);

  // A configuration of another automaton of the same grammar.
  Id import(const Automaton& other, Id id);

  // Bytes in use, roughly.
  size_t size() const;

 private:
  static constexpr Id kUnknown = -2;
  static constexpr uint32_t kNone = UINT32_MAX;

  // A stack, as a list from the innermost call outwards: stacks share their outer parts.
  struct Node {
    StateId state;
    uint32_t count;  // of the rule's counter
    uint32_t outer;  // where the rule's end leads to; kNone
    auto operator<=>(const Node&) const = default;
  };
  struct NodeHash {
    size_t operator()(const Node& node) const;
  };
  struct Configuration {
    // Whose innermost states have edges of bytes, in the order in which they were found.
    std::vector<uint32_t> stacks;
    bool complete = false;
    std::unique_ptr<TokenSet> allowed = {};
  };

  uint32_t node(const Node& node);
  void visit(const Node& node);
  void expand(Configuration& into);
  Id number(Configuration&& configuration);
  Id find_step(Id from, uint8_t byte);

  const Grammar& grammar_;
  std::vector<Node> nodes_;
  std::vector<uint32_t> depth_;  // of each node: how many are around it
  std::unordered_map<Node, uint32_t, NodeHash> node_ids_;
  std::vector<Configuration> configurations_;
  std::map<std::pair<std::vector<uint32_t>, bool>, Id> ids_;
  std::vector<Id> steps_;  // [configurations][classes]
  size_t set_bytes_ = 0;   // of stacks and token sets

  // Scratch.
  std::vector<uint32_t> seen_;  // of each node, the number of the last expansion that met it
  uint32_t expansion_ = 0;
  std::vector<uint32_t> open_;
  std::vector<Id> path_;
};

}  // namespace anser
