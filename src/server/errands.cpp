#include "server/errands.h"

#include <utility>

namespace anser {

Errands::Errands(int threads, size_t many, const std::function<void()>& begin) : many_(many) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this, begin] {
      if (begin) begin();
      run();
    });
  }
}

Errands::~Errands() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
}

void Errands::add(std::function<void()> errand) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(errand));
  }
  changed_.notify_all();
}

bool Errands::busy() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size() > many_;
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
    std::function<void()> errand = std::move(waiting_.front());
    waiting_.pop_front();
    ++running_;
    lock.unlock();
    errand();
    errand = nullptr;  // what it holds may be large, or add another when it is freed
    lock.lock();
    --running_;
    if (running_ == 0 && waiting_.empty()) changed_.notify_all();
  }
}

}  // namespace anser
