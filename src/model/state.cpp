#include "anser/state.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

namespace anser {

State::State(const StateShape& shape, uint64_t fingerprint,
             std::shared_ptr<const ModelSketch> sketch)
    : shape_(shape),
      fingerprint_(fingerprint),
      sketch_(std::move(sketch)),
      content_(shape.floats()) {}

void State::read_text(std::string_view bytes) {
  text_end_ += bytes.substr(bytes.size() - std::min(bytes.size(), kTextEnd));
  if (text_end_.size() > kTextEnd) text_end_.erase(0, text_end_.size() - kTextEnd);
}

State::Content::Content(const Content& other) {
  if (other.remote_ != nullptr) remote_ = other.remote_->copy();
  if (remote_ != nullptr) {
    remote_logits_ = other.remote_logits_;
  } else if (other.remote_ != nullptr) {
    // The device has no room for another copy: this one lives on the host.
    other.numbers();
    other.logits();
  }
  numbers_are_stale_ = other.numbers_are_stale_;
  logits_are_stale_ = other.logits_are_stale_;
  count_ = other.count_;
  numbers_ = other.numbers_;
  if (!logits_are_stale_) logits_ = other.logits_;
}

State::Content& State::Content::operator=(Content&& other) noexcept {
  count_ = std::exchange(other.count_, 0);
  numbers_ = std::move(other.numbers_);
  logits_ = std::move(other.logits_);
  remote_ = std::move(other.remote_);
  remote_logits_ = std::exchange(other.remote_logits_, 0);
  numbers_are_stale_ = std::exchange(other.numbers_are_stale_, false);
  logits_are_stale_ = std::exchange(other.logits_are_stale_, false);
  return *this;
}

const std::vector<float>& State::Content::numbers() const {
  if (numbers_ == nullptr || numbers_are_stale_) {
    auto numbers = std::make_shared<std::vector<float>>(count_);
    if (numbers_are_stale_) remote_->fetch(*numbers);
    numbers_ = std::move(numbers);
    numbers_are_stale_ = false;
  }
  return *numbers_;
}

const std::vector<float>& State::Content::logits() const {
  if (logits_are_stale_) {
    logits_.resize(remote_logits_);
    remote_->fetch_logits(logits_);
    logits_are_stale_ = false;
  }
  return logits_;
}

std::vector<float>& State::Content::change_numbers() {
  if (remote_ != nullptr) {
    numbers();
    change_logits();
    remote_.reset();
  }
  // The CPU's workers come here together, for a state that is at home and that its engine has made
  // ready by coming here first: then none of this happens.
  if (numbers_ == nullptr) {
    numbers_ = std::make_shared<std::vector<float>>(count_);
  } else if (numbers_.use_count() > 1) {
    numbers_ = std::make_shared<std::vector<float>>(*numbers_);
  } else {
    // A copy on another thread may have let go just now: it has read before we write.
    std::atomic_thread_fence(std::memory_order_acquire);
  }
  return *numbers_;
}

std::vector<float>& State::Content::change_logits() {
  if (remote_logits_ > 0) {
    logits();
    remote_logits_ = 0;
  }
  return logits_;
}

void State::Content::take(std::shared_ptr<RemoteState> remote) {
  if (remote != remote_) change_logits();
  remote_ = std::move(remote);
  numbers_are_stale_ = true;
  numbers_.reset();  // 34 MB of a 7.2B
}

void State::Content::take_logits(size_t count) {
  remote_logits_ = count;
  logits_are_stale_ = count > 0;
  if (count == 0) logits_.clear();
}

namespace {

// Bit for bit: 0 and -0 differ, equal NaNs do not.
bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace

bool State::Content::same_numbers(const Content& other) const {
  const bool shared = remote_ == nullptr && other.remote_ == nullptr && numbers_ == other.numbers_;
  return (shared && count_ == other.count_) || same_bits(numbers(), other.numbers());
}

bool State::operator==(const State& other) const {
  return shape_ == other.shape_ && fingerprint_ == other.fingerprint_ && tokens_ == other.tokens_ &&
         text_end_ == other.text_end_ && content_.same_numbers(other.content_) &&
         same_bits(content_.logits(), other.content_.logits());
}

}  // namespace anser
