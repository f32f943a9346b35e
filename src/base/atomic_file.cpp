#include "base/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "anser/error.h"

namespace anser {
namespace {

// 0, or errno.
int write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    bytes = bytes.subspan(size_t(n));
  }
  return 0;
}

[[noreturn]] void fail(const std::string& path, size_t bytes, int error) {
  throw Error(fmt::format("cannot write {} ({} bytes): {}", path, bytes, std::strerror(error)));
}

}  // namespace

void write_file_atomically(const std::string& path, std::span<const std::byte> bytes) {
  struct stat status {};
  const bool in_place = ::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode);
  const std::string target = in_place ? path : fmt::format("{}.{}.new", path, getpid());

  const int flags = O_WRONLY | O_CLOEXEC | (in_place ? 0 : O_CREAT | O_TRUNC);
  const int fd = ::open(target.c_str(), flags, 0666);
  if (fd < 0) fail(path, bytes.size(), errno);

  int error = write_all(fd, bytes);
  if (error == 0 && !in_place && fsync(fd) != 0) error = errno;
  if (::close(fd) != 0 && error == 0) error = errno;
  if (in_place) {
    if (error != 0) fail(path, bytes.size(), error);
    return;
  }
  if (error == 0 && ::rename(target.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(target.c_str());
    fail(path, bytes.size(), error);
  }
}

}  // namespace anser
