#include "cli/options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <random>

#include "anser/error.h"
#include "cli/arguments.h"
#include "cli/console.h"
#include "cli/progress.h"
#include "engine/cuda_engine.h"

namespace anser {

void ModelOptions::add_to(CLI::App& command, bool with_engine) {
  command.add_option("-m,--model", model, "a model file or folder; without it: the embedded model");
  command.add_option("--vocab", vocabulary, "a vocabulary file in the grammar of RWKV World");
  adapters.add_to(command);
  if (!with_engine) return;
  command.add_option("--threads", threads, "threads; 0: one per core that may be used")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command.add_option("--device", device, "what computes; auto: an NVIDIA GPU where there is one")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  command.add_flag("--state16", state16, "GPU: keep states in 16 bits, half the room and traffic");
  command.add_flag("--invariant", invariant,
                   "GPU: the same bits whatever the batch and however a prompt is cut; slower");
}

void SamplingFlags::add_to(CLI::App& command, const std::string& otherwise) {
  auto* group = command.add_option_group("Sampling");
  group
      ->add_option("--preset", preset,
                   fmt::format("set all at once; the options below change single values. Without "
                               "it: what the model's file says (anser info -m MODEL), else {}",
                               otherwise))
      ->check(CLI::IsMember({"chat", "creative", "greedy"}));
  group->add_option("--seed", seed, "the same seed gives the same text; without it: a new one");
  group->add_option("--temperature", temperature, "0 takes the most probable token always");
  group->add_option("--top-p", top_p, "keep the most probable tokens of this much mass; 1: off");
  group->add_option("--top-k", top_k, "keep the K most probable tokens; 0: off");
  group->add_option("--min-p", min_p,
                    "drop what is less probable than this times the best; 0: off");
  group->add_option("--presence", presence, "subtracted from logits of tokens that have occurred");
  group->add_option("--frequency", frequency, "subtracted once per occurrence");
  group->add_option("--penalty-decay", penalty_decay, "occurrences fade by this factor per token");
  group
      ->add_option("--order", order,
                   "blinkdl: top-p before temperature (RWKV's own); hf: temperature first")
      ->check(CLI::IsMember({"blinkdl", "hf"}));
  add_list(*group, "--ban", banned, "token ids, separated by commas, that are never sampled");
}

SamplingOptions SamplingFlags::resolve(const SamplingDefaults& of_model,
                                       const SamplingOptions& otherwise) const {
  SamplingOptions options = preset.empty() ? of_model.over(otherwise) : sampling_preset(preset);
  if (temperature) options.temperature = *temperature;
  if (top_p) options.top_p = *top_p;
  if (top_k) options.top_k = *top_k;
  if (min_p) options.min_p = *min_p;
  if (presence) options.presence = *presence;
  if (frequency) options.frequency = *frequency;
  if (penalty_decay) options.penalty_decay = *penalty_decay;
  if (order == "blinkdl") options.order = SamplingOptions::Order::blinkdl;
  if (order == "hf") options.order = SamplingOptions::Order::hugging_face;
  options.banned.assign(banned.begin(), banned.end());
  // 32 bits are short enough to be typed again.
  options.seed = seed ? *seed : std::random_device()();
  try {
    options.check();
  } catch (const Error& error) {
    throw CLI::ValidationError(error.what());
  }
  return options;
}

SamplingOptions SamplingFlags::resolve(const Model& model, const SamplingOptions& otherwise) const {
  check_tokens(model, {banned.begin(), banned.end()});
  return resolve(model.sampling(), otherwise);
}

std::vector<std::string> ModelOptions::inputs() const {
  std::vector<std::string> paths = adapters.inputs();
  paths.push_back(model);
  paths.push_back(vocabulary);
  return paths;
}

bool ModelOptions::on_gpu() const {
  return device == "cuda" || (device == "auto" && !cuda_devices().usable.empty());
}

namespace {

Model open_quietly(const ModelOptions& options) {
  const OpenOptions open{.vocabulary = options.vocabulary,
                         .adapters = options.adapters.resolve(),
                         .merge_to_f16 = options.on_gpu()};
  if (options.random) {
    if (!open.adapters.empty()) {
      throw CLI::ValidationError("--lora has no place in random weights: give a model with -m");
    }
    return Model::random(*options.random);
  }
  return options.model.empty() ? Model::embedded(open) : Model::open(options.model, open);
}

}  // namespace

Model open_model(const ModelOptions& options) {
  Model model = open_quietly(options);
  say_notes(model);
  return model;
}

void say_notes(const Model& model) {
  for (const std::string& note : model.notes()) say("anser: {}", note);
}

LoadedModel load_model(const ModelOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  auto progress = std::make_unique<Progress>(
      options.random ? "making random weights"
                     : fmt::format("loading {}",
                                   options.model.empty() ? "the embedded model" : options.model));
  Model model = open_quietly(options);
  EngineOptions engine_options;
  engine_options.threads = options.threads;
  engine_options.device = options.device == "cuda"  ? Device::cuda
                          : options.device == "cpu" ? Device::cpu
                                                    : Device::automatic;
  engine_options.state16 = options.state16;
  engine_options.invariant = options.invariant;
  std::unique_ptr<Engine> engine = Engine::create(model, engine_options);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  progress.reset();  // its line is wiped before other lines come
  say_notes(model);
  return {std::move(model), std::move(engine), taken.count()};
}

void check_tokens(const Model& model, const std::vector<Token>& tokens) {
  const int vocab = model.hyperparameters().vocab;
  for (const Token token : tokens) {
    if (token < 0 || token >= vocab) {
      throw Error(fmt::format("token {} is not in the vocabulary of {}: expected 0 to {}", token,
                              model.name(), vocab - 1));
    }
  }
}

void check_system(const std::string& system, const State& state, const std::string& path) {
  if (system.empty() || state.tokens() == 0) return;
  throw CLI::ValidationError(
      "--system", fmt::format("the conversation has begun without it: {} has read {} tokens; leave "
                              "it out, or say it in the prompt",
                              path, state.tokens()));
}

}  // namespace anser
