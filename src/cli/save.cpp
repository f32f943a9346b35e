#include "cli/save.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <chrono>
#include <filesystem>
#include <map>

#include "anser/error.h"
#include "base/check.h"
#include "base/thread_pool.h"
#include "cli/console.h"
#include "cli/numbers.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "model/weights.h"

namespace anser {
namespace {

namespace fs = std::filesystem;

std::string lower(std::string text) {
  for (char& c : text) c = char(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// Bytes of the matrices by type.
struct BytesByType {
  std::map<DType, size_t> bytes;

  void vector(const std::string&, const Vector&, int) {}
  void matrix(const std::string&, const Matrix& m, int, int) { bytes[m.type] += m.bytes(); }
  void low_rank(const std::string&, const Matrix& m, int, int) { bytes[m.type] += m.bytes(); }
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

// Whether writing `out` would replace the model, or a part of it, that is being read.
bool is_part_of(const fs::path& in, const fs::path& out) {
  std::error_code ignored;
  if (!fs::exists(out, ignored)) return false;
  if (fs::equivalent(in, out, ignored)) return true;
  if (!fs::is_directory(in, ignored)) return false;
  for (fs::directory_iterator at(in, ignored), end; at != end; at.increment(ignored)) {
    if (fs::equivalent(at->path(), out, ignored)) return true;
  }
  return false;
}

}  // namespace

void FileOptions::add_to(CLI::App& command, const std::string& out_help) {
  command.add_option("IN", in, "a model file or folder, of any format that is read")->required();
  command.add_option("OUT", out, out_help)->required();
  command.add_option("--vocab", vocabulary, "a vocabulary file in the grammar of RWKV World");
  command.add_option("--threads", threads, "threads; 0: one per core that may be used")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
}

DType parse_type(const std::string& name) {
  for (int type = 0; type < kMatrixTypes; ++type) {
    if (lower(dtype_name(DType(type))) == name) return DType(type);
  }
  ANSER_CHECK(!"one of the names that the option accepts");
}

Model open_source(const FileOptions& options) {
  if (is_part_of(options.in, options.out)) {
    throw CLI::ValidationError(
        fmt::format("OUT, {}, is what the model is read from; give it another name", options.out));
  }
  Model model = Model::open(options.in, OpenOptions{options.vocabulary});
  say_notes(model);
  return model;
}

DType main_type(const Model& model) {
  BytesByType count;
  visit_weights(model.weights(), model.hyperparameters(), count);
  return std::max_element(count.bytes.begin(), count.bytes.end(),
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
    say("anser: {} holds an initial state, for which GGUF has no place; run the new file with "
        "--load-state {}",
        model.path(), model.path());
  }
}

}  // namespace anser
