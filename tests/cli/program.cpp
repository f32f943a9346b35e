#include "cli/program.h"

#include <fcntl.h>
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

// Files instead of pipes for all three streams: nothing can block, whatever the program does.
int run(const std::vector<std::string>& arguments, const std::string& in, const std::string& out,
        const std::string& err) {
  std::vector<std::string> words = {ANSER_BINARY};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  const int fds[3] = {open_or_throw(in, O_RDONLY), open_or_throw(out, O_WRONLY | O_CREAT),
                      open_or_throw(err, O_WRONLY | O_CREAT)};
  const pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 3; ++i) dup2(fds[i], i);
    execv(argv[0], argv.data());
    _exit(127);
  }
  for (const int fd : fds) close(fd);
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) throw std::runtime_error("fork");
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

Result run_anser(const std::vector<std::string>& arguments, const std::string& input) {
  const TempDir folder;
  write_file(folder / "in", input);
  const int code = run(arguments, folder / "in", folder / "out", folder / "err");
  return {code, read_file(folder / "out"), read_file(folder / "err")};
}

Result run_anser_into(const std::string& file, const std::vector<std::string>& arguments) {
  const TempDir folder;
  const int code = run(arguments, "/dev/null", file, folder / "err");
  return {code, "", read_file(folder / "err")};
}

}  // namespace support
