#include "anser/state.h"

#include <cstring>
#include <utility>

namespace anser {

State::State(const StateShape& shape, uint64_t fingerprint)
    : shape_(shape), fingerprint_(fingerprint), numbers_(shape.floats()) {}

State::Numbers::Numbers(const Numbers& other) {
  if (other.remote_ != nullptr) remote_ = other.remote_->copy();
  // Where the device has no room for another copy, this one lives on the host.
  if (remote_ == nullptr) other.read();
  host_is_stale_ = other.host_is_stale_;
  if (host_is_stale_) {
    host_.resize(other.host_.size());
  } else {
    host_ = other.host_;
  }
}

State::Numbers& State::Numbers::operator=(Numbers&& other) noexcept {
  host_ = std::move(other.host_);
  remote_ = std::move(other.remote_);
  host_is_stale_ = std::exchange(other.host_is_stale_, false);
  return *this;
}

const std::vector<float>& State::Numbers::read() const {
  if (host_is_stale_) {
    remote_->fetch(host_);
    host_is_stale_ = false;
  }
  return host_;
}

std::vector<float>& State::Numbers::write() {
  // The CPU's workers come here together for a state that is at home: they must not write.
  if (remote_ != nullptr) {
    read();
    remote_.reset();
  }
  return host_;
}

void State::Numbers::take(std::shared_ptr<RemoteState> remote) {
  remote_ = std::move(remote);
  host_is_stale_ = true;
}

namespace {

// Bit for bit: 0 and -0 differ, equal NaNs do not.
bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace

bool State::operator==(const State& other) const {
  return shape_ == other.shape_ && fingerprint_ == other.fingerprint_ && tokens_ == other.tokens_ &&
         same_bits(numbers_.read(), other.numbers_.read()) && same_bits(logits_, other.logits_);
}

}  // namespace anser
