#include "store/folder_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "anser/error.h"

namespace anser {
namespace {

bool lock(int fd, int how, const std::string& path) {
  int code;
  do {
    code = ::flock(fd, how);
  } while (code != 0 && errno == EINTR);
  if (code == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  throw Error(fmt::format("{}: cannot lock: {}", path, std::strerror(errno)));
}

}  // namespace

FolderLock::FolderLock(const std::string& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) throw Error(fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
  try {
    alone_ = lock(fd_, LOCK_EX | LOCK_NB, path);
    if (!alone_) lock(fd_, LOCK_SH, path);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

FolderLock::~FolderLock() {
  ::close(fd_);
}

void FolderLock::share() {
  if (alone_) lock(fd_, LOCK_SH, path_);
  alone_ = false;
}

}  // namespace anser
