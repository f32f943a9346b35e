// A reader of a scheduler's text.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <limits>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "anser/scheduler.h"

namespace anser {

// Keeps what comes; `wanted` pieces of it, then it cancels.
class Listener final : public Reader {
 public:
  explicit Listener(int wanted = std::numeric_limits<int>::max()) : wanted_(wanted) {}

  bool on_text(std::string_view piece, std::vector<TokenDetails> details) override {
    const std::lock_guard lock(mutex_);
    text_ += piece;
    details_.insert(details_.end(), details.begin(), details.end());
    ++pieces_;
    changed_.notify_all();
    return pieces_ < wanted_;
  }
  void on_end(Finished finished) override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(ended_);
    ended_ = true;
    finished_ = std::move(finished);
    changed_.notify_all();
  }

  const Finished& wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_; });
    return finished_;
  }
  void wait_for_pieces(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_ || pieces_ >= count; });
  }
  bool ended() const {
    const std::lock_guard lock(mutex_);
    return ended_;
  }
  int pieces() const {
    const std::lock_guard lock(mutex_);
    return pieces_;
  }
  const std::string& text() const { return text_; }
  const std::vector<TokenDetails>& details() const { return details_; }

 private:
  const int wanted_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
  std::vector<TokenDetails> details_;
  Finished finished_;
  int pieces_ = 0;
  bool ended_ = false;
};

}  // namespace anser
