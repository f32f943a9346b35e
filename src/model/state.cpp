#include "anser/state.h"

#include <cstring>

namespace anser {

State::State(const StateShape& shape, uint64_t fingerprint)
    : shape_(shape), fingerprint_(fingerprint), data_(shape.floats()) {}

namespace {

// Bit for bit: 0 and -0 differ, equal NaNs do not.
bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace

bool State::operator==(const State& other) const {
  return shape_ == other.shape_ && fingerprint_ == other.fingerprint_ && tokens_ == other.tokens_ &&
         same_bits(data_, other.data_) && same_bits(logits_, other.logits_);
}

}  // namespace anser
