#include "server/errands.h"

#include <exception>
#include <utility>

#include "base/start_threads.h"
#include "store/arrival.h"

namespace anser {

Errands::Errands(int threads, size_t many, const std::function<void()>& begin) : many_(many) {
  const auto work = [this, begin](int) {
    if (begin) begin();
    run();
  };
  start_threads(threads_, threads, work, [this] { end(); });
}

Errands::~Errands() {
  end();
}

void Errands::end() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
}

void Errands::add(std::function<void()> errand) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back({std::chrono::steady_clock::now(), std::move(errand)});
  }
  changed_.notify_all();
}

void Errands::add_first(std::function<void()> errand) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_front({std::chrono::steady_clock::now(), std::move(errand)});
  }
  changed_.notify_all();
}

bool Errands::busy() const {
  return waiting() > many_;
}

size_t Errands::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

bool Errands::idle() const {
  const std::lock_guard lock(mutex_);
  return waiting_.empty() && running_ == 0;
}

void Errands::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiting_.empty() && running_ == 0; });
}

void Errands::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    // One that runs may add others.
    changed_.wait(lock, [&] { return !waiting_.empty() || (ending_ && running_ == 0); });
    if (waiting_.empty()) return;
    Errand errand = std::move(waiting_.front());
    waiting_.pop_front();
    ++running_;
    lock.unlock();
    try {
      const Arrival arrival(errand.came);
      errand.run();
    } catch (const std::exception&) {
      // It must not, but for want of memory it may; who waits for it is told when it goes.
    }
    errand.run = nullptr;  // what it holds may be large, or add another when it is freed
    lock.lock();
    --running_;
    if (running_ == 0 && waiting_.empty()) changed_.notify_all();
  }
}

}  // namespace anser
