#include "base/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "anser/error.h"
#include "base/check.h"
#include "base/ready.h"
#include "base/temporary_files.h"
#include "base/write_target.h"

namespace anser {

namespace {

// What the system's own words leave open.
std::string reason(int error) {
  switch (error) {
    case EFBIG:
      return "File too large: the limit of a file's size (ulimit -f) or of the file system";
    case EFAULT:
      return "what is to be written cannot be read any more: its file was cut off or its disk "
             "fails";
    default:
      return std::strerror(error);
  }
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path, Readers readers) : path_(path) {
  const WriteTarget target = find_write_target(path);
  if (target.error != 0) fail(target.error);
  target_ = target.path;
  in_place_ = target.in_place;
  if (in_place_) {
    open_in_place();
    return;
  }
  open_beside(readers);
  // Not by open(), which the umask narrows. Some file systems know no modes.
  if (readers == Readers::usual && target.exists) ::fchmod(fd_, target.mode);
}

void AtomicFile::open_in_place() {
  written_path_ = target_;
  // At the end, should it be a file that a shell appends our output to.
  fd_ = ::open(target_.c_str(), O_WRONLY | O_CLOEXEC | O_APPEND);
  if (fd_ < 0) fail(errno);
}

// Of two names of 16 letters none is the same; O_EXCL and O_NOFOLLOW: nobody else has put one
// there.
void AtomicFile::open_beside(Readers readers) {
  const mode_t mode = readers == Readers::owner ? 0600 : 0666;
  constexpr int kTries = 8;
  for (int i = 0; fd_ < 0 && i < kTries; ++i) {
    written_path_ = temporary_name_beside(target_);
    noted_ = note_temporary_file(written_path_);
    const int flags = O_WRONLY | O_CLOEXEC | O_CREAT | O_EXCL | O_NOFOLLOW;
    fd_ = ::open(written_path_.c_str(), flags, mode);
    if (fd_ >= 0) return;
    const int error = errno;
    forget_temporary_file(noted_);
    if (error != EEXIST) fail(error);
  }
  fail(EEXIST);
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  if (in_place_) return;
  ::unlink(written_path_.c_str());
  forget_temporary_file(noted_);
}

void AtomicFile::reserve(size_t bytes) {
  expected_ = bytes;
  if (in_place_) return;
  // Some file systems cannot: then it shows while writing.
  if (::fallocate(fd_, 0, 0, off_t(bytes)) == 0) return;
  if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) fail(errno);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  flushed_ = false;
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && (errno == EINTR || wait_until_ready(fd_, errno))) continue;
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
  if (!in_place_ && !flushed_) flush();
  const int fd = fd_;
  fd_ = -1;
  int error = ::close(fd) == 0 ? 0 : errno;
  if (in_place_) {
    if (error != 0) fail(error);
    return;
  }
  if (error == 0 && ::rename(written_path_.c_str(), target_.c_str()) != 0) error = errno;
  if (error != 0) ::unlink(written_path_.c_str());
  forget_temporary_file(noted_);
  if (error != 0) fail(error);
}

void AtomicFile::fail(int error) {
  const std::string size = expected_ == 0 ? "" : fmt::format(" ({} bytes)", expected_);
  throw Error(fmt::format("cannot write {}{}: {}", path_, size, reason(error)));
}

void sync_folder(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int error = fd < 0 || ::fsync(fd) != 0 ? errno : 0;
  if (fd >= 0) ::close(fd);
  if (error != 0) {
    throw Error(fmt::format("cannot write the folder {} to disk: {}", path, std::strerror(error)));
  }
}

void write_file_atomically(const std::string& path, std::span<const std::byte> bytes,
                           Readers readers) {
  AtomicFile file(path, readers);
  file.reserve(bytes.size());
  file.write(bytes);
  file.commit();
}

}  // namespace anser
