#include "base/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "anser/error.h"

namespace anser {
namespace {

// What is mapped, for a signal handler, which can take no lock. A slot is taken by its path, and
// looked at once its size is there.
struct Mapping {
  std::atomic<const char*> path{nullptr};
  std::atomic<const std::byte*> begin{nullptr};
  std::atomic<size_t> size{0};
};

// More files than a model has shards; what is mapped beyond these cannot be named.
std::array<Mapping, 1024> mappings;

int note(const char* path, const std::byte* begin, size_t size) {
  for (size_t i = 0; i < mappings.size(); ++i) {
    const char* nobody = nullptr;
    if (!mappings[i].path.compare_exchange_strong(nobody, path)) continue;
    mappings[i].begin = begin;
    mappings[i].size = size;
    return int(i);
  }
  return -1;
}

void forget(int noted) {
  if (noted < 0) return;
  mappings[size_t(noted)].size = 0;
  mappings[size_t(noted)].path = nullptr;
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  // O_NONBLOCK: a pipe must be refused below, not waited for.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) throw Error(fmt::format("cannot open {}: {}", path, std::strerror(errno)));

  struct stat status {};
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd);
    throw Error(fmt::format("cannot read {}: it is not a regular file", path));
  }

  const size_t size = size_t(status.st_size);
  void* data = nullptr;
  if (size > 0) {
    data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
      const int error = errno;
      ::close(fd);
      throw Error(fmt::format("cannot map {} ({} bytes): {}", path, size, std::strerror(error)));
    }
  }
  ::close(fd);
  return std::shared_ptr<const MappedFile>(
      new MappedFile(path, static_cast<const std::byte*>(data), size));
}

MappedFile::MappedFile(std::string path, const std::byte* data, size_t size)
    : path_(std::move(path)), data_(data), size_(size) {
  if (data_ != nullptr) noted_ = note(path_.c_str(), data_, size_);
}

MappedFile::~MappedFile() {
  forget(noted_);
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

const char* MappedFile::path_of(const void* address) noexcept {
  for (const Mapping& mapping : mappings) {
    const uintptr_t begin = reinterpret_cast<uintptr_t>(mapping.begin.load());
    const uintptr_t offset = reinterpret_cast<uintptr_t>(address) - begin;
    // The last page is mapped whole.
    constexpr size_t kPage = 4096;
    const size_t size = mapping.size;
    if (size > 0 && offset < (size + kPage - 1) / kPage * kPage) return mapping.path;
  }
  return nullptr;
}

void MappedFile::forget_pages() const {
  if (data_ != nullptr) madvise(const_cast<std::byte*>(data_), size_, MADV_DONTNEED);
}

}  // namespace anser
