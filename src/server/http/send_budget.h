// One budget for all answers that wait for their clients: whoever does not read what it has asked
// for must not take memory without end, however many connections it opens.
//
// When the budget is used up, the slowest client is cut off to make room, if there is one that does
// not read in time; else the newcomer has to come again. What is small always finds room: errors,
// /health, and streams whose clients read in time.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_set>

#include "server/http/load.h"

namespace anser::http {

class Exchange;

class SendBudget {
 public:
  using Clock = std::chrono::steady_clock;

  // So much of one answer always finds room.
  static constexpr uint64_t kSmall = 64 << 10;

  SendBudget(uint64_t most, std::shared_ptr<Load> load) : most_(most), load_(std::move(load)) {}

  uint64_t most() const { return most_; }

  // Counts so many bytes if there is room for them, or can be made. Locks other exchanges: the
  // caller must hold none of their locks.
  bool reserve(uint64_t bytes);
  void add(uint64_t bytes) { load_->answer_bytes += bytes; }
  void release(uint64_t bytes) { load_->answer_bytes -= bytes; }
  void count_refused() { ++load_->refused; }

  // What one exchange that holds more than kSmall has taken, and since when. Read without a lock.
  struct Progress {
    std::atomic<Clock::rep> since{0},
        last{0};  // of Clock: when it began to wait, and was last sent
    std::atomic<uint64_t> sent{0};
  };
  // Who may be cut off. Called with the exchange's lock held.
  void enter(Exchange& exchange);
  void leave(Exchange& exchange);

 private:
  bool cut_slowest();

  const uint64_t most_;
  const std::shared_ptr<Load> load_;
  std::mutex mutex_;  // no exchange's lock is taken while it is held
  std::unordered_set<Exchange*> holders_;
};

}  // namespace anser::http
