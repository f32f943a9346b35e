// A system that has no memory just then. Linking it takes operator new's place.
#pragma once

#include <cstddef>

namespace support {

// While one exists, what is allocated is counted, in all threads but the one that made it, and the
// `nth` allocation of `smallest` bytes or more, from 1 on, throws std::bad_alloc. (Smaller ones
// have the reserve of base/memory_reserve.h.)
class FailingMemory {
 public:
  explicit FailingMemory(int nth, size_t smallest = 0);
  ~FailingMemory();
  FailingMemory(const FailingMemory&) = delete;
  FailingMemory& operator=(const FailingMemory&) = delete;

  // Whether it has.
  static bool refused();
};

// Calls act(n), which makes a FailingMemory(n), for n = 1, 2, 3 and then in growing steps, until
// nothing is refused any more. Returns how often that was.
template <class Act>
int refuse_memory(const Act& act) {
  for (int n = 1, times = 0;; n += 1 + n / 40, ++times) {
    act(n);
    if (!FailingMemory::refused()) return times;
  }
}

}  // namespace support
