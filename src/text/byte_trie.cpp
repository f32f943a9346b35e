#include "text/byte_trie.h"

#include <bit>

namespace anser {

namespace {

constexpr size_t kBlock = 256;
// How many of the newest blocks are searched for room. More packs tighter and builds slower; with
// 16 the World vocabulary fills its blocks to 93 %.
constexpr size_t kOpenBlocks = 16;

// A node that waits for its children: the entries [begin, end) share their first `depth` bytes.
struct Pending {
  uint32_t node;
  uint32_t begin;
  uint32_t end;
  uint32_t depth;
};

}  // namespace

ByteTrie::ByteTrie(std::span<const Entry> sorted) : slots_(kBlock) {
  slots_[0].parent = kNoParent;
  std::vector<Pending> queue = {{0, 0, uint32_t(sorted.size()), 0}};
  std::vector<uint8_t> labels;
  std::vector<uint32_t> starts;
  std::vector<uint64_t> free(kBlock / 64, ~uint64_t{0});  // a bit a slot
  free[0] &= ~uint64_t{1};
  // Breadth first: the nodes with many children come while there is most room.
  for (size_t at = 0; at < queue.size(); ++at) {
    const Pending pending = queue[at];
    labels.clear();
    starts.clear();
    for (uint32_t i = pending.begin; i < pending.end; ++i) {
      const std::string_view bytes = sorted[i].bytes;
      if (bytes.size() == pending.depth) {
        Slot& slot = slots_[pending.node];
        if (slot.value < 0) slot.value = sorted[i].value;
        continue;
      }
      const uint8_t label = uint8_t(bytes[pending.depth]);
      if (labels.empty() || labels.back() != label) {
        labels.push_back(label);
        starts.push_back(i);
      }
    }
    if (labels.empty()) continue;
    starts.push_back(pending.end);
    const uint32_t children = place(labels, free);
    if (children == slots_.size()) {
      slots_.resize(slots_.size() + kBlock);
      free.resize(free.size() + kBlock / 64, ~uint64_t{0});
    }
    slots_[pending.node].children = children;
    for (size_t k = 0; k < labels.size(); ++k) {
      const uint32_t child = children ^ labels[k];
      slots_[child].parent = int32_t(pending.node);
      free[child / 64] &= ~(uint64_t{1} << child % 64);
      queue.push_back({child, starts[k], starts[k + 1], pending.depth + 1});
    }
  }
}

// A position such that every position ^ label is free. Only the newest blocks are searched, so that
// building stays linear whatever the vocabulary is.
uint32_t ByteTrie::place(std::span<const uint8_t> labels, const std::vector<uint64_t>& free) {
  const auto is_free = [&](uint32_t slot) { return (free[slot / 64] >> slot % 64 & 1) != 0; };
  const size_t open_words = kOpenBlocks * kBlock / 64;
  for (size_t w = free.size() > open_words ? free.size() - open_words : 0; w < free.size(); ++w) {
    for (uint64_t bits = free[w]; bits != 0; bits &= bits - 1) {
      const uint32_t slot = uint32_t(w * 64) + uint32_t(std::countr_zero(bits));
      const uint32_t position = slot ^ labels[0];
      bool fits = true;
      for (size_t k = 1; fits && k < labels.size(); ++k) fits = is_free(position ^ labels[k]);
      if (fits) return position;
    }
  }
  return uint32_t(slots_.size());  // a block that the caller adds
}

}  // namespace anser
