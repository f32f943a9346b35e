#include "support/failing_memory.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace support {
namespace {

std::atomic<int> left{0};  // allocations until one is refused; 0 or less: none will be
std::atomic<size_t> smallest_refused{0};
std::atomic<bool> one_refused{false};
thread_local bool exempt = false;

void* allocate(size_t size, size_t alignment) {
  if (!exempt && size >= smallest_refused && left.load(std::memory_order_relaxed) > 0 &&
      left.fetch_sub(1) == 1) {
    one_refused = true;
    throw std::bad_alloc();
  }
  if (size == 0) size = 1;
  void* bytes = alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__
                    ? std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment)
                    : std::malloc(size);
  if (bytes == nullptr) throw std::bad_alloc();
  return bytes;
}

}  // namespace

FailingMemory::FailingMemory(int nth, size_t smallest) {
  smallest_refused = smallest;
  exempt = true;
  one_refused = false;
  left = nth;
}
FailingMemory::~FailingMemory() {
  left = 0;
  exempt = false;
}
bool FailingMemory::refused() {
  return one_refused;
}

}  // namespace support

void* operator new(size_t size) {
  return support::allocate(size, 0);
}
void* operator new(size_t size, std::align_val_t alignment) {
  return support::allocate(size, size_t(alignment));
}
// Sanitizers have their own of these, whose memory ours must not free.
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  try {
    return support::allocate(size, 0);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* bytes, const std::nothrow_t&) noexcept {
  std::free(bytes);
}
void operator delete(void* bytes) noexcept {
  std::free(bytes);
}
void operator delete(void* bytes, size_t) noexcept {
  std::free(bytes);
}
void operator delete(void* bytes, std::align_val_t) noexcept {
  std::free(bytes);
}
void operator delete(void* bytes, size_t, std::align_val_t) noexcept {
  std::free(bytes);
}
