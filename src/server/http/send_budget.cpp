#include "server/http/send_budget.h"

#include <vector>

#include "server/http/exchange.h"

namespace anser::http {
namespace {

using std::chrono::duration;

// A client is slow that has had so long and has read fewer bytes a second than this, or has read
// nothing for so long.
constexpr double kGraceSeconds = 2;
constexpr double kSlowBytesPerSecond = 64 << 10;
constexpr double kStillSeconds = 1;

double seconds_since(SendBudget::Clock::rep then, SendBudget::Clock::time_point now) {
  return duration<double>(now.time_since_epoch() - SendBudget::Clock::duration(then)).count();
}

}  // namespace

bool SendBudget::reserve(uint64_t bytes) {
  if (bytes > most_) return false;
  for (;;) {
    uint64_t before = load_->answer_bytes;
    while (before <= most_ - bytes) {
      if (load_->answer_bytes.compare_exchange_weak(before, before + bytes)) return true;
    }
    if (!cut_slowest()) return false;
  }
}

void SendBudget::enter(Exchange& exchange) {
  const std::lock_guard lock(mutex_);
  holders_.insert(&exchange);
}

void SendBudget::leave(Exchange& exchange) {
  const std::lock_guard lock(mutex_);
  holders_.erase(&exchange);
}

// False: there is none that does not read in time.
bool SendBudget::cut_slowest() {
  const Clock::time_point now = Clock::now();
  // Let go of without the lock, which the last reference to one takes.
  std::vector<std::shared_ptr<Exchange>> looked_at;
  Exchange* slowest = nullptr;
  double least = 0;
  {
    const std::lock_guard lock(mutex_);
    for (Exchange* exchange : holders_) {
      const Progress& progress = exchange->progress();
      const double seconds = seconds_since(progress.since, now);
      if (seconds < kGraceSeconds) continue;
      const double rate = double(progress.sent) / seconds;
      if (rate >= kSlowBytesPerSecond && seconds_since(progress.last, now) < kStillSeconds) {
        continue;
      }
      if (slowest != nullptr && rate >= least) continue;
      // One that is being destroyed gives its bytes back by itself.
      looked_at.push_back(exchange->weak_from_this().lock());
      if (looked_at.back() == nullptr) continue;
      slowest = exchange;
      least = rate;
    }
    if (slowest != nullptr) holders_.erase(slowest);
  }
  if (slowest == nullptr) return false;
  slowest->cut_for_room();
  ++load_->cut;
  return true;
}

}  // namespace anser::http
