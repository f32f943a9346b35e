// anser: the command line. Parses, runs one command, and turns what it throws into an exit code:
// 0 done, 1 a failure that was explained, 2 wrong usage.
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <new>
#include <sstream>
#include <string>
#include <string_view>

#include "anser/error.h"
#include "anser/version.h"
#include "base/memory_reserve.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/signals.h"

namespace anser {
namespace {

// What CLI11 says of some mistakes, in words that name what was given.
std::string explain(const CLI::App& app, const CLI::ParseError& error) {
  const std::string text = error.what();
  const std::vector<std::string> unknown = app.remaining(true);
  if (text == "A subcommand is required" && !unknown.empty()) {
    return fmt::format("there is no command {}", unknown[0]);
  }
  if (text.starts_with("The following argument")) {
    return fmt::format("not expected: {}", fmt::join(unknown, " "));
  }
  const std::string no_room = "Could not convert: ";  // arguments.cpp saw to it that it is a number
  if (text.starts_with(no_room)) return text.substr(no_room.size()) + " is out of range";
  const size_t twice = text.find(": At Most 1 required but received ");
  if (twice != std::string::npos) return text.substr(0, twice) + ": given more than once";
  return text;
}

// What CLI11 throws: a call for help is data and a success, anything else is wrong usage.
int finish_parse(const CLI::App& app, const CLI::ParseError& error) {
  std::ostringstream out, err;
  const int code = app.exit(error, out, err);
  if (code == 0) {
    write_out(out.str());
    return 0;
  }
  std::string command = "anser";
  for (auto subs = app.get_subcommands(); !subs.empty(); subs = subs[0]->get_subcommands()) {
    command += " " + subs[0]->get_name();
  }
  say("anser: {}\n`{} --help` lists what there is.", explain(app, error), command);
  return 2;
}

// A stream that the caller has closed would be the next file that is opened: what is said would be
// written into a model. Standard output stays one that cannot be written, which is an error.
void hold_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    const int opened = open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
    if (opened >= 0 && opened != fd) close(opened);
  }
}

int run_program(int argc, char** argv) {
  CLI::App app{"anser runs RWKV-7 language models: constant memory, constant time per token."};
  app.name("anser");
  app.set_version_flag("--version", std::string("anser ") + version());
  app.require_subcommand(1);
  add_run(app);
  add_chat(app);
  add_logits(app);
  add_eval(app);
  add_bench(app);
  add_info(app);
  add_tokenize(app);
  add_quantize(app);
  add_convert(app);
  add_serve(app);
  add_state(app);
  refuse_odd_values(app);
  try {
    std::vector<std::string> words = words_of(app, argc, argv);
    std::reverse(words.begin(), words.end());  // as CLI11 takes them
    app.parse(std::move(words));
  } catch (const CLI::ParseError& error) {
    return finish_parse(app, error);
  }
  return 0;
}

}  // namespace
}  // namespace anser

namespace anser {
namespace {

// Without taking any memory.
constexpr std::string_view kOutOfMemory =
    "anser: out of memory: what is free, or a limit (ulimit -v, a container's), does not suffice. "
    "A model in fewer bits (anser quantize), fewer --threads or a smaller --max-batch need less\n";

int explained(int argc, char** argv) {
  try {
    return run_program(argc, argv);
  } catch (const BrokenPipe&) {
    return 0;
  } catch (const Error& error) {
    say("anser: {}", error.what());
  } catch (const std::bad_alloc&) {
    write_err(kOutOfMemory);
  } catch (const std::exception& error) {
    say("anser: internal error: {}", error.what());
  }
  return 1;
}

}  // namespace
}  // namespace anser

int main(int argc, char** argv) {
  anser::hold_standard_streams();
  anser::handle_signals();
  anser::keep_memory_reserve();
  const int code = anser::explained(argc, argv);
  anser::end_by_signal_that_came();
  return code;
}
