// Bytes that requests may take together of one kind: taken before the work begins, and given back
// when it is over, so that what cannot fit is refused before anything is done for it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace anser {

// All functions may be called from any thread.
class MemoryBudget {
 public:
  explicit MemoryBudget(uint64_t most) : most_(most) {}

  // Counted until the last copy goes, which may be after the budget itself; nullptr: there is no
  // room.
  using Share = std::shared_ptr<void>;
  Share take(uint64_t bytes) {
    if (bytes > most_) return refuse();
    uint64_t before = *taken_;
    do {
      if (before > most_ - bytes) return refuse();
    } while (!taken_->compare_exchange_weak(before, before + bytes));
    return {taken_.get(), [taken = taken_, bytes](void*) { *taken -= bytes; }};
  }

  uint64_t most() const { return most_; }
  uint64_t taken() const { return *taken_; }
  uint64_t refused() const { return refused_; }

 private:
  Share refuse() {
    ++refused_;
    return nullptr;
  }

  const uint64_t most_;
  const std::shared_ptr<std::atomic<uint64_t>> taken_ = std::make_shared<std::atomic<uint64_t>>(0);
  std::atomic<uint64_t> refused_{0};
};

// Those of a server.
struct MemoryBudgets {
  explicit MemoryBudgets(uint64_t logprobs_bytes = uint64_t(512) << 20)
      : logprobs(logprobs_bytes) {}

  MemoryBudget logprobs;  // details of tokens, until whole answers are sent
};

}  // namespace anser
