// All tokens of a vocabulary by their bytes, to be walked from front to back: what begins alike is
// looked at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "anser/tokenizer.h"
#include "text/byte_trie.h"

namespace anser {

class TokenTree {
 public:
  // Entries sorted by bytes; those with the same bytes are all kept.
  explicit TokenTree(std::span<const ByteTrie::Entry> sorted);

  // A node is followed by the nodes of its children and theirs, up to `end`.
  struct Node {
    uint32_t end;
    uint32_t tokens;  // where in a list of all tokens its own begin
    uint16_t depth;   // >= 1
    uint8_t byte;
  };
  // The last is none: it ends the list.
  std::span<const Node> nodes() const { return nodes_; }
  // That have exactly the bytes from the root to this node.
  std::span<const Token> tokens(size_t node) const {
    return std::span(tokens_).subspan(nodes_[node].tokens,
                                      nodes_[node + 1].tokens - nodes_[node].tokens);
  }
  size_t depth() const { return depth_; }  // of the longest token

 private:
  std::vector<Node> nodes_;
  std::vector<Token> tokens_;
  size_t depth_ = 0;
};

}  // namespace anser
