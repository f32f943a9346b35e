// anser bench: speed, and what share that is of what this machine can do.
//
// Decode is bound by memory: fraction = bytes a step must move x steps/s / stream bandwidth.
// Prefill is bound by arithmetic: fraction = operations of the matrices x prompts/s / peak, of fp32
// or, for quantised types, of 8-bit integers; the head's matrix counts once a prompt, since only
// the last token's logits are computed.
#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "anser/sampling.h"
#include "base/dtype.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/machine_speed.h"
#include "cli/numbers.h"
#include "cli/options.h"
#include "cli/progress.h"

namespace anser {
namespace {

using Json = nlohmann::ordered_json;
constexpr int kRuns = 5;  // the median counts

struct BenchOptions {
  ModelOptions model;
  std::vector<int> prefill = {512};
  int steps = 128;
  std::vector<int> batches = {1, 8, 32};
  bool json = false;
};

// What was done per second, before it is held against the machine.
struct Rate {
  int size;  // tokens of a prompt, or sequences of a batch
  double tok_s;
  double work_s;  // 1e9 operations, or 1e9 bytes, per second
};

// Any tokens do; always the same ones, so that runs can be compared.
std::vector<Token> some_tokens(const Model& model, int n) {
  std::vector<Token> tokens;
  uint32_t x = 1;
  for (int i = 0; i < n; ++i) {
    x = x * 1664525 + 1013904223;  // Numerical Recipes' generator
    tokens.push_back(Token((x >> 8) % uint32_t(model.hyperparameters().vocab)));
  }
  return tokens;
}

template <typename Work>
double median_seconds(Progress& progress, const std::string& name, const Work& work) {
  double seconds[kRuns];
  for (int run = 0; run < kRuns; ++run) {
    progress.update(fmt::format("{}, run {} of {}", name, run + 1, kRuns));
    const auto begin = std::chrono::steady_clock::now();
    work();
    seconds[run] = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  return median(seconds, kRuns);
}

// Multiply-adds of the matrices: those every token goes through, and those of the head.
struct MatrixParameters {
  int64_t body, head;
};

MatrixParameters matrix_parameters(const Hyperparameters& h) {
  const int64_t width = h.width;
  const int64_t layer =
      4 * width * width + 2 * width * h.ffn + 2 * width * (h.rank_w + h.rank_a + h.rank_g);
  const int64_t value_residual = 2 * width * h.rank_v;  // not in layer 0
  return {h.layers * layer + (h.layers - 1) * value_residual, width * h.vocab};
}

bool is_quantised_type(const std::string& name) {
  for (int type = 0; type < kMatrixTypes; ++type) {
    if (dtype_name(DType(type)) == name) return block_elements(DType(type)) > 1;
  }
  return false;
}

Rate measure_prefill(const LoadedModel& loaded, int tokens, Progress& progress) {
  const std::vector<Token> prompt = some_tokens(loaded.model, tokens);
  const auto work = [&] {
    State state = loaded.model.initial_state();
    loaded.engine->forward(state, prompt);
    loaded.engine->wait();
  };
  work();  // fetches weights that are still on disk
  const double seconds = median_seconds(progress, fmt::format("prefill {}", tokens), work);
  const MatrixParameters matrices = matrix_parameters(loaded.model.hyperparameters());
  const double flops = 2.0 * (double(matrices.body) * tokens + double(matrices.head));
  return {tokens, tokens / seconds, flops / seconds / 1e9};
}

// On a GPU a step includes the draw of the most probable token of every sequence, which is what the
// next step reads: only so is a step known to be done before the next begins. On the CPU, where
// sampling is no part of a step, any tokens do.
Rate measure_decode(const LoadedModel& loaded, int batch, int steps, Progress& progress) {
  const bool draws_too = loaded.engine->device() == Device::cuda;
  const std::vector<Token> tokens = some_tokens(loaded.model, batch * steps);
  // The states go on from run to run: making new ones is no part of a step.
  std::vector<State> states(size_t(batch), loaded.model.initial_state());
  std::vector<Sequence> sequences(size_t(batch), Sequence{});
  Sampler greedy(sampling_preset("greedy"));
  std::vector<Draw> draws;
  for (int i = 0; i < batch; ++i) draws.push_back({&states[size_t(i)], &greedy, tokens[size_t(i)]});
  const auto work = [&](int count) {
    for (int step = 0; step < count; ++step) {
      for (int i = 0; i < batch; ++i) {
        const Token* token =
            draws_too ? &draws[size_t(i)].token : &tokens[size_t(step * batch + i)];
        sequences[size_t(i)] = {&states[size_t(i)], std::span(token, 1), LogitsFor::last, nullptr};
      }
      loaded.engine->forward(sequences);
      if (draws_too) loaded.engine->sample(draws);
    }
    loaded.engine->wait();
  };
  work(1);
  const double seconds =
      median_seconds(progress, fmt::format("decode, batch {}", batch), [&] { work(steps); });
  return {batch, double(batch) * steps / seconds,
          double(loaded.engine->step_bytes(batch)) * steps / seconds / 1e9};
}

Json measure(const LoadedModel& loaded, const BenchOptions& options) {
  const int threads = loaded.engine->threads();
  Progress progress("measuring");
  std::vector<Rate> prefill, decode;
  for (const int tokens : options.prefill) {
    prefill.push_back(measure_prefill(loaded, tokens, progress));
  }
  for (const int batch : options.batches) {
    decode.push_back(measure_decode(loaded, batch, options.steps, progress));
  }
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);

  // After that, since its buffer is no memory that the model needs.
  progress.update("the machine");
  const MachineSpeed machine = measure_machine(*loaded.engine);
  const double int8 = machine.peak_int8_gop_s;
  // What most of the matrices are multiplied in.
  const bool in_integers = int8 > 0 && is_quantised_type(loaded.model.type());
  const double peak = in_integers ? int8 : machine.peak_gflop_s;
  const double zero_share = loaded.engine->zero_share();
  Json prefill_rows = Json::array(), decode_rows = Json::array();
  for (const Rate& rate : prefill) {
    prefill_rows.push_back({{"tokens", rate.size},
                            {"tok_s", rate.tok_s},
                            {"fraction", rate.work_s / peak},
                            {"of", in_integers ? "int8" : machine.peak_type}});
  }
  for (const Rate& rate : decode) {
    decode_rows.push_back({{"batch", rate.size},
                           {"tok_s", rate.tok_s},
                           {"gb_s", rate.work_s},
                           {"fraction", rate.work_s / machine.stream_gb_s}});
  }
  // null: there are none on this machine, or nothing was decoded.
  return {{"model", loaded.model.name()},
          {"type", loaded.model.type()},
          {"threads", threads},
          {"isa", loaded.engine->backend()},
          {"stream_gb_s", machine.stream_gb_s},
          {"peak_gflop_s", machine.peak_gflop_s},
          {"peak_type", machine.peak_type},
          {"peak_int8_gop_s", int8 > 0 ? Json(int8) : Json()},
          {"load_s", loaded.load_s},
          {"peak_rss_mb", usage.ru_maxrss / 1024},
          {"zero_share", zero_share >= 0 ? Json(zero_share) : Json()},
          {"prefill", prefill_rows},
          {"decode", decode_rows}};
}

void print_table(const Json& result) {
  const auto number = [](const Json& value) { return value.get<double>(); };
  std::string out = fmt::format(
      "{} {}, {} threads, {}\n"
      "memory {} GB/s, {} {} GFLOP/s, int8 {} GOP/s; loaded in {:.2f} s, at most {} MB used\n"
      "{}\n"
      "{:<16} {:>10} {:>10} {:>22}\n",
      result["model"].get<std::string>(), result["type"].get<std::string>(),
      result["threads"].get<int>(), result["isa"].get<std::string>(),
      format_rate(number(result["stream_gb_s"])), result["peak_type"].get<std::string>(),
      format_rate(number(result["peak_gflop_s"])),
      result["peak_int8_gop_s"].is_null() ? "-" : format_rate(number(result["peak_int8_gop_s"])),
      number(result["load_s"]), result["peak_rss_mb"].get<int64_t>(),
      result["zero_share"].is_null()
          ? ""
          : fmt::format("{:.0f} % of the channel mix's activations are zero and skipped in steps "
                        "of few rows\n",
                        100 * number(result["zero_share"])),
      "", "tok/s", "GB/s", "of this machine");
  for (const Json& row : result["prefill"]) {
    out += fmt::format("{:<16} {:>10} {:>10} {:>12.1f} % of {}\n",
                       fmt::format("prefill {}", row["tokens"].get<int>()),
                       format_rate(number(row["tok_s"])), "", 100 * number(row["fraction"]),
                       row["of"].get<std::string>());
  }
  for (const Json& row : result["decode"]) {
    out += fmt::format("{:<16} {:>10} {:>10} {:>10.1f} % of memory\n",
                       fmt::format("decode, batch {}", row["batch"].get<int>()),
                       format_rate(number(row["tok_s"])), format_rate(number(row["gb_s"])),
                       100 * number(row["fraction"]));
  }
  write_out(out);
}

void bench_command(const BenchOptions& options) {
  const LoadedModel loaded = load_model(options.model);
  const Json result = measure(loaded, options);
  if (options.json) {
    write_out(result.dump() + "\n");
  } else {
    print_table(result);
  }
}

}  // namespace

void add_bench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand(
      "bench", "measure speed, as tokens per second and as a share of what this machine can do");
  options->model.add_to(*command);
  const auto list = [&](const char* name, std::vector<int>& values, const char* help, int most) {
    command->add_option(name, values, help)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check(CLI::Range(1, most))
        ->capture_default_str();
  };
  list("-p,--prefill", options->prefill, "prompt lengths, separated by commas", 1 << 20);
  list("-b,--batch", options->batches, "sequences decoded together, separated by commas", 4096);
  command->add_option("-n,--steps", options->steps, "tokens to decode")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command->add_flag("--json", options->json, "print one JSON object");
  command->callback([options] { bench_command(*options); });
}

}  // namespace anser
