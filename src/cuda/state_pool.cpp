#include "cuda/state_pool.h"

#include <algorithm>

#include "anser/error.h"
#include "base/check.h"

namespace anser {

class PooledState final : public RemoteState {
 public:
  PooledState(std::shared_ptr<StatePool> pool, float* block)
      : pool_(std::move(pool)), block_(block) {}
  ~PooledState() override { pool_->give_back(block_); }

  void fetch(std::span<float> to) const override {
    ANSER_CHECK(to.size() == pool_->layout_.shape.floats());
    std::vector<float> block(pool_->floats_);
    download(block, block_);
    pool_->layout_.unpack(block, to);
  }

  void fetch_logits(std::span<float> to) const override {
    ANSER_CHECK(to.size() == pool_->vocab_);
    download(to, pool_->logits_of(block_));
  }

  std::shared_ptr<RemoteState> copy() const override {
    std::shared_ptr<PooledState> made;
    try {
      made = pool_->make();
    } catch (const Error&) {
      return nullptr;  // no room: the copy goes to the host
    }
    const std::lock_guard lock(pool_->mutex_);
    pool_->wait_for_work();
    pool_->stream_.copy(made->block_, block_, pool_->block_bytes_);
    pool_->stream_.wait();
    return made;
  }

  const StatePool* pool() const { return pool_.get(); }
  float* block() const { return block_; }

 private:
  void download(std::span<float> to, const float* from) const {
    const std::lock_guard lock(pool_->mutex_);
    pool_->wait_for_work();
    pool_->stream_.download(to.data(), from, to.size_bytes());
    pool_->stream_.wait();
  }

  const std::shared_ptr<StatePool> pool_;
  float* const block_;
};

StatePool::StatePool(int device, const StateLayout& layout, size_t vocab)
    : device_(device),
      layout_(layout),
      floats_(layout.floats()),
      vocab_(vocab),
      logits_at_(cuda::aligned(floats_ * sizeof(float)) / sizeof(float)),
      block_bytes_(cuda::aligned((logits_at_ + vocab) * sizeof(float))) {}

std::shared_ptr<PooledState> StatePool::make() {
  return std::make_shared<PooledState>(shared_from_this(), take());
}

std::shared_ptr<PooledState> StatePool::own(const State& state) const {
  auto pooled = std::dynamic_pointer_cast<PooledState>(state.remote());
  return pooled != nullptr && pooled->pool() == this ? pooled : nullptr;
}

float* StatePool::take_over(State& state) {
  auto pooled = own(state);
  if (pooled == nullptr) {
    pooled = make();
    std::vector<float> block;
    if (!state.untouched()) {
      block.resize(floats_);
      layout_.pack(state.data(), block);
    }
    const std::lock_guard lock(mutex_);
    // The block may have been another state's, which a step is still working on.
    wait_for_work();
    if (block.empty()) {
      stream_.zero(pooled->block(), floats_ * sizeof(float));
    } else {
      stream_.upload(pooled->block(), block.data(), block.size() * sizeof(float));
    }
    stream_.wait();
  }
  state.take(pooled);  // what the host has of it grows old
  return pooled->block();
}

const float* StatePool::find_logits(const State& state) const {
  const auto pooled = state.remote_logits() > 0 ? own(state) : nullptr;
  return pooled != nullptr ? logits_of(pooled->block()) : nullptr;
}

void StatePool::set_wait(std::function<void()> wait) {
  const std::lock_guard lock(mutex_);
  wait_ = std::move(wait);
}

float* StatePool::take() {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) {
    cuda::select(device_);
    // About 64 MB a piece, so that neither many nor few states waste much.
    const size_t count = std::clamp<size_t>((size_t{64} << 20) / block_bytes_, 1, 64);
    pieces_.emplace_back(count * block_bytes_);
    for (size_t i = count; i-- > 0;) free_.push_back(pieces_.back().as<float>(i * block_bytes_));
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
  cuda::select(device_);
  if (wait_) wait_();
}

}  // namespace anser
