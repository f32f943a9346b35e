#include "cli/save.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <chrono>
#include <map>
#include <optional>

#include "anser/error.h"
#include "base/check.h"
#include "base/thread_pool.h"
#include "cli/console.h"
#include "cli/numbers.h"
#include "cli/options.h"
#include "cli/paths.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "model/weights.h"

namespace anser {
namespace {

std::string lower(std::string text) {
  for (char& c : text) c = char(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// How many weights the matrices have of each type, in the file.
struct WeightsByType {
  std::map<DType, int64_t> weights;

  void vector(const std::string&, const Vector&, int) {}
  void matrix(const std::string&, const Matrix& m, int rows, int cols) {
    weights[m.file_type] += int64_t(rows) * cols;
  }
  void low_rank(const std::string& name, const Matrix& m, int rows, int cols) {
    matrix(name, m, rows, cols);
  }
};

bool has_initial_state(const Model& model) {
  const Hyperparameters& h = model.hyperparameters();
  const State state = model.initial_state();
  for (int l = 0; l < h.layers; ++l) {
    const float* wkv = state.wkv(l);
    const size_t size = size_t(h.width) * size_t(h.head_size);
    if (std::any_of(wkv, wkv + size, [](float x) { return x != 0; })) return true;
  }
  return false;
}

}  // namespace

void FileOptions::add_to(CLI::App& command, const std::string& out_help) {
  command.add_option("IN", in, "a model file or folder, of any format that is read")->required();
  command.add_option("OUT", out, out_help)->required();
  command.add_option("--vocab", vocabulary, "a vocabulary file in the grammar of RWKV World");
  adapters.add_to(command);
  command.add_option("--threads", threads, "threads; 0: one per core that may be used")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
}

std::vector<std::string> FileOptions::inputs() const {
  std::vector<std::string> paths = adapters.inputs();
  paths.push_back(in);
  paths.push_back(vocabulary);
  return paths;
}

DType parse_type(const std::string& name) {
  for (int type = 0; type < kMatrixTypes; ++type) {
    if (lower(dtype_name(DType(type))) == name) return DType(type);
  }
  ANSER_CHECK(!"one of the names that the option accepts");
}

Model open_source(const FileOptions& options) {
  const std::vector<Adapter> adapters = options.adapters.resolve();
  check_output("OUT", options.out, options.inputs());
  std::optional<Model> opened;
  {
    const Progress progress(fmt::format("loading {}", options.in));
    opened = Model::open(options.in,
                         {.vocabulary = options.vocabulary, .adapters = adapters, .exact = true});
  }
  const Model& model = *opened;
  // The parts of a split file that were not named.
  for (const auto& file : model.weights().files) check_output("OUT", options.out, {file->path()});
  for (const std::string& adapter : model.adapters()) say("anser: merged {}", adapter);
  say_notes(model);
  return model;
}

DType main_type(const Model& model) {
  WeightsByType count;
  visit_weights(model.weights(), model.hyperparameters(), count);
  return std::max_element(count.weights.begin(), count.weights.end(),
                          [](const auto& a, const auto& b) { return a.second < b.second; })
      ->first;
}

bool is_quantised(const Model& model) {
  return block_elements(main_type(model)) > 1;
}

void save_and_report(const Model& model, const FileOptions& options, SaveOptions how,
                     SaveFunction save) {
  const auto begin = std::chrono::steady_clock::now();
  const InterruptGuard guard;
  size_t bytes = 0;
  {
    Progress progress(fmt::format("writing {}", options.out));
    how.threads = options.threads > 0 ? options.threads : usable_cores();
    how.progress = [&](size_t done, size_t all) {
      if (InterruptGuard::interrupted()) {
        throw Error(fmt::format("interrupted; {} has not been written", options.out));
      }
      bytes = all;
      progress.update(fmt::format("{} of {}", format_bytes(done), format_bytes(all)));
    };
    save(model, options.out, how);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  say("{}: {}, {:.2f} bits per weight, in {:.1f} s", options.out, format_bytes(bytes),
      8.0 * double(bytes) / double(model.parameters()), seconds.count());
}

void say_what_vocabulary_is_missing(const Model& model) {
  if (model.has_tokenizer()) return;
  try {
    model.tokenizer();
  } catch (const Error& why) {
    say("anser: {}. The new file has no vocabulary for anser either", why.what());
  }
}

void say_what_gguf_lacks(const Model& model) {
  say_what_vocabulary_is_missing(model);
  if (has_initial_state(model)) {
    if (model.adapters().empty()) {
      say("anser: {} holds an initial state, for which GGUF has no place; run the new file with "
          "--load-state {}",
          model.path(), model.path());
    } else {
      say("anser: the initial state of the merged model has no place in GGUF; .safetensors has "
          "one");
    }
  }
}

}  // namespace anser
