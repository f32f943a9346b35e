// A disk that is full, as far as this process can tell: no file may grow beyond some bytes.
#pragma once

#include <signal.h>
#include <sys/resource.h>

#include <stdexcept>

namespace support {

class FullDisk {
 public:
  explicit FullDisk(size_t bytes) {
    // The limit is announced by a signal first, which would end the program.
    handler_ = signal(SIGXFSZ, SIG_IGN);
    if (getrlimit(RLIMIT_FSIZE, &before_) != 0) throw std::runtime_error("getrlimit");
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) throw std::runtime_error("setrlimit");
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    signal(SIGXFSZ, handler_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_;
  void (*handler_)(int);
};

}  // namespace support
