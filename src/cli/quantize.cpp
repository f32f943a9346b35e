// anser quantize: a model in fewer bits.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/save.h"
#include "model/save_gguf.h"

namespace anser {
namespace {

void quantize_command(const FileOptions& options) {
  if (std::filesystem::path(options.out).extension() != ".gguf") {
    throw CLI::ValidationError(fmt::format(
        "quantised weights go into a GGUF file: OUT must end in .gguf, found {}", options.out));
  }
  const Model model = open_source(options);
  if (is_quantised(model)) {
    say("anser: the weights of {} are {} already: what that lost stays lost, and this loses more. "
        "Quantise the original where you have it",
        options.in, model.type());
  }
  say_what_gguf_lacks(model);
  SaveOptions how;
  how.type = parse_type(options.type);
  save_and_report(model, options, how, save_gguf);
}

}  // namespace

void add_quantize(CLI::App& app) {
  auto options = std::make_shared<FileOptions>();
  CLI::App* command =
      app.add_subcommand("quantize", "write a model in 4 to 8 bits per weight, as GGUF");
  options->add_to(*command, "the file to write: .gguf");
  command
      ->add_option("--type", options->type,
                   "of most matrices; the sensitive ones get some bits more")
      ->required()
      ->transform(CLI::IsMember({"q8_0", "q4_0", "q4_k", "q5_k", "q6_k"}, CLI::ignore_case));
  command->callback([options] { quantize_command(*options); });
}

}  // namespace anser
