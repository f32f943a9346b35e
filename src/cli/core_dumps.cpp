#include "cli/core_dumps.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>

namespace anser {

void CoreDumps::add_to(CLI::App& command) {
  command.add_flag("--core-dumps", allowed,
                   "let the system dump core should the program die, and debuggers attach. Without "
                   "it neither can: both show what was said");
}

void CoreDumps::forbid() const {
  if (allowed) return;
  // The limit alone would not do where cores go to a program, as systemd's.
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

}  // namespace anser
