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
#include "base/mapped_file.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/feed.h"
#include "cli/options.h"
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
  const auto file = MappedFile::open(given);
  return {reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()};
}

std::shared_ptr<const Constraint> make_constraint(const RunOptions& options,
                                                  const std::string& schema, const Model& model) {
  const int vocab = model.hyperparameters().vocab;
  if (options.json_object) return Constraint::json_object(model.tokenizer(), vocab);
  if (options.json_schema.empty()) return nullptr;
  return Constraint::json_schema(model.tokenizer(), vocab, schema);
}

// The prompt's text, from where the user put it; none when a loaded state is to be continued as it
// is.
std::optional<std::string> prompt_text(const RunOptions& options) {
  if (options.prompt && *options.prompt != "-") return options.prompt;
  if (!options.prompt) {
    if (!options.load_state.empty()) return std::nullopt;
    if (stdin_is_terminal()) {
      throw CLI::ValidationError("no prompt: give one with -p TEXT, or pipe one in");
    }
  }
  std::string text = read_stdin();
  // `echo` and editors end a text with a newline that nobody means.
  if (text.ends_with('\n')) text.pop_back();
  if (!options.prompt && text.empty()) {
    throw CLI::ValidationError("no prompt: standard input is empty; give one with -p TEXT");
  }
  return text;
}

// What the prompt is: a text, one with a gap, or a user's turn.
enum class PromptKind { raw, fill, turn };

PromptKind prompt_kind(const TemplateFlags& format) {
  if (!format.file.empty()) return PromptKind::turn;
  if (format.name.empty() || format.name == "raw") return PromptKind::raw;
  return format.name == "fim" ? PromptKind::fill : PromptKind::turn;
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
                         : render_first_turn(form, text, options.system, form.usual);
  }
  std::vector<Token> tokens = tokenizer.encode(rendered);
  // Training documents begin after an end-of-text token, and a model may fail to retain its very
  // first token. Where id 0 is an ordinary byte there is no such token.
  const bool begin = kind == PromptKind::raw
                         ? options.load_state.empty()
                         : kind == PromptKind::turn && form.begin_token && !continues;
  if (begin && !options.no_bos && !tokenizer.is_byte_level()) {
    tokens.insert(tokens.begin(), kEndOfText);
  }
  return tokens;
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
  std::optional<ChatTemplate> given = options.format.given();
  const std::optional<std::string> text = prompt_text(options);
  const std::string schema =
      options.json_schema.empty() ? std::string() : schema_text(options.json_schema);

  const InterruptGuard guard;
  const LoadedModel loaded = load_model(options.model);
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
  generation.sampling = options.sampling.resolve(loaded.model.sampling(), {});
  // Id 0 of a byte-level vocabulary is the byte 0, not the end of the text.
  if (tokenizer.is_byte_level()) generation.stop_tokens.clear();
  State state = options.load_state.empty() ? loaded.model.initial_state()
                                           : loaded.model.load_state(options.load_state);
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
  const OnText on_text = [&](std::string_view piece) {
    if (!options.json) write_out(piece);
    return !InterruptGuard::interrupted();
  };
  Generated result{{}, {}, StopReason::length};
  statistics.time_generation([&] {
    result = story && !options.max_tokens
                 ? generate_sentences(*loaded.engine, state, generation, text.value_or(""), on_text)
                 : generate(*loaded.engine, state, generation, on_text);
    return result.tokens.size();
  });
  if (options.json) {
    print_json(result, statistics, generation.sampling.seed);
  } else if (!result.text.ends_with('\n')) {
    // The text is data; the line's end is for the reader at the terminal only.
    if (stdout_is_terminal()) write_out("\n");
  }
  if (!options.json && stdout_is_terminal()) say("");
  if (!options.save_state.empty()) state.save(options.save_state);
  if (!options.json) say("{}", statistics.line(generation.sampling));
}

}  // namespace

void add_run(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "continue a text");
  options->model.add_to(*command);
  command->add_option(
      "-p,--prompt", options->prompt,
      "the text to continue; - or none with a pipe: standard input. A terminal shows "
      "it in front of its continuation");
  command
      ->add_option(
          "-n,--max-tokens", options->max_tokens,
          fmt::format("tokens to generate at the most. Without it: {}; of a story model {}, "
                      "or somewhat fewer, to end with a sentence",
                      kTokens, kStoryTokens))
      ->check(CLI::NonNegativeNumber);
  command->add_option("--stop", options->stops, "end before this text; may be given several times")
      ->allow_extra_args(false);
  auto* schema = command->add_option(
      "--json-schema", options->json_schema,
      "write JSON that satisfies this JSON Schema: a file, or the schema itself, which begins with "
      "a {. Whole if -n is large enough");
  command->add_flag("--json-object", options->json_object, "write a JSON object, any")
      ->excludes(schema);
  command->add_option("--load-state", options->load_state,
                      "continue a saved state (or begin with a tuned initial state)");
  command->add_option("--save-state", options->save_state, "save the state after the text");
  command->add_flag("--json", options->json,
                    "print one object: text, tokens, reason, timings, seed");

  auto* prompt = command->add_option_group("Prompt format");
  options->format.add_to(*prompt, {"raw", "fim"},
                         "All but raw, which is the default, and fim wrap the prompt as a user's "
                         "turn; fim fills the gap between the prompt and --suffix");
  prompt->add_option("--system", options->system, "system text in front of a user's turn");
  prompt->add_option("--suffix", options->suffix, "what follows the gap, for fim");
  prompt->add_flag("--no-bos", options->no_bos,
                   "do not begin with token 0. A raw prompt and those of some forms (flower, "
                   "markdown) do, unless a state is loaded or the "
                   "vocabulary is bytes");
  options->sampling.add_to(*command, "temperature 1, top-p 0.85");

  command->callback([options] {
    // Before minutes are spent on loading.
    if (options->load_state.empty()) check_parts(*options);
    run_command(*options);
  });
}

}  // namespace anser
