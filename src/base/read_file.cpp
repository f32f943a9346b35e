#include "base/read_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "anser/error.h"

namespace anser {
namespace {

class OpenFile {
 public:
  explicit OpenFile(const std::string& path) : path_(path) {
    // O_NONBLOCK: a pipe must be refused, not waited for.
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd_ < 0) throw Error(fmt::format("cannot open {}: {}", path, std::strerror(errno)));
    struct stat status {};
    if (::fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) {
      ::close(fd_);
      throw Error(fmt::format("cannot read {}: it is not a regular file", path));
    }
    size_ = uint64_t(status.st_size);
  }
  ~OpenFile() { ::close(fd_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  uint64_t size() const { return size_; }

  // From the beginning, up to the end of the file, should that come sooner.
  std::vector<std::byte> read(size_t count) {
    std::vector<std::byte> bytes(count);
    size_t done = 0;
    while (done < count) {
      const ssize_t n = ::pread(fd_, bytes.data() + done, count - done, off_t(done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw Error(fmt::format("cannot read {}: {}", path_, std::strerror(errno)));
      if (n == 0) break;
      done += size_t(n);
    }
    bytes.resize(done);
    return bytes;
  }

 private:
  const std::string& path_;
  int fd_;
  uint64_t size_ = 0;
};

}  // namespace

std::vector<std::byte> read_file(const std::string& path, uint64_t most) {
  OpenFile file(path);
  if (file.size() > most) {
    throw Error(fmt::format("cannot read {}: expected at most {} bytes, found {}", path, most,
                            file.size()));
  }
  return file.read(size_t(file.size()));
}

std::vector<std::byte> read_file_begin(const std::string& path, size_t most) {
  return OpenFile(path).read(most);
}

}  // namespace anser
