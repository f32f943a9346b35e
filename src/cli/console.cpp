#include "cli/console.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>

#include "anser/error.h"
#include "base/ready.h"
#include "cli/progress.h"
#include "text/plain_text.h"

namespace anser {
namespace {

const std::string kStandardInput = "standard input";

// Returns 0 or the errno of the write that failed.
int write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = write(fd, data.data(), data.size());
    if (n < 0) {
      if (errno == EINTR || wait_until_ready(fd, errno)) continue;
      return errno;
    }
    data.remove_prefix(size_t(n));
  }
  return 0;
}

// 0: the end.
size_t read_some(int fd, const std::string& name, char* bytes, size_t most) {
  for (;;) {
    const ssize_t n = read(fd, bytes, most);
    if (n >= 0) return size_t(n);
    if (errno == EINTR || wait_until_ready(fd, errno, POLLIN)) continue;
    throw Error(fmt::format("{}: cannot read: {}", name, std::strerror(errno)));
  }
}

std::string read_all(int fd, const std::string& name, size_t most) {
  std::string text;
  char piece[1 << 16];
  while (const size_t n = read_some(fd, name, piece, sizeof(piece))) {
    if (text.size() + n > most) {
      throw Error(
          fmt::format("{}: expected a text of at most {} MiB, found more", name, most >> 20));
    }
    text.append(piece, n);
  }
  return text;
}

}  // namespace

void write_out(std::string_view data) {
  const int error = write_all(STDOUT_FILENO, data);
  if (error == EPIPE) throw BrokenPipe();
  if (error != 0) {
    throw Error(fmt::format("cannot write to standard output: {}{}", std::strerror(error),
                            error == EFBIG ? ", says the limit of a file's size (ulimit -f)" : ""));
  }
}

void write_err(std::string_view text) {
  write_all(STDERR_FILENO, text);
}

void say(std::string_view line) {
  write_err(std::string(line) + '\n');
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

size_t read_some_stdin(char* bytes, size_t most) {
  return read_some(STDIN_FILENO, kStandardInput, bytes, most);
}

std::string read_stdin(size_t most) {
  return read_all(STDIN_FILENO, kStandardInput, most);
}

std::string read_prompt(std::string waiting) {
  std::optional<Progress> progress;
  if (!stdin_is_terminal()) progress.emplace(std::move(waiting));
  std::string text = plain_lines(read_stdin(kMostPromptBytes), kStandardInput);
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

std::string read_text(const std::string& path, size_t most) {
  if (path == "-") return std::string(plain_text(read_stdin(most), kStandardInput));
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw Error(fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
  struct Closer {
    int fd;
    ~Closer() { close(fd); }
  } closer{fd};
  return std::string(plain_text(read_all(fd, path, most), path));
}

}  // namespace anser
