// A small random generator that gives the same numbers everywhere: the standard's distributions
// differ between libraries.
#pragma once

#include <cstdint>

namespace anser {

// The next number, 64 random bits; `state` may begin with anything.
inline uint64_t splitmix64(uint64_t& state) {
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace anser
