#include "cli/program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>

#include "support/temp_dir.h"

namespace support {
namespace {

int open_or_throw(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (fd < 0) throw std::runtime_error("cannot open " + path);
  return fd;
}

// `words`: the program, and its arguments.
pid_t start(std::vector<std::string> words, const int (&fds)[3], const std::string& terminal = "") {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("fork");
  if (child > 0) return child;
  for (int i = 0; i < 3; ++i) dup2(fds[i], i);
  if (!terminal.empty()) {
    setenv("TERM", terminal.c_str(), 1);
    unsetenv("NO_COLOR");
  }
  execv(argv[0], argv.data());
  _exit(127);
}

std::vector<std::string> anser_and(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), ANSER_BINARY);
  return arguments;
}

int exit_code(pid_t child) {
  int status = 0;
  if (waitpid(child, &status, 0) != child) throw std::runtime_error("waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Files instead of pipes for all three streams: nothing can block, whatever the program does.
int run(const std::vector<std::string>& words, const std::string& in, const std::string& out,
        const std::string& err) {
  const int fds[3] = {open_or_throw(in, O_RDONLY), open_or_throw(out, O_WRONLY | O_CREAT),
                      open_or_throw(err, O_WRONLY | O_CREAT)};
  const pid_t child = start(words, fds);
  for (const int fd : fds) close(fd);
  return exit_code(child);
}

}  // namespace

Result run_anser(const std::vector<std::string>& arguments, const std::string& input) {
  const TempDir folder;
  write_file(folder / "in", input);
  const int code = run(anser_and(arguments), folder / "in", folder / "out", folder / "err");
  return {code, read_file(folder / "out"), read_file(folder / "err")};
}

Result run_shell(const std::string& script) {
  const TempDir folder;
  const int code =
      run({"/bin/bash", "-c", script, ANSER_BINARY}, "/dev/null", folder / "out", folder / "err");
  return {code, read_file(folder / "out"), read_file(folder / "err")};
}

Result run_anser_into(const std::string& file, const std::vector<std::string>& arguments) {
  const TempDir folder;
  const int code = run(anser_and(arguments), "/dev/null", file, folder / "err");
  return {code, "", read_file(folder / "err")};
}

Result run_anser_at_terminal(const std::vector<std::string>& arguments,
                             const std::vector<std::string>& typed, const std::string& kind) {
  const int user = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (user < 0 || grantpt(user) != 0 || unlockpt(user) != 0)
    throw std::runtime_error("no terminal");
  const int terminal = open_or_throw(ptsname(user), O_RDWR | O_NOCTTY);
  const int fds[3] = {terminal, terminal, terminal};
  const pid_t child = start(anser_and(arguments), fds, kind);
  close(terminal);

  std::string shown;
  size_t asked_after = 0;  // what of it was answered
  char piece[4096];
  auto next = typed.begin();
  // Ends when the program has closed its side. One that says nothing for so long waits for what
  // will not come: it is ended, and its test fails.
  constexpr int kPatienceMs = 60'000;
  for (;;) {
    pollfd waiting = {user, POLLIN, 0};
    if (poll(&waiting, 1, kPatienceMs) == 0) kill(child, SIGKILL);
    const ssize_t n = read(user, piece, sizeof(piece));
    if (n <= 0) break;
    shown.append(piece, size_t(n));
    if (next == typed.end() || shown.find("> ", asked_after) == std::string::npos) continue;
    asked_after = shown.size();
    if (write(user, next->data(), next->size()) != ssize_t(next->size())) break;
    ++next;
  }
  close(user);
  return {exit_code(child), shown, ""};
}

}  // namespace support
