// States in device memory.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "anser/state.h"
#include "cuda/runtime.h"

namespace anser {

// Hands out blocks of one state each and takes them back; memory is reserved in larger pieces and
// kept until the pool ends, which is when the last state in it does. Thread-safe.
class StatePool : public std::enable_shared_from_this<StatePool> {
 public:
  StatePool(int device, size_t floats) : device_(device), floats_(floats) {}

  size_t floats() const { return floats_; }

  // Not initialised. Throws Error where the device has no room.
  std::shared_ptr<RemoteState> make();
  // The state's numbers on the device, if they are in this pool; else nullptr.
  float* find(const State& state) const;

  // Copies, in order with each other. Waits for what `work` has queued before.
  void upload(float* to, std::span<const float> from);
  // What the states are worked on by; copies wait for it.
  void set_work(cuda::Stream* work) { work_ = work; }

 private:
  friend class PooledState;
  float* take();
  void give_back(float* block);
  void wait_for_work();

  const int device_;
  const size_t floats_;
  std::mutex mutex_;
  cuda::Stream stream_;
  cuda::Stream* work_ = nullptr;  // the engine's; nullptr when it has ended
  std::vector<cuda::Buffer> pieces_;
  std::vector<float*> free_;
};

}  // namespace anser
