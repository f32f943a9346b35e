// Runs the real program, as a shell would.
#pragma once

#include <string>
#include <vector>

namespace support {

struct Result {
  int exit_code;  // -1: ended by a signal
  std::string out, err;
};

// `input` is its stdin, a pipe that is closed after it. ANSER_ISA and the like are inherited.
Result run_anser(const std::vector<std::string>& arguments, const std::string& input = "");

// The same by a shell, where "$0" is the program; so its streams can be whatever a shell makes of
// them.
Result run_shell(const std::string& script);

// The same with stdout connected to a file of that name (such as /dev/full); out stays empty.
Result run_anser_into(const std::string& file, const std::vector<std::string>& arguments);

// The same at a terminal, which all three streams are; out is all that it shows. Each of `typed` is
// typed when the program has asked for it ("> ").
Result run_anser_at_terminal(const std::vector<std::string>& arguments,
                             const std::vector<std::string>& typed,
                             const std::string& kind = "xterm");

}  // namespace support
