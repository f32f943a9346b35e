// anser chat: a conversation at the terminal, or a script of one from a pipe. Only answers go to
// stdout.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "anser/error.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/conversation.h"
#include "cli/line_reader.h"
#include "cli/options.h"

namespace anser {
namespace {

constexpr char kHelp[] =
    "/save FILE    save the conversation's state\n"
    "/load FILE    continue a saved one\n"
    "/fork NAME    branch off here and go on in the branch\n"
    "/switch NAME  go to another branch (the first one is called main)\n"
    "/undo         forget the last turn\n"
    "/reset        begin anew\n"
    "/quit         end (so does Ctrl-D); Ctrl-C ends an answer\n"
    "The state has a fixed size: none of these takes longer in a long conversation.";

struct ChatOptions {
  ModelOptions model;
  SamplingFlags sampling;
  std::string format = "chat";
  std::string system;
  std::string load_state;
  std::vector<std::string> stops;
  int max_tokens = 1024;
};

// Answers begin with the space that follows "Assistant:"; it is not for the reader.
class AnswerPrinter {
 public:
  void print(std::string_view piece) {
    if (!begun_) {
      const size_t start = piece.find_first_not_of(" \n");
      if (start == std::string_view::npos) return;
      piece.remove_prefix(start);
      begun_ = true;
    }
    write_out(piece);
  }

 private:
  bool begun_ = false;
};

class Chat {
 public:
  Chat(Engine& engine, ConversationOptions options) : conversation_(engine, std::move(options)) {}

  void load(const std::string& path) { conversation_.load(path); }

  void run() {
    if (reader_.interactive()) say("{}\n", kHelp);
    while (const std::optional<std::string> line = reader_.read(prompt())) {
      if (line->find_first_not_of(" \t\r") == std::string::npos) continue;
      try {
        if (line->front() != '/') {
          answer(*line);
        } else if (!command(*line)) {
          return;
        }
      } catch (const Error& error) {
        // A script shall not go on as if nothing had happened.
        if (!reader_.interactive()) throw;
        say("{}", error.what());
      }
    }
    if (reader_.interactive()) say("");
  }

 private:
  std::string prompt() const {
    const std::string& branch = conversation_.branch();
    return branch == "main" ? "> " : branch + "> ";
  }

  void answer(const std::string& text) {
    const InterruptGuard guard;
    AnswerPrinter printer;
    const Generated answer = conversation_.answer(text, [&](std::string_view piece) {
      printer.print(piece);
      return !InterruptGuard::interrupted();
    });
    write_out(answer.text.ends_with('\n') ? "" : "\n");
    if (answer.reason == StopReason::length) say("(the answer was cut off: -n sets its length)");
  }

  // False: the user wants to leave.
  bool command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    std::string argument = space == std::string::npos ? "" : line.substr(space + 1);
    while (argument.starts_with(' ')) argument.erase(0, 1);
    while (argument.ends_with(' ') || argument.ends_with('\r')) argument.pop_back();
    const auto needs = [&](const char* what) {
      if (argument.empty()) throw Error(fmt::format("{} needs {}", name, what));
    };
    if (name == "/quit" || name == "/exit") return false;
    if (name == "/help") {
      say("{}", kHelp);
    } else if (name == "/save") {
      needs("a file name");
      conversation_.save(argument);
      say("saved in {}", argument);
    } else if (name == "/load") {
      needs("a file name");
      conversation_.load(argument);
      say("loaded {}", argument);
    } else if (name == "/fork") {
      needs("a name");
      conversation_.fork(argument);
      say("now in {}", argument);
    } else if (name == "/switch") {
      needs(fmt::format("a name: one of {}", fmt::join(conversation_.branches(), ", ")).c_str());
      conversation_.switch_to(argument);
      say("now in {}", argument);
    } else if (name == "/undo") {
      say(conversation_.undo() ? "one turn back" : "there is nothing to go back to");
    } else if (name == "/reset") {
      conversation_.reset();
      say("begun anew");
    } else {
      throw Error(fmt::format("there is no command {}; /help lists what there is", name));
    }
    return true;
  }

  Conversation conversation_;
  LineReader reader_;
};

void chat_command(const ChatOptions& options) {
  ConversationOptions conversation;
  conversation.format = template_from_name(options.format);
  conversation.system = options.system;
  conversation.generation.max_tokens = options.max_tokens;
  conversation.generation.sampling = options.sampling.resolve();
  conversation.generation.stop = default_stops(conversation.format);
  for (const std::string& stop : options.stops) conversation.generation.stop.push_back(stop);
  const LoadedModel loaded = load_model(options.model);
  if (loaded.model.tokenizer().is_byte_level()) conversation.generation.stop_tokens.clear();
  Chat chat(*loaded.engine, std::move(conversation));
  if (!options.load_state.empty()) chat.load(options.load_state);
  chat.run();
}

}  // namespace

void add_chat(CLI::App& app) {
  auto options = std::make_shared<ChatOptions>();
  CLI::App* command = app.add_subcommand("chat", "have a conversation");
  options->model.add_to(*command);
  command->add_option("--system", options->system,
                      "what the conversation is told at its beginning");
  command->add_option("--template", options->format, "how turns are written")
      ->check(CLI::IsMember({"chat", "think", "fake-think"}))
      ->capture_default_str();
  command->add_option("-n,--max-tokens", options->max_tokens, "tokens of an answer at the most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--stop", options->stops, "end an answer before this text; repeatable")
      ->allow_extra_args(false);
  command->add_option("--load-state", options->load_state, "continue a saved conversation");
  options->sampling.add_to(*command, "chat");
  command->footer(kHelp);
  command->callback([options] { chat_command(*options); });
}

}  // namespace anser
