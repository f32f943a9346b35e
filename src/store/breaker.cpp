#include "store/breaker.h"

namespace anser {
namespace {

constexpr auto kPause = std::chrono::seconds(1);

}  // namespace

bool Breaker::admits() {
  const std::lock_guard lock(mutex_);
  if (!open_) return true;
  if (trying_ || Clock::now() < next_try_) return false;
  trying_ = true;
  return true;
}

void Breaker::answered() {
  const std::lock_guard lock(mutex_);
  open_ = trying_ = false;
}

void Breaker::gave_up(double seconds) {
  const std::lock_guard lock(mutex_);
  open_ = true;
  trying_ = false;
  next_try_ = Clock::now() + kPause;
  seconds_ = seconds;
  ++in_vain_;
}

uint64_t Breaker::in_vain() const {
  const std::lock_guard lock(mutex_);
  return in_vain_;
}

double Breaker::seconds() const {
  const std::lock_guard lock(mutex_);
  return seconds_;
}

}  // namespace anser
