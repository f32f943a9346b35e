#include "base/memory_reserve.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace anser {
namespace {

constexpr size_t kReserve = size_t(16) << 20;
std::atomic<void*> reserve{nullptr};
std::atomic<bool> is_kept{false};

// Called by operator new, which then tries again or, where this throws, gives up.
void give_reserve() {
  void* const block = reserve.exchange(nullptr);
  if (block == nullptr) throw std::bad_alloc();
  std::free(block);
}

}  // namespace

void keep_memory_reserve() {
  is_kept = true;
  renew_memory_reserve();
  std::set_new_handler(give_reserve);
}

void renew_memory_reserve() noexcept {
  if (!is_kept.load(std::memory_order_relaxed) || reserve.load() != nullptr) return;
  void* const block = std::malloc(kReserve);
  void* none = nullptr;
  if (block != nullptr && !reserve.compare_exchange_strong(none, block)) std::free(block);
}

}  // namespace anser
