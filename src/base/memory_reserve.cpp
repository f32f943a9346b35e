#include "base/memory_reserve.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace anser {
namespace {

constexpr size_t kToGoOn = size_t(8) << 20, kToUnwind = size_t(24) << 20;
std::atomic<void*> to_go_on{nullptr}, to_unwind{nullptr};
std::atomic<bool> is_kept{false};
std::atomic<int64_t> failed_ms{0};

// Better a small reserve than none.
constexpr size_t kFewest = size_t(1) << 20;
// So long after a failure there is nothing new without a reserve; then it is tried nonetheless, for
// who fails then gives back what he has kept.
constexpr int64_t kPauseMs = 1000;

bool give(std::atomic<void*>& part) {
  void* const block = part.exchange(nullptr);
  std::free(block);
  return block != nullptr;
}

bool take(std::atomic<void*>& part, size_t size) noexcept {
  if (part.load() != nullptr) return true;
  void* block = nullptr;
  for (; block == nullptr && size >= kFewest; size /= 2) block = std::malloc(size);
  if (block == nullptr) return false;
  void* none = nullptr;
  if (!part.compare_exchange_strong(none, block)) std::free(block);
  return true;
}

int64_t now_ms() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::milliseconds(1);
}

// Called by operator new, which then tries again or, where this throws, gives up.
void give_reserve() {
  failed_ms = now_ms();
  if (give(to_go_on)) return;
  give(to_unwind);
  throw std::bad_alloc();
}

}  // namespace

void keep_memory_reserve() {
  is_kept = true;
  renew_memory_reserve();
  std::set_new_handler(give_reserve);
}

bool renew_memory_reserve() noexcept {
  if (!is_kept.load(std::memory_order_relaxed)) return true;
  if (take(to_unwind, kToUnwind) && take(to_go_on, kToGoOn)) return true;
  return now_ms() - failed_ms > kPauseMs;
}

}  // namespace anser
