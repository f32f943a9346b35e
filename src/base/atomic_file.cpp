#include "base/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "anser/error.h"
#include "base/check.h"

namespace anser {

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  struct stat status {};
  const bool in_place = ::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode);
  written_path_ = in_place ? path : fmt::format("{}.{}.new", path, getpid());
  const int flags = O_WRONLY | O_CLOEXEC | (in_place ? 0 : O_CREAT | O_TRUNC);
  fd_ = ::open(written_path_.c_str(), flags, 0666);
  if (fd_ < 0) fail(errno);
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  if (written_path_ != path_) ::unlink(written_path_.c_str());
}

void AtomicFile::reserve(size_t bytes) {
  expected_ = bytes;
  // Pipes and some file systems cannot: then it shows while writing.
  if (::fallocate(fd_, 0, 0, off_t(bytes)) == 0) return;
  if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) fail(errno);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  flushed_ = false;
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(errno);
    written_ += size_t(n);
    bytes = bytes.subspan(size_t(n));
  }
}

void AtomicFile::flush() {
  if (::fsync(fd_) != 0) fail(errno);
  flushed_ = true;
}

void AtomicFile::commit() {
  ANSER_CHECK(expected_ == 0 || written_ == expected_);
  const bool in_place = written_path_ == path_;
  if (!in_place && !flushed_) flush();
  const int fd = fd_;
  fd_ = -1;
  int error = ::close(fd) == 0 ? 0 : errno;
  if (error == 0 && !in_place && ::rename(written_path_.c_str(), path_.c_str()) != 0) error = errno;
  if (error == 0) return;
  if (!in_place) ::unlink(written_path_.c_str());
  fail(error);
}

void AtomicFile::fail(int error) {
  const std::string size = expected_ == 0 ? "" : fmt::format(" ({} bytes)", expected_);
  throw Error(fmt::format("cannot write {}{}: {}", path_, size, std::strerror(error)));
}

void sync_folder(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int error = fd < 0 || ::fsync(fd) != 0 ? errno : 0;
  if (fd >= 0) ::close(fd);
  if (error != 0) {
    throw Error(fmt::format("cannot write the folder {} to disk: {}", path, std::strerror(error)));
  }
}

void write_file_atomically(const std::string& path, std::span<const std::byte> bytes) {
  AtomicFile file(path);
  file.reserve(bytes.size());
  file.write(bytes);
  file.commit();
}

}  // namespace anser
