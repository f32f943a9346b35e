#include "cli/paths.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "anser/error.h"
#include "base/atomic_file.h"

namespace anser {

namespace fs = std::filesystem;

void check_readable(const std::string& path) {
  if (path.empty() || path == "-" || ::access(path.c_str(), R_OK) == 0) return;
  throw Error(fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
}

void check_writable(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode)) {
    const AtomicFile probe(path);
    return;
  }
  // A pipe is not opened before its time: whoever reads it would see its end.
  const int error = S_ISDIR(status.st_mode)             ? EISDIR
                    : ::access(path.c_str(), W_OK) == 0 ? 0
                                                        : errno;
  if (error != 0) throw Error(fmt::format("cannot write {}: {}", path, std::strerror(error)));
}

bool is_part_of(const std::string& in, const std::string& out) {
  std::error_code ignored;
  if (!fs::exists(out, ignored)) return false;
  if (fs::equivalent(in, out, ignored)) return true;
  if (!fs::is_directory(in, ignored)) return false;
  for (fs::directory_iterator at(in, ignored), end; at != end; at.increment(ignored)) {
    if (fs::equivalent(at->path(), out, ignored)) return true;
  }
  return false;
}

void check_output(const std::string& option, const std::string& path,
                  const std::vector<std::string>& inputs) {
  if (path == "-") {
    throw CLI::ValidationError(
        option, "- is no file: /dev/stdout is standard output, ./- a file of that name");
  }
  for (const std::string& input : inputs) {
    if (input.empty() || !is_part_of(input, path)) continue;
    throw CLI::ValidationError(
        option, fmt::format("{} is read from, so it cannot be written; give another name", path));
  }
  check_writable(path);
}

}  // namespace anser
