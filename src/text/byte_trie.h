// Longest match among byte strings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace anser {

// A double array: all nodes lie in one array of slots, and the child of a node by byte b lies at
// `children ^ b`, where it is the node's child only if it names the node as its parent. So a step
// is one look into memory, and a node costs 12 bytes however many children it has. (The World
// vocabulary has 116 000 nodes, most with one child; a table of 256 children each would be 119 MB.)
class ByteTrie {
 public:
  struct Entry {
    std::string_view bytes;  // not empty
    int32_t value;           // >= 0
  };
  // Entries sorted by bytes; of equal ones the first counts. The bytes are not referred to later.
  explicit ByteTrie(std::span<const Entry> sorted);

  struct Match {
    int32_t value = -1;  // -1: no entry matches
    size_t length = 0;
  };
  // The longest entry that `text` begins with.
  Match longest(std::string_view text) const {
    Match best;
    uint32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      const uint32_t next = slots_[node].children ^ uint8_t(text[i]);
      if (slots_[next].parent != int32_t(node)) break;
      node = next;
      if (slots_[node].value >= 0) best = {slots_[node].value, i + 1};
    }
    return best;
  }

  size_t slots() const { return slots_.size(); }

 private:
  static constexpr int32_t kFree = -1;
  static constexpr int32_t kNoParent = -2;  // the root, slot 0
  struct Slot {
    int32_t parent = kFree;
    // Where the children are. A leaf keeps 0: what lies in block 0 names other parents.
    uint32_t children = 0;
    int32_t value = -1;
  };

  uint32_t place(std::span<const uint8_t> labels, const std::vector<uint64_t>& free);

  std::vector<Slot> slots_;  // whole blocks of 256, because children ^ b stays inside a block
};

}  // namespace anser
