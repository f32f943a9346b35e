// Options that several commands share, and what they turn into.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "anser/engine.h"
#include "anser/model.h"
#include "anser/sampling.h"

namespace CLI {
class App;
}

namespace anser {

// --lora, --lora-alpha, --lora-init
struct AdapterOptions {
  std::vector<std::string> adapters;  // PATH or PATH:SCALE
  std::optional<double> alpha;
  std::string init;

  void add_to(CLI::App& command);
  // Throws CLI::ValidationError when an option is not given as it must be.
  std::vector<Adapter> resolve() const;
  // All files and folders that are named.
  std::vector<std::string> inputs() const;
  // For commands that do something without a model: throws when adapters are given and none is.
  void need_model(const std::string& model) const;
};

// -m/--model, --vocab, --lora, --threads, --device, --state16, --invariant
struct ModelOptions {
  std::string model;  // empty: the embedded one
  std::string vocabulary;
  AdapterOptions adapters;
  int threads = 0;
  std::string device = "auto";
  bool state16 = false, invariant = false;
  // Instead of a file; no option of all commands.
  std::optional<RandomWeights> random;

  void add_to(CLI::App& command, bool with_engine = true);
  // All files and folders that are named.
  std::vector<std::string> inputs() const;
  // Whether that is what will compute.
  bool on_gpu() const;
};

// The sampling options and --preset. What is given single overrides the preset, the preset what the
// model's file says, and that the defaults of the command.
struct SamplingFlags {
  std::string preset;  // empty: not given
  std::string order;
  std::optional<float> temperature, top_p, min_p, presence, frequency, penalty_decay;
  std::optional<int> top_k;
  std::optional<uint64_t> seed;
  std::vector<int> banned;

  // `otherwise`, in the help: what holds where neither --preset nor the model's file says anything.
  void add_to(CLI::App& command, const std::string& otherwise);

  // Draws a seed where none was given. Throws CLI::ValidationError for values outside their range.
  SamplingOptions resolve(const SamplingDefaults& of_model, const SamplingOptions& otherwise) const;
  // The same with what the model's file says. Throws Error for a banned token that it does not
  // have.
  SamplingOptions resolve(const Model& model, const SamplingOptions& otherwise) const;
  // Throws what resolve() would, before there is a model.
  void check() const { resolve(SamplingDefaults(), {}); }
};

// Says the model's notes on stderr.
Model open_model(const ModelOptions& options);
void say_notes(const Model& model);

struct LoadedModel {
  Model model;
  std::unique_ptr<Engine> engine;
  double load_s;  // opening and making ready
};

// Says on stderr that it is loading once that has taken a second.
LoadedModel load_model(const ModelOptions& options);

// Throws Error when there is an id that the model does not have.
void check_tokens(const Model& model, const std::vector<Token>& tokens);

// Throws CLI::ValidationError for a --system text on top of a state, from `path`, that has read
// something: its place is the beginning of a conversation.
void check_system(const std::string& system, const State& state, const std::string& path);

}  // namespace anser
