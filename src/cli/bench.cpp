// anser bench: speed, and what share that is of what this machine can do.
//
// Decode is bound by memory: fraction = bytes a step must move x steps/s / stream bandwidth.
// Prefill is bound by arithmetic: fraction = operations of the matrices x prompts/s / peak, of fp32
// or, for quantised types, of 8-bit integers; the head's matrix counts once a prompt, since only
// the last token's logits are computed. A phase is bound by the slower of the two.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "anser/error.h"
#include "anser/sampling.h"
#include "base/dtype.h"
#include "cli/arguments.h"
#include "cli/bench_table.h"
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
  RandomWeights shape;
  std::vector<std::string> prefill = {"512"};
  int steps = 128;
  std::vector<int> batches = {1, 8, 32};
  bool phases = false;
  int seconds = 0;  // after which nothing more is begun; 0: never
  bool json = false;
};

// Prompts that are fed together.
struct Prompts {
  int tokens, count;
};

// "512", "1024x32"
Prompts parse_prompts(const std::string& text) {
  const char* const end = text.data() + text.size();
  Prompts prompts = {0, 1};
  std::from_chars_result read = std::from_chars(text.data(), end, prompts.tokens);
  if (read.ec == std::errc() && read.ptr != end && *read.ptr == 'x') {
    read = std::from_chars(read.ptr + 1, end, prompts.count);
  }
  if (read.ec != std::errc() || read.ptr != end || prompts.tokens < 1 || prompts.tokens > 1 << 20 ||
      prompts.count < 1 || prompts.count > 4096) {
    throw CLI::ValidationError(fmt::format(
        "-p: expected TOKENS or TOKENSxPROMPTS, as in 512,1024x32, or none; found {}", text));
  }
  return prompts;
}

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

// `states` and `tokens` stay where they are; each state gets `each` tokens.
std::vector<Sequence> sequences_of(std::vector<State>& states, const std::vector<Token>& tokens,
                                   int each) {
  std::vector<Sequence> sequences;
  for (size_t i = 0; i < states.size(); ++i) {
    sequences.push_back({&states[i], std::span(tokens).subspan(i * size_t(each), size_t(each)),
                         LogitsFor::last, nullptr});
  }
  return sequences;
}

Rate measure_prefill(const LoadedModel& loaded, const Prompts& prompts, Progress& progress) {
  const int all = prompts.tokens * prompts.count;
  const std::vector<Token> tokens = some_tokens(loaded.model, all);
  // The states go on from run to run: making new ones is no part of a prompt.
  std::vector<State> states(size_t(prompts.count), loaded.model.initial_state());
  const std::vector<Sequence> sequences = sequences_of(states, tokens, prompts.tokens);
  const auto work = [&] {
    loaded.engine->forward(sequences);
    loaded.engine->wait();
  };
  work();  // fetches weights that are still on disk
  const double seconds = median_seconds(progress, fmt::format("prefill {}", all), work);
  const MatrixParameters matrices = matrix_parameters(loaded.model.hyperparameters());
  const double flops = 2.0 * (double(matrices.body) * all + double(matrices.head) * prompts.count);
  return {prompts.tokens, all / seconds, flops / seconds / 1e9};
}

