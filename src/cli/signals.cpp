#include "cli/signals.h"

#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string_view>

#include "base/mapped_at.h"
#include "base/mapped_file.h"
#include "base/temporary_files.h"

namespace anser {
namespace {

// All that follows is used by signal handlers.
volatile sig_atomic_t interrupt_seen = 0;  // since the last guard began
volatile sig_atomic_t end_seen = 0;        // which signal, other than Ctrl-C
volatile sig_atomic_t terminal_known = 0;
termios terminal;

void set_handler(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  sigaction(signal, &action, nullptr);
}

void end_at_once(int signal) {
  delete_temporary_files();
  if (terminal_known) {
    set_handler(SIGTTOU, SIG_IGN);  // where we are in the background
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal);
  }
  set_handler(signal, SIG_DFL);
  raise(signal);  // waits until this returns
}

void on_interrupt(int signal) {
  interrupt_seen = 1;
  if (signal != SIGINT) end_seen = signal;
  // Should the program not react, the second one ends it the hard way.
  set_handler(signal, end_at_once);
}

// One line in one piece, without taking memory.
class ErrorLine {
 public:
  ErrorLine& operator<<(const char* text) {
    const size_t size = std::min(std::strlen(text), sizeof(bytes_) - size_);
    std::memcpy(bytes_ + size_, text, size);
    size_ += size;
    return *this;
  }
  void write() const { [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, bytes_, size_); }

 private:
  char bytes_[PATH_MAX + 256];
  size_t size_ = 0;
};

// SQLite maps what the processes of a store share about its log. Where somebody has cut that file
// off, zeros in its place are enough: whoever looks there next makes it anew from the log. Opening
// and closing it would undo this process's locks, so it is made longer by its path.
bool mend_shared_log(const MappedPiece& piece) {
  static volatile sig_atomic_t times = 0;  // in a row, without having had to do anything
  constexpr sig_atomic_t kMany = 1000;     // as if all threads had met it at once, and then some
  if (!std::string_view(piece.path).ends_with("-shm")) return false;
  struct stat status {};
  if (::stat(piece.path, &status) != 0) return false;
  if (uint64_t(status.st_size) >= piece.end) {
    times = times + 1;
    return times < kMany;
  }
  times = 0;
  return ::truncate(piece.path, off_t(piece.end)) == 0;
}

void on_bus_error(int signal, siginfo_t* info, void*) {
  if (info->si_code != BUS_ADRERR && info->si_code != BUS_OBJERR) {
    set_handler(signal, SIG_DFL);  // and the same happens again
    return;
  }
  const int error = errno;
  const char* path = MappedFile::path_of(info->si_addr);
  MappedPiece piece;
  if (path == nullptr && find_mapped_at(info->si_addr, piece)) {
    if (mend_shared_log(piece)) {
      errno = error;
      return;
    }
    path = piece.path;
  }
  delete_temporary_files();
  ErrorLine line;
  line << "anser: cannot read " << (path != nullptr ? path : "a file that is mapped")
       << " any more: it was cut off while it was in use, or its disk fails. Bring it back and "
          "begin again; whatever was saved is whole\n";
  line.write();
  _exit(1);
}

bool is_ignored(int signal) {
  struct sigaction action = {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

template <class Act>
void for_end_signals(const Act& act) {
  const sigset_t all = end_signals();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    if (sigismember(&all, signal) == 1) act(signal);
  }
}

}  // namespace

void handle_signals() {
  set_handler(SIGPIPE, SIG_IGN);
  set_handler(SIGXFSZ, SIG_IGN);
  for_end_signals([](int signal) {
    // In the background of a script Ctrl-C is not for us.
    if (!is_ignored(signal)) set_handler(signal, end_at_once);
  });
  struct sigaction action = {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}

sigset_t end_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  if (!is_ignored(SIGHUP)) sigaddset(&set, SIGHUP);
  return set;
}

void remember_terminal() {
  if (tcgetattr(STDIN_FILENO, &terminal) == 0) terminal_known = 1;
}

InterruptGuard::InterruptGuard() {
  interrupt_seen = 0;
  for_end_signals([](int signal) { set_handler(signal, on_interrupt); });
}

InterruptGuard::~InterruptGuard() {
  for_end_signals([](int signal) { set_handler(signal, end_at_once); });
}

bool InterruptGuard::interrupted() {
  return interrupt_seen != 0 || end_seen != 0;
}
bool InterruptGuard::must_end() {
  return end_seen != 0;
}

void end_by_signal_that_came() {
  if (end_seen == 0) return;
  set_handler(end_seen, SIG_DFL);
  raise(end_seen);
}

}  // namespace anser
