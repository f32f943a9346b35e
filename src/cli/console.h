// The program's side of the terminal: data to stdout, talk to stderr.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace anser {

// The reader of our stdout has gone (`anser run ... | head`): not a failure, the program just ends.
struct BrokenPipe {};

// Writes all of `data` to stdout at once, unbuffered, so that text appears as it is generated.
// Throws BrokenPipe, or Error when the data cannot be written (a full disk).
void write_out(std::string_view data);

// To stderr, as it is. Takes no memory. Failing to talk is no failure.
void write_err(std::string_view text);
// One line to stderr. Failing to talk is no failure.
void say(std::string_view line);

template <typename... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  say(std::string_view(fmt::format(format, std::forward<Args>(args)...)));
}

bool stdin_is_terminal();
// Whether somebody has put a file, a pipe or a socket (which some shells take for a pipe) there: no
// terminal, nor /dev/null.
bool stdin_is_redirected();
bool stdout_is_terminal();
bool stderr_is_terminal();

// `text` as a terminal shows it in bold; as it is where TERM or NO_COLOR speak against it.
std::string bold(std::string_view text);

// A pipe may never end, and a device has no size: what is longer than this is refused instead of
// filling the memory.
inline constexpr size_t kMostTextBytes = size_t(1) << 30;
inline constexpr size_t kMostPromptBytes = size_t(64) << 20;

// All of stdin, as it is. Throws Error when it cannot be read, or is longer than `most` bytes.
std::string read_stdin(size_t most = kMostTextBytes);
// Some bytes of stdin, waiting for them; 0: it is at its end. Throws Error.
size_t read_some_stdin(char* bytes, size_t most);
// A file that a person has written, by whatever editor (text/plain_text.h); "-" is stdin. Throws
// Error, also when it is longer than `most` bytes.
std::string read_text(const std::string& path, size_t most = kMostTextBytes);
// A prompt from stdin: line ends are "\n", and one at the end is left out, since `echo` and editors
// put it there and nobody means it. Says what it waits for if that does not come within a second.
std::string read_prompt(std::string waiting = "waiting for the end of standard input");

}  // namespace anser
