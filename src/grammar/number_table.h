// Things that are numbered in the order in which they were first seen, found by their hash: a table
// of numbers, while the things lie elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace anser {

class NumberTable {
 public:
  // The number of the thing with this hash for which `is_it(number)`; else `next`, which is that of
  // a new one from now on.
  template <class IsIt>
  std::pair<uint32_t, bool> find_or_add(uint64_t hash, uint32_t next, IsIt&& is_it) {
    if ((used_ + 1) * 4 > slots_.size() * 3) grow();
    const size_t mask = slots_.size() - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
      Slot& slot = slots_[at];
      if (slot.number == kEmpty) {
        slot = {uint32_t(hash >> 32), next};
        ++used_;
        hashes_low_.push_back(uint32_t(hash));
        return {next, true};
      }
      if (slot.tag == uint32_t(hash >> 32) && is_it(slot.number)) return {slot.number, false};
    }
  }

  size_t bytes() const {
    return slots_.capacity() * sizeof(Slot) + hashes_low_.capacity() * sizeof(uint32_t);
  }

 private:
  static constexpr uint32_t kEmpty = UINT32_MAX;
  struct Slot {
    uint32_t tag = 0, number = kEmpty;
  };

  void grow() {
    std::vector<Slot> larger(slots_.empty() ? 64 : slots_.size() * 2);
    const size_t mask = larger.size() - 1;
    for (const Slot& slot : slots_) {
      if (slot.number == kEmpty) continue;
      size_t at = hashes_low_[slot.number] & mask;
      while (larger[at].number != kEmpty) at = (at + 1) & mask;
      larger[at] = slot;
    }
    slots_ = std::move(larger);
  }

  std::vector<Slot> slots_;           // a power of two of them
  std::vector<uint32_t> hashes_low_;  // of each number
  size_t used_ = 0;
};

}  // namespace anser
