// Who waits for a server that keeps silent: one at a time, not all after each other.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>

namespace anser {

// After a call has waited in vain no other is let through for a second; then one is, and the rest
// once it has heard something. May be used by many threads.
class Breaker {
 public:
  // Whether a call may be tried now. One that may must end in answered() or gave_up(), unless it
  // has seen in_vain() change.
  bool admits();
  // Something has come of it, be it a refusal.
  void answered();
  // It has waited in vain for so many seconds.
  void gave_up(double seconds);

  // How often calls have waited in vain: who sees it change while waiting need not wait any longer.
  uint64_t in_vain() const;
  // How long the last one of them has waited.
  double seconds() const;

 private:
  using Clock = std::chrono::steady_clock;

  mutable std::mutex mutex_;  // of all below
  bool open_ = false, trying_ = false;
  Clock::time_point next_try_;
  uint64_t in_vain_ = 0;
  double seconds_ = 0;
};

}  // namespace anser
