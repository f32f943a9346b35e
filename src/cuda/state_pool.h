// States in device memory.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "anser/state.h"
#include "cuda/runtime.h"
#include "cuda/state_layout.h"

namespace anser {

class PooledState;

// Hands out blocks of one state each, its numbers and behind them its logits, and takes them back;
// memory is reserved in larger pieces and kept until the pool ends, which is when the last state in
// it does. Thread-safe.
class StatePool : public std::enable_shared_from_this<StatePool> {
 public:
  StatePool(int device, const StateLayout& layout, size_t vocab);

  const StateLayout& layout() const { return layout_; }

  // Makes the state one of this pool, whatever it was, and the device's numbers its truth. Returns
  // where they are; throws Error where the device has no room. The logits stay where they were.
  float* take_over(State& state);
  // Where the logits of a state of this pool are, [vocab]. They begin on cuda::kAlignment bytes.
  float* logits_of(const float* block) const { return const_cast<float*>(block) + logits_at_; }
  // The same for any state; nullptr where its logits are not in this pool.
  const float* find_logits(const State& state) const;

  // What waits for everybody who works on the states: called before any is looked at, copied or
  // taken over. What it throws comes out there. nullptr: nobody works on them any more.
  void set_wait(std::function<void()> wait);

 private:
  friend class PooledState;
  std::shared_ptr<PooledState> make();  // not initialised
  std::shared_ptr<PooledState> own(const State& state) const;
  float* take();
  void give_back(float* block);
  void wait_for_work();

  const int device_;
  const StateLayout layout_;
  const size_t floats_, vocab_;
  const size_t logits_at_, block_bytes_;
  std::mutex mutex_;
  cuda::Stream stream_;
  std::function<void()> wait_;
  std::vector<cuda::Buffer> pieces_;
  std::vector<float*> free_;
};

}  // namespace anser
