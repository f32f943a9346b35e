#include "cuda/state_pool.h"

#include <algorithm>

#include "anser/error.h"

namespace anser {

class PooledState final : public RemoteState {
 public:
  PooledState(std::shared_ptr<StatePool> pool, float* block)
      : pool_(std::move(pool)), block_(block) {}
  ~PooledState() override { pool_->give_back(block_); }

  void fetch(std::span<float> to) const override {
    const std::lock_guard lock(pool_->mutex_);
    cuda::select(pool_->device_);
    pool_->wait_for_work();
    std::vector<float> block(pool_->floats_);
    pool_->stream_.download(block.data(), block_, block.size() * sizeof(float));
    pool_->stream_.wait();
    pool_->layout_.unpack(block, to);
  }

  std::shared_ptr<RemoteState> copy() const override {
    try {
      auto made = pool_->make();
      const std::lock_guard lock(pool_->mutex_);
      cuda::select(pool_->device_);
      pool_->wait_for_work();
      pool_->stream_.copy(made->block_, block_, pool_->floats_ * sizeof(float));
      pool_->stream_.wait();
      return made;
    } catch (const Error&) {
      return nullptr;  // no room: the copy goes to the host
    }
  }

  const StatePool* pool() const { return pool_.get(); }
  float* block() const { return block_; }

 private:
  const std::shared_ptr<StatePool> pool_;
  float* const block_;
};

std::shared_ptr<PooledState> StatePool::make() {
  return std::make_shared<PooledState>(shared_from_this(), take());
}

float* StatePool::take_over(State& state) {
  auto own = std::dynamic_pointer_cast<PooledState>(state.remote());
  if (own == nullptr || own->pool() != this) {
    own = make();
    std::vector<float> block(floats_);
    layout_.pack(state.data(), block);
    const std::lock_guard lock(mutex_);
    cuda::select(device_);
    stream_.upload(own->block(), block.data(), block.size() * sizeof(float));
    stream_.wait();
  }
  state.take(own);  // what the host has of it grows old
  return own->block();
}

void StatePool::set_work(cuda::Stream* work) {
  const std::lock_guard lock(mutex_);
  work_ = work;
}

float* StatePool::take() {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) {
    cuda::select(device_);
    // About 64 MB a piece, so that neither many nor few states waste much.
    const size_t block = cuda::aligned(floats_ * sizeof(float));
    const size_t count = std::clamp<size_t>((size_t{64} << 20) / block, 1, 64);
    pieces_.emplace_back(count * block);
    for (size_t i = count; i-- > 0;) free_.push_back(pieces_.back().as<float>(i * block));
  }
  float* block = free_.back();
  free_.pop_back();
  return block;
}

void StatePool::give_back(float* block) {
  const std::lock_guard lock(mutex_);
  free_.push_back(block);
}

void StatePool::wait_for_work() {
  if (work_ != nullptr) work_->wait();
}

}  // namespace anser
