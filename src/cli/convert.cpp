// anser convert: a model in another file format, its numbers kept or rounded once.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "base/atomic_file.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/paths.h"
#include "cli/save.h"
#include "model/save_gguf.h"
#include "model/save_safetensors.h"

namespace anser {
namespace {

namespace fs = std::filesystem;

struct ConvertOptions {
  FileOptions files;
  std::string save_vocabulary;
};

// Without --type GGUF is F16, as its users expect, and safetensors keeps the weights as they are.
// So are weights that adapters were merged into, if they were plain and not all F32.
SaveOptions how_to_save(const FileOptions& files, const Model& model, bool gguf) {
  SaveOptions how;
  const std::string& type = files.type;
  if (!type.empty()) {
    how.type = parse_type(type);
  } else if (!model.adapters().empty()) {
    if (!gguf) how.type = main_type(model) == DType::f32 ? DType::f32 : DType::f16;
    if (how.type != DType::f32) {
      say("anser: the merged weights are rounded to {}; --type f32 keeps them as they are",
          dtype_name(how.type));
    }
  } else if (!gguf && !is_quantised(model)) {
    how.type = main_type(model);
    how.keep_plain = true;
  }
  return how;
}

// What every reader takes for the vocabulary of a file that holds none.
bool is_usual(const Tokenizer& tokenizer) {
  if (tokenizer.is_byte_level()) return true;
  return Tokenizer::has_builtin_world() ? tokenizer == Tokenizer::builtin_world()
                                        : is_world(tokenizer) && tokenizer.added().empty();
}

void convert_command(const ConvertOptions& options) {
  const std::string& out = options.files.out;
  const std::string ending = fs::path(out).extension().string();
  const bool gguf = ending == ".gguf";
  if (!gguf && ending != ".safetensors") {
    throw CLI::ValidationError(fmt::format(
        "the name of OUT says which format is written: expected .gguf or .safetensors, found {}",
        out));
  }
  if (!options.save_vocabulary.empty()) {
    check_output("--save-vocab", options.save_vocabulary, options.files.inputs());
    if (fs::weakly_canonical(options.save_vocabulary) == fs::weakly_canonical(out)) {
      throw CLI::ValidationError("--save-vocab", fmt::format("{} is OUT, too", out));
    }
  }
  const Model model = open_source(options.files);
  if (!options.save_vocabulary.empty()) model.tokenizer();  // throws where there is none to save
  const SaveOptions how = how_to_save(options.files, model, gguf);
  if (model.adapters().empty() && is_quantised(model) && how.type != DType::f32) {
    say("anser: the {} weights of {} are rounded to {}; --type f32 keeps their values",
        model.type(), options.files.in, dtype_name(how.type));
  }
  if (gguf) say_what_gguf_lacks(model);
  if (!options.save_vocabulary.empty()) {
    const std::string text = vocabulary_text(model.tokenizer());
    write_file_atomically(options.save_vocabulary, std::as_bytes(std::span(text)));
  } else if (!gguf && model.has_tokenizer() && !is_usual(model.tokenizer())) {
    say("anser: the vocabulary of {} has no place in safetensors; --save-vocab FILE writes it, and "
        "--vocab FILE reads it again",
        options.files.in);
  }
  if (!gguf) say_what_vocabulary_is_missing(model);
  const bool writes_text = !options.save_vocabulary.empty() && !model.tokenizer().added().empty();
  if (writes_text) {
    say("anser: {} tokens were added to the vocabulary of {}; {} has those that are no control "
        "tokens, as ordinary ones. GGUF keeps them as they are",
        model.tokenizer().added().size(), options.files.in, options.save_vocabulary);
  }
  save_and_report(model, options.files, how, gguf ? save_gguf : save_safetensors);
}

}  // namespace

void add_convert(CLI::App& app) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* command = app.add_subcommand("convert", "write a model in another file format");
  options->files.add_to(*command,
                        "the file to write: .gguf, or .safetensors under the original names");
  command
      ->add_option("--type", options->files.type,
                   "of the matrices: f32, f16 or bf16; without it: f16 in GGUF, as it is in "
                   "safetensors")
      ->transform(CLI::IsMember({"f32", "f16", "bf16"}, CLI::ignore_case));
  command->add_option("--save-vocab", options->save_vocabulary,
                      "also write the vocabulary, in the grammar of RWKV World");
  command->callback([options] { convert_command(*options); });
}

}  // namespace anser
