#include "store/folder_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "store/store_errors.h"

namespace anser {
namespace {

[[noreturn]] void fail_at(const std::string& path, const char* doing) {
  fail_as(errno, fmt::format("{}: cannot {}: {}", path, doing, std::strerror(errno)));
}

bool lock(int fd, int how, const std::string& path) {
  int code;
  do {
    code = ::flock(fd, how);
  } while (code != 0 && errno == EINTR);
  if (code == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  fail_at(path, "lock");
}

}  // namespace

FolderLock::FolderLock(const std::string& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) fail_at(path, "open");
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

bool FolderLock::stands() const {
  struct stat there {
  }, ours{};
  return ::stat(path_.c_str(), &there) == 0 && ::fstat(fd_, &ours) == 0 &&
         there.st_ino == ours.st_ino && there.st_dev == ours.st_dev;
}

FolderTurn::FolderTurn(const std::string& folder, Wait wait) {
  fd_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd_ < 0) fail_at("the folder " + folder, "be opened");
  try {
    mine_ = lock(fd_, LOCK_EX | (wait == Wait::no ? LOCK_NB : 0), folder);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

FolderTurn::~FolderTurn() {
  ::close(fd_);
}

}  // namespace anser
