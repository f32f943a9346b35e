#include "store/content_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "store/store_errors.h"
#include "store/store_files.h"

namespace anser {
namespace {

constexpr size_t kPiece = 128 << 10;  // that is read of a compressed state at a time

[[noreturn]] void fail_at(const std::string& path, const char* doing) {
  fail_as(errno, fmt::format("{}: cannot {}: {}", path, doing, std::strerror(errno)));
}

}  // namespace

std::unique_ptr<ContentReader> open_content_file(const std::string& path, const StateInfo& info) {
  const std::optional<int> opened = open_to_read(path);
  errno = ENOENT;
  if (!opened) fail_at(path, "open");
  const int file = *opened;
  const std::shared_ptr<void> closing(nullptr, [file](void*) { ::close(file); });
  const auto source = [file, closing, path](uint64_t offset) {
    std::string bytes(kPiece, '\0');
    ssize_t count;
    do {
      count = ::pread(file, bytes.data(), bytes.size(), off_t(offset));
    } while (count < 0 && errno == EINTR);
    if (count < 0) fail_at(path, "read");
    bytes.resize(size_t(count));
    return bytes;
  };
  return std::make_unique<ContentReader>(source, info.raw_bytes, info.checksum, path);
}

}  // namespace anser
