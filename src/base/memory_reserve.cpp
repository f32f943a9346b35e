#include "base/memory_reserve.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace anser {
namespace {

constexpr size_t kToGoOn = size_t(8) << 20, kToUnwind = size_t(24) << 20;
std::atomic<void*> to_go_on{nullptr}, to_unwind{nullptr};
std::atomic<bool> is_kept{false};

bool give(std::atomic<void*>& part) {
  void* const block = part.exchange(nullptr);
  std::free(block);
  return block != nullptr;
}

bool take(std::atomic<void*>& part, size_t size) noexcept {
  if (part.load() != nullptr) return true;
  void* const block = std::malloc(size);
  if (block == nullptr) return false;
  void* none = nullptr;
  if (!part.compare_exchange_strong(none, block)) std::free(block);
  return true;
}

// Called by operator new, which then tries again or, where this throws, gives up.
void give_reserve() {
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
  return take(to_unwind, kToUnwind) && take(to_go_on, kToGoOn);
}

}  // namespace anser
