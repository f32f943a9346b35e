// States after the beginnings of texts, so that no beginning is read twice.
//
// A tree over tokens: a path from the root is a text's beginning, and a node may keep the state
// that has read it. A state is all there is to a context, so a hit is exact: on a CPU going on from
// it gives the same bits as reading everything again.
//
// What is kept is bounded in bytes. When there is no room the state goes whose loss costs least:
// the tokens that would have to be read again, from the next kept state above it, for each second
// that nobody has asked for it.
//
// Not thread-safe: it belongs to the scheduler's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "anser/state.h"
#include "anser/tokenizer.h"

namespace anser {

class PrefixCache {
 public:
  // `state_bytes`: of one state, with its logits. 0 for `most_bytes` keeps nothing.
  PrefixCache(size_t most_bytes, size_t state_bytes);
  ~PrefixCache();

  struct Hit {
    size_t tokens = 0;             // of the text that the state has read
    const State* state = nullptr;  // valid until the next put(); nullptr: nothing is known
    // Where the text leaves the paths of others, if that is beyond `tokens`: a state there would
    // have been of use, and will be. 0: nowhere.
    size_t branch = 0;
  };
  // The longest beginning of `tokens` with a state. `origin` says what the text begins from, ""
  // being the model's initial state: beginnings of different origins have nothing in common.
  Hit find(const std::string& origin, std::span<const Token> tokens);

  // Keeps a copy of `state`, which has read `tokens` from `origin`.
  void put(const std::string& origin, std::span<const Token> tokens, const State& state);

  // Forgets everything.
  void clear();

  size_t states() const { return kept_.size(); }
  size_t bytes() const { return kept_.size() * state_bytes_; }

  // Seconds, always growing; for tests.
  std::function<double()> clock;

 private:
  struct Node;
  // The node at the end of `tokens`, made if need be.
  Node& node_at(Node& root, std::span<const Token> tokens);
  void make_room();
  void drop(Node& node);

  const size_t most_states_, state_bytes_;
  std::map<std::string, std::unique_ptr<Node>> roots_;
  std::vector<Node*> kept_;  // those that have a state
};

}  // namespace anser
