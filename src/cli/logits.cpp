// anser logits: the numbers themselves, for scripts that compare.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "anser/error.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/feed.h"
#include "cli/load_state.h"
#include "cli/npy.h"
#include "cli/options.h"
#include "cli/paths.h"
#include "cli/progress.h"

namespace anser {
namespace {

struct LogitsOptions {
  ModelOptions model;
  std::string prompt;
  std::vector<Token> tokens;
  bool all = false;
  std::string load_state;
  std::string output;
};

void logits_command(const LogitsOptions& options) {
  check_readable(options.load_state);
  std::vector<std::string> inputs = options.model.inputs();
  inputs.push_back(options.load_state);
  check_output("--output", options.output, inputs);
  LoadedModel loaded = load_model(options.model);
  // Exactly what was given: nothing is put in front, not even token 0.
  const std::vector<Token> tokens =
      options.tokens.empty() ? loaded.model.tokenizer().encode(options.prompt) : options.tokens;
  if (tokens.empty()) throw CLI::ValidationError("the prompt is empty: logits need a token");
  check_tokens(loaded.model, tokens);

  const size_t vocab = size_t(loaded.model.hyperparameters().vocab);
  State state = options.load_state.empty() ? loaded.model.initial_state()
                                           : load_state(loaded.model, options.load_state);
  NpyWriter file(options.output, options.all ? int64_t(tokens.size()) : 1, int64_t(vocab));
  if (!options.all) {
    feed(*loaded.engine, state, tokens);
    file.append(state.logits());
  } else {
    // Rows at a time that take some 64 MB.
    const size_t rows = std::clamp<size_t>((size_t(16) << 20) / vocab, 1, kFeedPiece);
    std::vector<float> logits(std::min(rows, tokens.size()) * vocab);
    Progress progress("reading the prompt");
    for (size_t done = 0; done < tokens.size();) {
      const size_t n = std::min(rows, tokens.size() - done);
      const Sequence piece{&state, std::span(tokens).subspan(done, n), LogitsFor::all,
                           logits.data()};
      loaded.engine->forward(std::span(&piece, 1));
      file.append(std::span(logits).first(n * vocab));
      done += n;
      progress.update(fmt::format("{} of {} tokens", done, tokens.size()));
    }
  }
  file.finish();
  const size_t rows = options.all ? tokens.size() : 1;
  say("{} row{} of {} logits in {}", rows, rows == 1 ? "" : "s", vocab, options.output);
}

}  // namespace

void add_logits(CLI::App& app) {
  auto options = std::make_shared<LogitsOptions>();
  CLI::App* command = app.add_subcommand(
      "logits", "write next-token logits as a NumPy file: float32 [rows, vocab]");
  options->model.add_to(*command);
  auto* prompt =
      command->add_option("-p,--prompt", options->prompt, "text to read; -: standard input");
  auto* tokens =
      add_list(*command, "--tokens", options->tokens, "ids to read: 1,2,3")->excludes(prompt);
  command->add_flag("--all", options->all, "a row after every token, not only after the last");
  command->add_option("--load-state", options->load_state,
                      "go on from a saved state, or from a tuned initial state");
  command->add_option("-o,--output", options->output, "the file to write (.npy)")->required();
  command->callback([options, prompt, tokens] {
    if (prompt->empty() && tokens->empty()) {
      throw CLI::ValidationError("one of --prompt and --tokens is required");
    }
    if (options->prompt == "-") options->prompt = read_prompt();
    logits_command(*options);
  });
}

}  // namespace anser
