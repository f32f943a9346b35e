// What may follow: a grammar as an automaton whose states are found when a text first comes there.
//
// A configuration is a set of stacks, each the innermost state of the grammar and the calls around
// it. Configurations are numbered and their steps remembered, so that a byte is one look into a
// table most of the time. Not thread-safe.
//
// Everything lies in a few large blocks, so that an automaton of many megabytes is gone at once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/number_table.h"
#include "text/token_tree.h"

namespace anser {

// Ids of tokens that may come next, a bit each: id i is bit i % 64 of word i / 64.
using TokenSet = std::vector<uint64_t>;

class Automaton {
 public:
  // The grammar must outlive it.
  explicit Automaton(const Grammar& grammar);
  ~Automaton();
  Automaton(const Automaton&) = delete;
  Automaton& operator=(const Automaton&) = delete;

  using Id = int32_t;
  static constexpr Id kDead = -1;  // no text begins so

  Id start() const { return 0; }
  Id step(Id from, uint8_t byte) {
    const size_t at = size_t(from) * size_t(grammar_.classes) + grammar_.class_of[byte];
    return steps_[at] != kUnknown ? steps_[at] : find_step(from, byte);
  }
  // Whether the text may end here, and whether it may go on.
  bool complete(Id id) const { return configurations_[size_t(id)].complete; }
  bool open(Id id) const { return configurations_[size_t(id)].count > 0; }

  // Goes on finding the tokens that may come next, of ids below `vocab`, until they are found
  // (true) or `units` of work are done, which is lowered by what was. A unit takes some ten
  // nanoseconds. Throws Error where it is too much work altogether, and again ever after.
  bool prepare(Id id, const TokenTree& tokens, size_t vocab, size_t& units);
  // Whether prepare() was called.
  bool is_begun(Id id) const { return configurations_[size_t(id)].mask != nullptr; }
  bool is_ready(Id id) const {
    const Mask* const mask = configurations_[size_t(id)].mask.get();
    return mask != nullptr && mask->path.empty();
  }
  // Once prepare() was true. Valid as long as the automaton.
  const TokenSet& allowed(Id id) const { return configurations_[size_t(id)].mask->set; }

  // A configuration of another automaton of the same grammar.
  Id import(const Automaton& other, Id id);

  // Bytes in use, roughly; and of all automata of this program, when they were last asked.
  size_t size();
  static size_t size_of_all();

 private:
  static constexpr Id kUnknown = -2;
  static constexpr uint32_t kNone = UINT32_MAX;

  // A stack, as a list from the innermost call outwards: stacks share their outer parts.
  struct Node {
    StateId state;
    uint32_t count;  // of the rule's counter
    uint32_t outer;  // where the rule's end leads to; kNone
    bool operator==(const Node&) const = default;
  };
  // The walk over all tokens, as far as it has come.
  static constexpr size_t kBroken = SIZE_MAX;
  struct Mask {
    TokenSet set;
    size_t at = 0;                // of the tree's nodes
    std::vector<Id> path = {};    // the configurations before it; empty when the walk is over
    size_t units = 0, bytes = 0;  // of work done, and of what was remembered meanwhile
  };
  struct Configuration {
    // Its stacks are stacks_[first], ..., whose innermost states have edges of bytes, in the order
    // in which they were found.
    uint32_t first, count;
    bool complete;
    std::unique_ptr<Mask> mask = {};
  };

  uint32_t node(const Node& node);
  void visit(const Node& node);
  void expand();
  void follow(uint32_t id);
  Id number();
  size_t remembered() const;
  Id find_step(Id from, uint8_t byte);
  Mask& mask_of(Id id, const TokenTree& tokens, size_t vocab);
  Id find_step_for(Mask& mask, Id from, uint8_t byte);
  std::span<const uint32_t> stacks_of(const Configuration& configuration) const {
    return std::span(stacks_).subspan(configuration.first, configuration.count);
  }

  const Grammar& grammar_;
  std::vector<Node> nodes_;
  std::vector<uint32_t> depth_;  // of each node: how many are around it
  NumberTable node_ids_;
  std::vector<uint32_t> stacks_;  // of all configurations
  std::vector<Configuration> configurations_;
  NumberTable ids_;
  std::vector<Id> steps_;  // [configurations][classes]
  size_t mask_bytes_ = 0;
  size_t counted_ = 0;  // in size_of_all()
  size_t units_ = 0;    // of work, ever

  // Scratch.
  std::vector<uint32_t> seen_;  // of each node, the number of the last expansion that met it
  uint32_t expansion_ = 0;
  std::vector<uint32_t> open_;
  std::vector<uint32_t> found_;  // the stacks of the configuration in work, and whether it is
  bool complete_ = false;        // complete
};

}  // namespace anser
