// anser run: a prompt goes in, its continuation comes out on stdout, statistics on stderr.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "anser/constraint.h"
#include "anser/error.h"
#include "anser/generate.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/feed.h"
#include "cli/load_state.h"
#include "cli/options.h"
#include "cli/paths.h"
#include "cli/signals.h"
#include "cli/statistics.h"
#include "cli/story.h"
#include "cli/template_options.h"
#include "text/fill_in_the_middle.h"

namespace anser {
namespace {

constexpr int kTokens = 256;  // where -n does not say

struct RunOptions {
  ModelOptions model;
  SamplingFlags sampling;
  std::optional<std::string> prompt;
  TemplateFlags format;
  std::string system, suffix;
  std::vector<std::string> stops;
  std::optional<int> max_tokens;
  std::string load_state, save_state;
  std::string json_schema;  // a file's name, or the schema itself
  bool json_object = false;
  bool no_bos = false;
  bool json = false;
};

// Read before the model is, so that its mistakes show at once.
std::string schema_text(const std::string& given) {
  if (given.find_first_not_of(" \t\r\n") == given.find('{')) return given;
  return read_text(given, kMostPromptBytes);
}

std::shared_ptr<const Constraint> make_constraint(const RunOptions& options,
                                                  const std::string& schema, const Model& model) {
  const int vocab = model.hyperparameters().vocab;
  if (options.json_object) return Constraint::json_object(model.tokenizer(), vocab);
  if (options.json_schema.empty()) return nullptr;
  return Constraint::json_schema(model.tokenizer(), vocab, schema);
}

// What the prompt is: a text, one with a gap, or a user's turn.
enum class PromptKind { raw, fill, turn };

PromptKind prompt_kind(const TemplateFlags& format) {
  if (!format.file.empty()) return PromptKind::turn;
  if (format.name.empty() || format.name == "raw") return PromptKind::raw;
  return format.name == "fim" ? PromptKind::fill : PromptKind::turn;
}

// The prompt's text, from where the user put it; none when a loaded state is to be continued as it
// is: with -p '', or without -p where nothing comes from a pipe or a file.
std::optional<std::string> prompt_text(const RunOptions& options) {
  const bool continues = !options.load_state.empty();
  if (options.prompt && *options.prompt != "-") {
    // In the middle of a text, an empty one may be what comes before a gap, if there is one.
    const bool gap = prompt_kind(options.format) == PromptKind::fill && !options.suffix.empty();
    if (continues && options.prompt->empty() && !gap) return std::nullopt;
    return options.prompt;
  }
  if (!options.prompt) {
    if (continues && !stdin_is_redirected()) return std::nullopt;
    if (stdin_is_terminal()) {
      throw CLI::ValidationError("no prompt: give one with -p TEXT, or pipe one in");
    }
  }
  std::string text = continues && !options.prompt
                         ? read_prompt(
                               "waiting for a prompt on standard input (-p '' goes on "
                               "without one)")
                         : read_prompt();
  if (!options.prompt && text.empty()) {
    if (continues) return std::nullopt;
    throw CLI::ValidationError("no prompt: standard input is empty; give one with -p TEXT");
  }
  return text;
}

void check_parts(const RunOptions& options) {
  const PromptKind kind = prompt_kind(options.format);
  const auto refuse = [](const char* option, const char* what, const char* instead) {
    throw CLI::ValidationError(
        fmt::format("{} has no place in {}; {} takes one", option, what, instead));
  };
  const char* const what = kind == PromptKind::raw    ? "the template raw"
                           : kind == PromptKind::fill ? "the template fim"
                                                      : "a conversation";
  if (kind != PromptKind::turn && !options.system.empty()) refuse("--system", what, "chat");
  if (kind != PromptKind::fill && !options.suffix.empty()) refuse("--suffix", what, "fim");
}

// `form`: of a turn.
std::vector<Token> prompt_tokens(const RunOptions& options, const ChatTemplate& form,
                                 const Tokenizer& tokenizer, const State& state,
                                 const std::string& text) {
  // A state that has read something is in the middle of a conversation.
  const bool continues = state.tokens() > 0;
  const PromptKind kind = prompt_kind(options.format);
  std::string rendered = text;
  if (kind == PromptKind::fill) rendered = fill_in_the_middle(text, options.suffix);
  if (kind == PromptKind::turn) {
    rendered = continues ? render_later_turn(form, text, form.usual)
                               .substr(separator_read(form, state.text_end()))
                         : render_first_turn(form, text, options.system, form.usual);
  }
  // Training documents begin after an end-of-text token, and a model may fail to retain its very
  // first token.
  const bool begins = kind == PromptKind::raw
                          ? options.load_state.empty()
                          : kind == PromptKind::turn && form.begin_token && !continues;
  return begins && !options.no_bos ? tokenizer.encode_document(rendered)
                                   : tokenizer.encode(rendered);
}

// At a terminal a text reads better from its beginning. Elsewhere stdout is the continuation only.
void show_prompt(const RunOptions& options) {
  const bool typed = options.prompt && *options.prompt != "-";
  const bool raw = prompt_kind(options.format) == PromptKind::raw;
  if (!typed || !raw || options.json || !stdout_is_terminal()) return;
  write_out(bold(*options.prompt));
}

void print_json(const Generated& result, const Statistics& statistics, uint64_t seed) {
  nlohmann::ordered_json object = {{"text", result.text},
                                   {"tokens", result.tokens},
                                   {"reason", stop_reason_name(result.reason)},
                                   {"timings",
                                    {{"load_s", statistics.load_s},
                                     {"prompt_tokens", statistics.prompt_tokens},
                                     {"prompt_s", statistics.prompt_s},
                                     {"generated_tokens", statistics.generated_tokens},
                                     {"generated_s", statistics.generated_s},
                                     {"generated_tok_s", statistics.generated_rate()},
                                     {"gb_s", statistics.gb_s()}}},
                                   {"seed", seed}};
  write_out(object.dump() + "\n");
}

void run_command(const RunOptions& options) {
  GenerateOptions generation;
  options.sampling.check();
  check_readable(options.load_state);
  if (!options.save_state.empty()) {
    // The state that is loaded may be replaced by what becomes of it.
    std::vector<std::string> inputs = options.model.inputs();
    inputs.push_back(options.json_schema);
    inputs.push_back(options.format.file);
    check_output("--save-state", options.save_state, inputs);
  }
  std::optional<ChatTemplate> given = options.format.given();
  const std::optional<std::string> text = prompt_text(options);
  if (!text && !options.suffix.empty()) {
    throw CLI::ValidationError("--suffix",
                               "what comes before the gap is missing: give it with -p TEXT");
  }
  const std::string schema =
      options.json_schema.empty() ? std::string() : schema_text(options.json_schema);

  const LoadedModel loaded = load_model(options.model);
  const InterruptGuard guard;  // before, Ctrl-C has nothing to wait for
  const Tokenizer& tokenizer = loaded.model.tokenizer();
  const PromptKind kind = prompt_kind(options.format);
  ChatTemplate form;
  if (kind == PromptKind::turn) form = given ? *std::move(given) : form_of_model(loaded.model);
  generation.stop = options.stops;
  generation.stop.insert(generation.stop.end(), form.stops.begin(), form.stops.end());
  if (kind == PromptKind::fill) generation.stop.push_back(kFillStop);
  generation.constraint = make_constraint(options, schema, loaded.model);
  const bool story = loaded.model.tells_stories() && !generation.constraint;
  generation.max_tokens = options.max_tokens.value_or(story ? kStoryTokens : kTokens);
  generation.sampling = options.sampling.resolve(loaded.model, {});
  State state = options.load_state.empty() ? loaded.model.initial_state()
                                           : load_state(loaded.model, options.load_state);
  check_system(options.system, state, options.load_state);
  Statistics statistics(*loaded.engine, loaded.load_s);
  if (text) {
    const std::vector<Token> tokens = prompt_tokens(options, form, tokenizer, state, *text);
    if (tokens.empty() && !state.has_logits()) {
      throw CLI::ValidationError("the prompt is empty: there is nothing to continue");
    }
    statistics.time_prompt(tokens.size(), [&] {
      feed(*loaded.engine, state, tokens);
      loaded.engine->wait();
    });
  } else if (!state.has_logits()) {
    throw Error(fmt::format("{}: an initial state, to begin a text with: give a prompt with -p",
                            options.load_state));
  }

  show_prompt(options);
  // Whoever reads the text may go (`| head`), and the state is saved nonetheless.
  bool reader_gone = false;
  const auto unless_gone = [&](const auto& write) {
    try {
      if (!reader_gone) write();
    } catch (const BrokenPipe&) {
      reader_gone = true;
    }
  };
  const OnText on_text = [&](std::string_view piece) {
    if (!options.json) unless_gone([&] { write_out(piece); });
    return !reader_gone && !InterruptGuard::interrupted();
  };
  Generated result{{}, {}, StopReason::length};
  statistics.time_generation([&] {
    result = story && !options.max_tokens
                 ? generate_sentences(*loaded.engine, state, generation, text.value_or(""), on_text)
                 : generate(*loaded.engine, state, generation, on_text);
    return result.tokens.size();
  });
  if (options.json) {
    unless_gone([&] { print_json(result, statistics, generation.sampling.seed); });
  } else if (!result.text.ends_with('\n')) {
    // The text is data; the line's end is for the reader at the terminal only.
    if (stdout_is_terminal()) write_out("\n");
  }
  if (!options.json && stdout_is_terminal()) say("");
  if (!options.save_state.empty()) state.save(options.save_state);
  if (reader_gone) throw BrokenPipe();
  if (!options.json) say("{}", statistics.line(generation.sampling));
}

}  // namespace

void add_run(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "continue a text");
  options->model.add_to(*command);
  may_be_empty(command->add_option(
      "-p,--prompt", options->prompt,
      "the text to continue; - or none with a pipe or a file there: standard input, which is not "
      "read otherwise. A terminal shows it in front of its continuation"));
  command
      ->add_option("-n,--max-tokens", options->max_tokens,
                   fmt::format("most tokens to generate. Without it: {}; of a story model {}, "
                               "or somewhat fewer, to end with a sentence",
                               kTokens, kStoryTokens))
      ->check(not_negative());
  command->add_option("--stop", options->stops, "end before this text; may be given several times")
      ->allow_extra_args(false);
  auto* schema = command->add_option(
      "--json-schema", options->json_schema,
      "write JSON that satisfies this JSON Schema: a file, or the schema itself, which begins with "
      "a {. Whole if -n is large enough");
  command->add_flag("--json-object", options->json_object, "write a JSON object, any")
      ->excludes(schema);
  command->add_option("--load-state", options->load_state,
                      "continue a saved state (or begin with a tuned initial state): with the "
                      "prompt, or as it is with -p '' or with nothing on standard input");
  command->add_option("--save-state", options->save_state, "save the state after the text");
  command->add_flag("--json", options->json,
                    "print one object: text, tokens, reason, timings, seed");

  auto* prompt = command->add_option_group("Prompt format");
  options->format.add_to(*prompt, {"raw", "fim"},
                         "All but raw, which is the default, and fim wrap the prompt as a user's "
                         "turn; fim fills the gap between the prompt and --suffix");
  may_be_empty(
      prompt->add_option("--system", options->system, "system text in front of a user's turn"));
  may_be_empty(prompt->add_option("--suffix", options->suffix, "what follows the gap, for fim"));
  prompt->add_flag("--no-bos", options->no_bos,
                   "do not begin with the token that ends a text, 0 in World vocabularies. A raw "
                   "prompt and those of some forms (flower, markdown) do, unless a state is loaded "
                   "or the vocabulary has none");
  options->sampling.add_to(*command, "temperature 1, top-p 0.85");

  command->callback([options] {
    check_parts(*options);  // before minutes are spent on loading
    run_command(*options);
  });
}

}  // namespace anser
