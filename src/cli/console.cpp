#include "cli/console.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>

#include "anser/error.h"
#include "cli/progress.h"
#include "text/plain_text.h"

namespace anser {
namespace {

volatile sig_atomic_t interrupt_seen = 0;

void on_interrupt(int) {
  interrupt_seen = 1;
}

// Returns 0 or the errno of the write that failed.
int write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = write(fd, data.data(), data.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    data.remove_prefix(size_t(n));
  }
  return 0;
}

std::string read_all(int fd, const std::string& name, size_t most) {
  std::string text;
  char piece[1 << 16];
  for (;;) {
    const ssize_t n = read(fd, piece, sizeof(piece));
    if (n == 0) return text;
    if (n < 0) {
      if (errno == EINTR) continue;
      throw Error(fmt::format("{}: cannot read: {}", name, std::strerror(errno)));
    }
    if (text.size() + size_t(n) > most) {
      throw Error(
          fmt::format("{}: expected a text of at most {} MiB, found more", name, most >> 20));
    }
    text.append(piece, size_t(n));
  }
}

}  // namespace

void write_out(std::string_view data) {
  const int error = write_all(STDOUT_FILENO, data);
  if (error == EPIPE) throw BrokenPipe();
  if (error != 0) {
    throw Error(fmt::format("cannot write to standard output: {}", std::strerror(error)));
  }
}

void say(std::string_view line) {
  std::string text(line);
  text += '\n';
  write_all(STDERR_FILENO, text);
}

bool stdin_is_terminal() {
  return isatty(STDIN_FILENO) == 1;
}
bool stdin_is_redirected() {
  struct stat status {};
  if (fstat(STDIN_FILENO, &status) != 0) return false;
  return S_ISREG(status.st_mode) || S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode);
}
bool stdout_is_terminal() {
  return isatty(STDOUT_FILENO) == 1;
}
bool stderr_is_terminal() {
  return isatty(STDERR_FILENO) == 1;
}

std::string bold(std::string_view text) {
  const char* terminal = std::getenv("TERM");
  const char* no_color = std::getenv("NO_COLOR");
  const bool plain = terminal == nullptr || std::string_view(terminal) == "dumb" ||
                     (no_color != nullptr && *no_color != '\0');
  return plain ? std::string(text) : fmt::format("\x1b[1m{}\x1b[0m", text);
}

std::string read_stdin(size_t most) {
  return read_all(STDIN_FILENO, "standard input", most);
}

std::string read_prompt(std::string waiting) {
  std::optional<Progress> progress;
  if (!stdin_is_terminal()) progress.emplace(std::move(waiting));
  std::string text = plain_lines(read_stdin(kMostPromptBytes), "standard input");
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

std::string read_text(const std::string& path, size_t most) {
  if (path == "-") return std::string(plain_text(read_stdin(most), "standard input"));
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw Error(fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
  struct Closer {
    int fd;
    ~Closer() { close(fd); }
  } closer{fd};
  return std::string(plain_text(read_all(fd, path, most), path));
}

InterruptGuard::InterruptGuard() {
  interrupt_seen = 0;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  // One shot: should the program not react, the second Ctrl-C ends it the hard way.
  action.sa_flags = SA_RESETHAND;
  sigaction(SIGINT, &action, nullptr);
}

InterruptGuard::~InterruptGuard() {
  signal(SIGINT, SIG_DFL);
}

bool InterruptGuard::interrupted() {
  return interrupt_seen != 0;
}

}  // namespace anser
