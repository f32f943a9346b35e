#include "base/write_target.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

namespace anser {
namespace {

constexpr int kMostLinks = 40;  // as the kernel follows

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

// Others may put names into it, and only a name's owner may take it away, as in /tmp.
bool is_shared(const struct stat& folder) {
  return (folder.st_mode & S_ISVTX) != 0 && (folder.st_mode & S_IWOTH) != 0;
}

bool is_in_proc(const std::string& folder) {
  struct statfs system {};
  return ::statfs(folder.c_str(), &system) == 0 && system.f_type == PROC_SUPER_MAGIC;
}

// Where the link leads, or empty with errno.
std::string read_link(const std::string& path) {
  char text[PATH_MAX];
  const ssize_t size = ::readlink(path.c_str(), text, sizeof text);
  if (size < 0) return {};
  const std::string to(text, size_t(size));
  return to.starts_with('/') ? to : folder_of(path) + "/" + to;
}

WriteTarget failed(int error) {
  WriteTarget target;
  target.error = error;
  return target;
}

// Of a target that is replaced: whether its name may be taken away is known beforehand.
int error_of_replacing(const std::string& path, const struct stat& old) {
  struct stat folder {};
  if (::stat(folder_of(path).c_str(), &folder) != 0) return errno;
  const uid_t self = ::geteuid();
  const bool ours = self == 0 || self == old.st_uid || self == folder.st_uid;
  return (folder.st_mode & S_ISVTX) != 0 && !ours ? EPERM : 0;
}

}  // namespace

WriteTarget find_write_target(const std::string& path) {
  WriteTarget target;
  target.path = path;
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    target.in_place = target.exists = true;
    return target;
  }
  for (int links = 0;; ++links) {
    if (::lstat(target.path.c_str(), &status) != 0) {
      // Also "f/" is no name for a file that is yet to be.
      if (errno != ENOENT || target.path.empty()) return failed(errno);
      return target.path.ends_with('/') ? failed(EISDIR) : target;
    }
    if (!S_ISLNK(status.st_mode)) break;
    if (links == kMostLinks) return failed(ELOOP);
    const std::string folder = folder_of(target.path);
    // /dev/stdout, redirected into a file: that is the shell's, and open.
    if (is_in_proc(folder)) {
      target.path = path;
      target.in_place = target.exists = true;
      return target;
    }
    struct stat above {};
    if (::stat(folder.c_str(), &above) != 0) return failed(errno);
    if (is_shared(above) && status.st_uid != ::geteuid() && status.st_uid != above.st_uid) {
      return failed(EACCES);
    }
    target.path = read_link(target.path);
    if (target.path.empty()) return failed(errno);
  }
  target.exists = true;
  target.mode = status.st_mode & 0777;
  target.error = error_of_replacing(target.path, status);
  return target;
}

}  // namespace anser
