// A writer that dies at any moment.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "store/open_states.h"
#include "store/sample_states.h"

namespace support {

// A process that puts states, the numbers `first`, `first` + 1, ..., into the store until it is
// killed, and says so.
class KilledWriter {
 public:
  // `address`: for open_states().
  KilledWriter(const std::string& address, uint64_t first) {
    int fds[2];
    if (pipe(fds) != 0) throw std::runtime_error("pipe");
    child_ = ::fork();
    if (child_ < 0) throw std::runtime_error("fork");
    if (child_ == 0) {
      close(fds[0]);
      try {
        const std::unique_ptr<anser::States> store = anser::open_states(address).states;
        std::string last;
        for (uint64_t n = first;; ++n) {
          last = store->put(state_after(n), "m", last);
          tell(fds[1], last, n);
          tell(fds[1], store->fork(last, {"name " + std::to_string(n), {}, ""}), n);
          store->relabel(last, {"", {"written"}, ""});
          // One that comes and goes, of which nobody is told.
          store->remove(store->put(state_after(n), "m"));
        }
      } catch (...) {
        _exit(1);  // what it did not write will be missed
      }
    }
    close(fds[1]);
    from_ = fds[0];
  }

  // Kills it some time after it has told the first ids. Returns all that it has told, with their
  // numbers.
  std::map<std::string, uint64_t> kill_after(std::chrono::microseconds time) {
    std::map<std::string, uint64_t> told;
    for (int i = 0; i < 2; ++i) hear(told);
    std::this_thread::sleep_for(time);
    kill(child_, SIGKILL);
    int status = 0;
    waitpid(child_, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status)) << "the writer failed by itself";
    while (hear(told)) {
    }
    close(from_);
    return told;
  }

 private:
  struct Told {
    char id[26];
    uint64_t number;
  };
  static void tell(int fd, const std::string& id, uint64_t number) {
    Told line = {};
    id.copy(line.id, sizeof(line.id));
    line.number = number;
    if (write(fd, &line, sizeof(line)) != ssize_t(sizeof(line))) _exit(1);
  }

  bool hear(std::map<std::string, uint64_t>& told) const {
    Told line;
    if (read(from_, &line, sizeof(line)) != ssize_t(sizeof(line))) return false;
    told[std::string(line.id, sizeof(line.id))] = line.number;
    return true;
  }

  pid_t child_;
  int from_;
};

}  // namespace support
