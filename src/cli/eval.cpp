// anser eval: how good a model is, and how far it is from another one.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "anser/error.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/options.h"
#include "cli/paths.h"
#include "cli/scoring.h"

namespace anser {
namespace {

using Json = nlohmann::ordered_json;

struct EvalOptions {
  ModelOptions model;
  std::string perplexity, lambada, kl, text;
  int64_t limit = 0;
  bool json = false;
};

Json perplexity_result(const EvalOptions& options, Engine& engine) {
  const Perplexity score = score_text(engine, read_text(options.perplexity), options.limit);
  return {{"tokens", score.tokens},
          {"bytes", score.bytes},
          {"loss", score.loss()},
          {"perplexity", score.perplexity()},
          {"bits_per_byte", score.bits_per_byte()}};
}

Json lambada_result(const EvalOptions& options, Engine& engine) {
  const Lambada score = score_lambada(engine, read_lambada(options.lambada, options.limit));
  return {{"examples", score.examples},
          {"perplexity", score.perplexity()},
          {"accuracy", score.accuracy()}};
}

Json kl_result(const EvalOptions& options, Engine& engine) {
  const std::string text = read_text(options.text);
  if (text.empty()) throw Error(options.text + ": the text is empty: there is nothing to compare");
  ModelOptions base_options = options.model;
  base_options.model = options.kl;
  base_options.adapters = {};  // so that what they change can be measured
  const LoadedModel base = load_model(base_options);
  const Divergence score = compare_models(engine, *base.engine, text, options.limit);
  return {{"tokens", score.tokens},
          {"mean_kl", score.mean_kl()},
          {"max_kl", score.kl_max},
          {"same_best", score.agreement()},
          {"mean_abs_logit_difference", score.mean_difference()}};
}

// What is printed is a number, or the command fails. All logits were finite, which engines see to.
void check_finite(const Json& result, const LoadedModel& loaded) {
  for (const auto& [key, value] : result.items()) {
    if (!value.is_number_float() || std::isfinite(value.get<double>())) continue;
    const auto loss = result.find("loss");
    throw Error(fmt::format(
        "{}: {} is {}, not a finite number{}; the model is damaged, or none for this text",
        loaded.model.path(), key, value.get<double>(),
        loss == result.end() ? ""
                             : fmt::format(", at a loss of {:.6g} a token", loss->get<double>())));
  }
}

void eval_command(const EvalOptions& options) {
  for (const std::string& path : {options.perplexity, options.lambada, options.kl, options.text}) {
    check_readable(path);
  }
  const LoadedModel loaded = load_model(options.model);
  Json result = !options.perplexity.empty() ? perplexity_result(options, *loaded.engine)
                : !options.lambada.empty()  ? lambada_result(options, *loaded.engine)
                                            : kl_result(options, *loaded.engine);
  check_finite(result, loaded);
  if (options.json) {
    Json whole = {{"model", loaded.model.name()}, {"type", loaded.model.type()}};
    whole.update(result);
    write_out(whole.dump() + "\n");
    return;
  }
  std::string out;
  for (const auto& [key, value] : result.items()) {
    out += value.is_number_float() ? fmt::format("{}\t{:.6g}\n", key, value.get<double>())
                                   : fmt::format("{}\t{}\n", key, value.get<int64_t>());
  }
  write_out(out);
}

}  // namespace

void add_eval(CLI::App& app) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* command = app.add_subcommand("eval", "measure loss and perplexity, LAMBADA, or KL");
  options->model.add_to(*command);
  auto* what = command->add_option_group("What", "exactly one of");
  what->add_option("--perplexity", options->perplexity, "a plain text; read as one sequence");
  what->add_option("--lambada", options->lambada,
                   "a .jsonl of {\"text\": ...}: predict the last word of each");
  auto* kl = what->add_option("--kl", options->kl,
                              "a base model: KL(base || model) over --text, in nats per token");
  what->require_option(1);
  auto* text = command->add_option("--text", options->text, "the text of --kl")->needs(kl);
  command->add_option("--limit", options->limit, "stop after N tokens or examples; 0: all")
      ->check(not_negative());
  command->add_flag("--json", options->json, "print one JSON object");
  command->callback([options, kl, text] {
    if (!kl->empty() && text->empty()) throw CLI::ValidationError("--kl needs --text FILE");
    eval_command(*options);
  });
}

}  // namespace anser
