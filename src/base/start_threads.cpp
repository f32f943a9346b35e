#include "base/start_threads.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>

#include <fstream>
#include <string>

#include "anser/error.h"

namespace anser {
namespace {

// Of this process's control group; nothing where there is none, or no limit.
std::string most_in_control_group() {
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t path = line.rfind(':');
    if (path == std::string::npos) continue;
    const std::string group = line.substr(path + 1);
    for (const std::string& folder :
         {"/sys/fs/cgroup" + group, "/sys/fs/cgroup/pids" + group, std::string("/sys/fs/cgroup")}) {
      std::string most;
      if (std::ifstream(folder + "/pids.max") >> most && most != "max") return most;
    }
  }
  return {};
}

std::vector<std::string> limits() {
  std::vector<std::string> found;
  const auto add = [&](int resource, uint64_t unit, const char* what) {
    rlimit limit{};
    if (::getrlimit(__rlimit_resource(resource), &limit) != 0) return;
    if (limit.rlim_cur == RLIM_INFINITY) return;
    found.push_back(fmt::format("{} {}", limit.rlim_cur / unit, what));
  };
  add(RLIMIT_NPROC, 1, "processes and threads of this user (ulimit -u)");
  add(RLIMIT_AS, 1 << 20, "MiB of address space (ulimit -v)");
  if (const std::string most = most_in_control_group(); !most.empty()) {
    found.push_back(fmt::format(
        "{} processes and threads of the control group (a container's pids limit)", most));
  }
  return found;
}

}  // namespace

void fail_thread(int number, int all, const std::system_error& why) {
  const std::vector<std::string> found = limits();
  const std::string which = all == 1 ? "a thread" : fmt::format("thread {} of {}", number, all);
  throw Error(fmt::format(
      "{} cannot be started: {}. The limits here: {}. Raise the one that is reached, or ask for "
      "fewer with --threads",
      which, why.code().message(),
      found.empty() ? "none but the machine's memory" : fmt::to_string(fmt::join(found, ", "))));
}

}  // namespace anser
