#include "base/mapped_at.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace anser {
namespace {

// Of a line of /proc/self/maps: a number in base 16, and the one character behind it, which ends
// it.
uint64_t take_hex(const char*& at) {
  uint64_t value = 0;
  for (;; ++at) {
    const char c = *at;
    if (c >= '0' && c <= '9') {
      value = value * 16 + uint64_t(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      value = value * 16 + uint64_t(c - 'a' + 10);
    } else {
      if (c != 0) ++at;
      return value;
    }
  }
}

// begin-end rights offset device inode path
bool read_line(const char* line, uint64_t address, MappedPiece& piece) {
  const uint64_t begin = take_hex(line), end = take_hex(line);
  if (address < begin || address >= end) return false;
  line = std::strchr(line, ' ');
  if (line == nullptr) return false;
  ++line;
  piece.end = take_hex(line) + (end - begin);
  const char* path = std::strchr(line, '/');
  if (path == nullptr || std::strlen(path) >= sizeof(piece.path)) return false;
  std::strcpy(piece.path, path);
  return true;
}

}  // namespace

bool find_mapped_at(const void* address, MappedPiece& piece) noexcept {
  const int fd = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char text[PATH_MAX + 256];  // a line is no longer
  size_t size = 0;
  bool found = false;
  while (!found) {
    const ssize_t n = ::read(fd, text + size, sizeof(text) - 1 - size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    size += size_t(n);
    text[size] = 0;
    char* line = text;
    while (char* end = std::strchr(line, '\n')) {
      *end = 0;
      found = found || read_line(line, reinterpret_cast<uintptr_t>(address), piece);
      line = end + 1;
    }
    size = std::strlen(line);
    std::memmove(text, line, size);
    if (size == sizeof(text) - 1) break;
  }
  ::close(fd);
  return found;
}

}  // namespace anser
