// States in device memory.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "anser/state.h"
#include "cuda/runtime.h"
#include "cuda/state_layout.h"

namespace anser {

class PooledState;

// Hands out blocks of one state each and takes them back; memory is reserved in larger pieces and
// kept until the pool ends, which is when the last state in it does. Thread-safe.
class StatePool : public std::enable_shared_from_this<StatePool> {
 public:
  StatePool(int device, const StateLayout& layout)
      : device_(device), layout_(layout), floats_(layout.floats()) {}

  const StateLayout& layout() const { return layout_; }

  // Makes the state one of this pool, whatever it was, and the device's numbers its truth. Returns
  // where they are; throws Error where the device has no room.
  float* take_over(State& state);
  // The queue that works on the states: copies wait for it. nullptr: nobody does any more.
  void set_work(cuda::Stream* work);

 private:
  friend class PooledState;
  std::shared_ptr<PooledState> make();  // not initialised
  float* take();
  void give_back(float* block);
  void wait_for_work();

  const int device_;
  const StateLayout layout_;
  const size_t floats_;
  std::mutex mutex_;
  cuda::Stream stream_;
  cuda::Stream* work_ = nullptr;
  std::vector<cuda::Buffer> pieces_;
  std::vector<float*> free_;
};

}  // namespace anser
