// What `anser quantize` and `anser convert` share.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "anser/model.h"
#include "base/dtype.h"
#include "cli/options.h"
#include "model/save_tensors.h"

namespace CLI {
class App;
}

namespace anser {

struct FileOptions {
  std::string in, out;
  std::string vocabulary;
  AdapterOptions adapters;
  int threads = 0;
  std::string type;  // lower case, empty: the command's default

  void add_to(CLI::App& command, const std::string& out_help);
  // All files and folders that are read.
  std::vector<std::string> inputs() const;
};

// "q4_k" -> DType::q4_k.
DType parse_type(const std::string& name);

// Opens the model that is to be written again. Throws CLI::ValidationError when `out` is what it
// comes from.
Model open_source(const FileOptions& options);

// The type that most weights of the model have in its file, and whether it is one in blocks.
DType main_type(const Model& model);
bool is_quantised(const Model& model);

using SaveFunction = void (*)(const Model&, const std::string& path, const SaveOptions&);

// Saves with progress on stderr, and says what was written. Ctrl-C ends it and leaves nothing.
void save_and_report(const Model& model, const FileOptions& options, SaveOptions how,
                     SaveFunction save);

// Says on stderr why the new file will have no vocabulary, if it will have none.
void say_what_vocabulary_is_missing(const Model& model);

// Says on stderr what of the model has no place in a GGUF file, or is missing in it.
void say_what_gguf_lacks(const Model& model);

}  // namespace anser
