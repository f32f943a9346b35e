// A large block of memory on huge pages where the system gives them: streaming from 2 MB pages is
// about a third faster than from 4 KB pages.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <utility>

namespace anser {

// Zeroed; a page comes into being on the memory of the thread that first touches it. Throws
// std::bad_alloc.
class HugeBlock {
 public:
  HugeBlock() = default;
  explicit HugeBlock(size_t bytes) {
    if (bytes == 0) return;
    mapped_ = (bytes + kHugePage - 1) / kHugePage * kHugePage + kHugePage;
    base_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base_ == MAP_FAILED) throw std::bad_alloc();
    madvise(base_, mapped_, MADV_HUGEPAGE);
  }
  ~HugeBlock() {
    if (mapped_ > 0) munmap(base_, mapped_);
  }
  HugeBlock(HugeBlock&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)), mapped_(std::exchange(other.mapped_, 0)) {}
  HugeBlock& operator=(HugeBlock&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(mapped_, other.mapped_);
    return *this;
  }

  // Aligned to a huge page.
  std::byte* data() const {
    const size_t past = reinterpret_cast<size_t>(base_) % kHugePage;
    return static_cast<std::byte*>(base_) + (past == 0 ? 0 : kHugePage - past);
  }

 private:
  static constexpr size_t kHugePage = size_t{2} << 20;
  void* base_ = nullptr;
  size_t mapped_ = 0;
};

}  // namespace anser
