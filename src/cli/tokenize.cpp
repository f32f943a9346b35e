// anser tokenize: ids and pieces.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/escape.h"
#include "cli/numbers.h"
#include "cli/options.h"
#include "cli/progress.h"

namespace anser {
namespace {

struct TokenizeOptions {
  ModelOptions model;
  std::string text;
  bool from_stdin = false;
  bool json = false;
};

// A control token has no text when it is written, but here it was read.
std::string_view piece_of(const Tokenizer& tokenizer, Token id) {
  const auto added = std::ranges::find(tokenizer.added(), id, &AddedToken::id);
  return added == tokenizer.added().end() ? tokenizer.bytes_of(id) : added->text;
}

void tokenize_command(const TokenizeOptions& options) {
  options.model.adapters.need_model(options.model.model);
  // A vocabulary needs no model beside it.
  const Tokenizer tokenizer = options.model.model.empty() && !options.model.vocabulary.empty()
                                  ? Tokenizer::from_vocabulary_file(options.model.vocabulary)
                                  : open_model(options.model).tokenizer();
  std::string out;
  {
    Progress progress("tokenizing");
    if (options.from_stdin) progress.update("waiting for the end of standard input");
    const std::string text = options.from_stdin ? read_stdin() : options.text;
    progress.update(format_bytes(text.size()));
    const std::vector<Token> ids = tokenizer.encode(text);
    std::vector<std::string> pieces;
    for (const Token id : ids) pieces.push_back(escape_bytes(piece_of(tokenizer, id)));
    if (options.json) {
      out = nlohmann::json{{"ids", ids}, {"pieces", pieces}}.dump() + "\n";
    } else {
      for (size_t i = 0; i < ids.size(); ++i) out += fmt::format("{}\t{}\n", ids[i], pieces[i]);
    }
  }
  write_out(out);
}

}  // namespace

void add_tokenize(CLI::App& app) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "show a text's token ids and their pieces");
  options->model.add_to(*command, false);
  auto* text = may_be_empty(command->add_option(
      "TEXT", options->text, "the text; - or none with a pipe: standard input, as it is"));
  command->add_flag("--json", options->json,
                    "one object with ids and pieces; pieces are escaped as in the plain output");
  command->callback([options, text] {
    options->from_stdin = text->empty() || options->text == "-";
    if (text->empty() && stdin_is_terminal()) {
      throw CLI::ValidationError("no text: give one, or pipe one in");
    }
    tokenize_command(*options);
  });
}

}  // namespace anser