std::vector<PhaseTime> measure_phases(const LoadedModel& loaded, int batch, Progress& progress) {
  progress.update(fmt::format("phases, batch {}", batch));
  const std::vector<Token> tokens = some_tokens(loaded.model, batch);
  std::vector<State> states(size_t(batch), loaded.model.initial_state());
  return loaded.engine->phase_times(sequences_of(states, tokens, 1));
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

// Begins measurements one after the other. What fails, or is not begun any more, becomes a row that
// says why, so that the others are not lost.
class Measurements {
 public:
  explicit Measurements(int seconds) : seconds_(seconds) {}

  // `row`: what the row says of itself; work() gives the rest.
  template <class Work>
  Json run(Json row, const Work& work) {
    try {
      const auto now = std::chrono::steady_clock::now();
      if (seconds_ > 0 && now - begin_ > std::chrono::seconds(seconds_)) {
        throw Error(fmt::format("not begun within {} s", seconds_));
      }
      row.update(work());
    } catch (const Error& error) {
      row["error"] = error.what();
      if (first_failure_.empty()) first_failure_ = error.what();
    }
    return row;
  }
  const std::string& first_failure() const { return first_failure_; }

 private:
  const int seconds_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::string first_failure_;
};

Json phase_rows(const std::vector<PhaseTime>& times) {
  Json rows = Json::array();
  for (const PhaseTime& time : times) {
    rows.push_back({{"phase", time.name},
                    {"times", time.times},
                    {"us", time.seconds * 1e6 / time.times},
                    {"mb", double(time.bytes) / time.times / 1e6},
                    {"gb_s", double(time.bytes) / time.seconds / 1e9},
                    {"gflop_s", time.flops / time.seconds / 1e9}});
  }
  return rows;
}

// What was measured of the engine, then held against the machine.
Json measure(const LoadedModel& loaded, const BenchOptions& options, Measurements& measurements) {
  const int threads = loaded.engine->threads();
  Progress progress("measuring");
  Json prefill = Json::array(), decode = Json::array(), phases = Json::array();
  const auto rate_row = [](const Rate& rate) {
    return Json{{"tok_s", rate.tok_s}, {"work_s", rate.work_s}};
  };
  for (const std::string& text : options.prefill) {
    if (text == "none") continue;
    const Prompts prompts = parse_prompts(text);
    Json row = {{"tokens", prompts.tokens}};
    if (prompts.count > 1) row["prompts"] = prompts.count;
    prefill.push_back(measurements.run(
        row, [&] { return rate_row(measure_prefill(loaded, prompts, progress)); }));
  }
  for (const int batch : options.batches) {
    const Json row = {{"batch", batch}};
    decode.push_back(measurements.run(
        row, [&] { return rate_row(measure_decode(loaded, batch, options.steps, progress)); }));
    if (!options.phases) continue;
    phases.push_back(measurements.run(row, [&] {
      return Json{{"rows", phase_rows(measure_phases(loaded, batch, progress))}};
    }));
  }
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);

  // After that, since its buffer is no memory that the model needs.
  progress.update("the machine");
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  MachineSpeed machine = {kNone, kNone, "", 0, 0};  // where a device has failed by then
  measurements.run({}, [&] {
    machine = measure_machine(*loaded.engine);
    return Json::object();
  });
  const double int8 = machine.peak_int8_gop_s, int4 = machine.peak_int4_gop_s;
  // What most of the matrices are multiplied in.
  const bool in_integers = int8 > 0 && is_quantised_type(loaded.model.run_type());
  const bool narrow = in_integers && int4 > int8 && loaded.model.run_type().starts_with("Q4");
  const double peak = narrow ? int4 : in_integers ? int8 : machine.peak_gflop_s;
  const double zero_share = loaded.engine->zero_share();
  const auto number = [](const Json& row, const char* key) { return row[key].get<double>(); };
  for (Json& row : prefill) {
    if (row.contains("error")) continue;
    row["fraction"] = number(row, "work_s") / peak;
    row["of"] = narrow ? "int4" : in_integers ? "int8" : machine.peak_type;
    row.erase("work_s");
  }
  for (Json& row : decode) {
    if (row.contains("error")) continue;
    row["gb_s"] = row["work_s"];
    row["fraction"] = number(row, "work_s") / machine.stream_gb_s;
    row.erase("work_s");
  }
  for (Json& batch : phases) {
    if (batch.contains("error")) continue;
    for (Json& row : batch["rows"]) {
      row["fraction"] =
          std::max(number(row, "gb_s") / machine.stream_gb_s, number(row, "gflop_s") / peak);
    }
  }
  // null: there are none on this machine, nothing was decoded, or the machine was not measured.
  Json result = {{"model", loaded.model.name()},
                 {"type", loaded.model.type()},
                 {"threads", threads},
                 {"isa", loaded.engine->backend()},
                 {"stream_gb_s", machine.stream_gb_s},
                 {"peak_gflop_s", machine.peak_gflop_s},
                 {"peak_type", machine.peak_type},
                 {"peak_int8_gop_s", int8 > 0 ? Json(int8) : Json()},
                 {"peak_int4_gop_s", int4 > 0 ? Json(int4) : Json()},
                 {"load_s", loaded.load_s},
                 {"peak_rss_mb", usage.ru_maxrss / 1024},
                 {"zero_share", zero_share >= 0 ? Json(zero_share) : Json()},
                 {"prefill", prefill},
                 {"decode", decode}};
  if (options.phases) result["phases"] = phases;
  return result;
}

void bench_command(const BenchOptions& given) {
  BenchOptions options = given;
  if (!options.shape.size.empty()) options.model.random = options.shape;
  for (const std::string& text : options.prefill) {
    if (text != "none") parse_prompts(text);  // before anything is loaded
  }
  for (const int batch : options.batches) {
    if (batch < 1 || batch > 4096) {
      throw CLI::ValidationError("--batch", fmt::format("expected 1 to 4096, found {}", batch));
    }
  }
  Measurements measurements(options.seconds);
  const LoadedModel loaded = load_model(options.model);
  const Json result = measure(loaded, options, measurements);
  if (options.json) {
    write_out(result.dump() + "\n");
  } else {
    write_out(bench_table(result));
  }
  if (!measurements.first_failure().empty()) throw Error(measurements.first_failure());
}

}  // namespace

void add_bench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand(
      "bench", "measure speed, as tokens per second and as a share of what this machine can do");
  options->model.add_to(*command);
  auto* shape = command->add_option("--shape", options->shape.size,
                                    "random weights of a released model's size, made in memory");
  shape->check(CLI::IsMember({"0.1B", "0.4B", "1.5B", "2.9B", "7.2B"}))
      ->excludes("--model")
      ->excludes("--vocab");
  command->add_option("--type", options->shape.type, "of those weights")
      ->needs(shape)
      ->transform(
          CLI::IsMember({"f16", "bf16", "q8_0", "q4_0", "q4_k", "q5_k", "q6_k"}, CLI::ignore_case))
      ->capture_default_str();
  command
      ->add_option("--zeros", options->shape.zeros,
                   "the share of zeros in their channel mix's activations")
      ->needs(shape)
      ->check(CLI::Range(0.01, 0.99))
      ->capture_default_str();
  add_list(*command, "-p,--prefill", options->prefill,
           "prompt lengths, separated by commas; 1024x32: 32 prompts at once; or none")
      ->default_str(fmt::format("{}", fmt::join(options->prefill, ",")));
  add_list(*command, "-b,--batch", options->batches,
           "sequences decoded together, separated by commas; 1 to 4096 each")
      ->default_str(fmt::format("{}", fmt::join(options->batches, ",")));
  command->add_option("-n,--steps", options->steps, "tokens to decode")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command->add_flag("--phases", options->phases,
                    "and where the time of such a step goes: how long each phase takes");
  command
      ->add_option("--seconds", options->seconds, "begin nothing more after so long; 0: no limit")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
  command->add_flag("--json", options->json, "print one JSON object");
  command->callback([options] { bench_command(*options); });
}

}  // namespace anser
