// The seeds of answers that are drawn from one seed: to one request, or in one conversation.
#pragma once

#include <cstdint>

#include "base/splitmix64.h"

namespace anser {

// Answer 0 has the seed itself, so that it is the text that the seed gives alone. The others' are
// hashed: with seed + index, answer 1 of seed 5 would be answer 0 of seed 6.
inline uint64_t answer_seed(uint64_t seed, uint64_t index) {
  if (index == 0) return seed;
  uint64_t mixed = splitmix64(seed) ^ index;
  return splitmix64(mixed);
}

}  // namespace anser
