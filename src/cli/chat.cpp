// anser chat: a conversation at the terminal, or a script of one from a pipe; with a story model a
// story that two write. Only what the model writes goes to stdout.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>

#include "anser/error.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/conversation.h"
#include "cli/core_dumps.h"
#include "cli/line_reader.h"
#include "cli/options.h"
#include "cli/paths.h"
#include "cli/signals.h"
#include "cli/story.h"
#include "cli/template_options.h"

namespace anser {
namespace {

constexpr char kHelp[] =
    "/save FILE    save the state that the text has come to\n"
    "/load FILE    continue a saved one\n"
    "/fork NAME    branch off here and go on in the branch\n"
    "/switch NAME  go to another branch (the first one is called main)\n"
    "/undo         forget the last turn\n"
    "/reset        begin anew\n"
    "/quit         end (so does Ctrl-D); Ctrl-C ends a turn\n"
    "The state has a fixed size: none of these takes longer in a long text.";

constexpr int kAnswerTokens = 1024;  // where -n does not say

struct ChatOptions {
  ModelOptions model;
  SamplingFlags sampling;
  TemplateFlags format;
  std::string system;
  std::string load_state;
  std::vector<std::string> stops;
  std::optional<int> max_tokens;
  CoreDumps core_dumps;
};

// Answers begin with the space that follows "Assistant:", or the user's words, or with the end of a
// tag that the prompt has begun (`tag`); these are not for the reader.
class AnswerPrinter {
 public:
  explicit AnswerPrinter(std::string tag = {}) : tag_(std::move(tag)) {}

  void print(std::string_view piece) {
    while (!begun_ && !tag_.empty() && !piece.empty() && piece.front() == tag_.front()) {
      piece.remove_prefix(1);
      tag_.erase(0, 1);
    }
    if (!begun_) {
      const size_t start = piece.find_first_not_of(" \n");
      if (start == std::string_view::npos) return;
      piece.remove_prefix(start);
      begun_ = true;
    }
    write_out(piece);
  }
  bool begun() const { return begun_; }

 private:
  std::string tag_;
  bool begun_ = false;
};

// Of the end of an empty thought, what the prompt has left to the model.
std::string open_tag(const ChatTemplate& form) {
  const std::string& opening = form.opening(form.usual);
  for (size_t size = form.think_end.size(); size-- > 1;) {
    if (opening.ends_with(form.think_end.substr(0, size))) return form.think_end.substr(size);
  }
  return "";
}

class Chat {
 public:
  Chat(Engine& engine, ConversationOptions options, bool story)
      : tag_(story ? "" : open_tag(options.form)),
        conversation_(engine, std::move(options)),
        story_(story),
        story_model_(engine.model().tells_stories()) {}

  void load(const std::string& path, const std::string& system) {
    conversation_.load(path);
    check_system(system, conversation_.state(), path);
  }

  void run() {
    if (story_) introduce_story();
    if (reader_.interactive()) say("{}\n", kHelp);
    while (!InterruptGuard::must_end()) {
      const std::optional<std::string> line = reader_.read(prompt());
      if (!line) break;
      const bool blank = line->find_first_not_of(" \t\r") == std::string::npos;
      // A script's empty lines are there for its looks.
      if (blank && !(story_ && reader_.interactive())) continue;
      try {
        if (!line->starts_with('/')) {
          story_ ? write_on(*line) : answer(*line);
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

  void introduce_story() {
    say("{}What you type is written into a story, and the model goes on from there{}.\n",
        story_model_ ? "This is a story model: it cannot converse, nor answer questions. " : "",
        reader_.interactive() ? "; Enter alone lets it go on" : "");
  }

  void write_on(const std::string& line) {
    const InterruptGuard guard;
    AnswerPrinter printer;
    const Generated text = conversation_.write_on(line, until_interrupted(printer));
    if (printer.begun() && !text.text.ends_with('\n')) write_out("\n");
    if (text.reason == StopReason::stop_token) {
      say("(the story ends here; the next line begins a new one)");
    }
  }

  static OnText until_interrupted(AnswerPrinter& printer) {
    return [&printer](std::string_view piece) {
      printer.print(piece);
      return !InterruptGuard::interrupted();
    };
  }

  void answer(const std::string& text) {
    const InterruptGuard guard;
    AnswerPrinter printer(tag_);
    const Generated answer = conversation_.answer(text, until_interrupted(printer));
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
    for (const char* alone : {"/quit", "/exit", "/help", "/undo", "/reset"}) {
      if (name != alone || argument.empty()) continue;
      throw Error(fmt::format("{} takes nothing behind it, found {}", name, argument));
    }
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

  const std::string tag_;  // as AnswerPrinter has it
  Conversation conversation_;
  const bool story_, story_model_;
  LineReader reader_;
};

void chat_command(const ChatOptions& options) {
  options.core_dumps.forbid();
  options.sampling.check();
  check_readable(options.load_state);
  std::optional<ChatTemplate> given = options.format.given();
  const LoadedModel loaded = load_model(options.model);
  const Model& model = loaded.model;
  model.tokenizer();  // throws where there is none, before anybody types
  const std::string& name = options.format.name;
  const bool left_to_model = !given && (name.empty() || name == "auto");
  const bool story = left_to_model ? model.tells_stories() : name == "story";
  if (story && !options.system.empty()) {
    throw CLI::ValidationError(
        "--system has no place in a story: type what shall stand in it instead");
  }
  ConversationOptions conversation;
  conversation.system = options.system;
  GenerateOptions& generation = conversation.generation;
  if (!story) {
    conversation.form = given ? *std::move(given) : form_of_model(model);
    generation.stop = conversation.form.stops;
  }
  for (const std::string& stop : options.stops) generation.stop.push_back(stop);
  generation.max_tokens = options.max_tokens.value_or(story ? kStoryTurnTokens : kAnswerTokens);
  generation.sampling =
      options.sampling.resolve(model, story ? SamplingOptions() : sampling_preset("chat"));
  Chat chat(*loaded.engine, std::move(conversation), story);
  if (!options.load_state.empty()) chat.load(options.load_state, options.system);
  chat.run();
}

}  // namespace

void add_chat(CLI::App& app) {
  auto options = std::make_shared<ChatOptions>();
  CLI::App* command = app.add_subcommand("chat", "have a conversation, or write a story");
  options->model.add_to(*command);
  may_be_empty(command->add_option("--system", options->system,
                                   "what the conversation is told at its beginning"));
  options->format.add_to(*command, {"story"},
                         "story: both write on at one text. Without it: story for a story model, "
                         "else auto");
  command
      ->add_option("-n,--max-tokens", options->max_tokens,
                   fmt::format("tokens of a turn at the most. Without it: {}; {} of a story, whose "
                               "turns end with a sentence if they can",
                               kAnswerTokens, kStoryTurnTokens))
      ->check(positive());
  command->add_option("--stop", options->stops, "end an answer before this text; repeatable")
      ->allow_extra_args(false);
  command->add_option("--load-state", options->load_state, "continue a saved conversation");
  options->core_dumps.add_to(*command);
  options->sampling.add_to(*command, "chat (in a story temperature 1, top-p 0.85)");
  command->footer(kHelp);
  command->callback([options] { chat_command(*options); });
}

}  // namespace anser
