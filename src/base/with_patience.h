// For what must not be given up for want of memory: somebody else's may be free in a moment.
#pragma once

#include <chrono>
#include <new>
#include <thread>

namespace anser {

// Calls try_it() again for a tenth of a second, at the most, while it throws std::bad_alloc; then
// throws that.
template <class Try>
void with_patience(const Try& try_it) {
  for (int i = 0; i < 20; ++i) {
    try {
      return try_it();
    } catch (const std::bad_alloc&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  try_it();
}

}  // namespace anser
