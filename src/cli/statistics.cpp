#include "cli/statistics.h"

#include <fmt/format.h>

#include "cli/machine_speed.h"
#include "cli/numbers.h"
#include "engine/cuda_engine.h"

namespace anser {
namespace {

// Shorter generations say little about the speed and should not be followed by a measurement.
constexpr double kWorthMeasuring = 0.25;  // s

std::string tokens_at(size_t tokens, double seconds) {
  std::string text = fmt::format("{} {}", tokens, tokens == 1 ? "token" : "tokens");
  if (seconds > 0 && tokens > 0) {
    text += fmt::format(" at {} tok/s", format_rate(double(tokens) / seconds));
  }
  return text;
}

}  // namespace

double Statistics::generated_rate() const {
  return generated_s > 0 ? double(generated_tokens) / generated_s : 0;
}

double Statistics::gb_s() const {
  return generated_rate() * double(engine.step_bytes(1)) / 1e9;
}

std::string Statistics::line(const SamplingOptions& sampling) const {
  std::string text = fmt::format("prompt {}; generated {}", tokens_at(prompt_tokens, prompt_s),
                                 tokens_at(generated_tokens, generated_s));
  if (generated_s >= kWorthMeasuring) {
    const double stream = engine.device() == Device::cuda
                              ? measure_cuda_stream_gb_s()
                              : measure_stream_gb_s(engine.threads(), 128, 5);
    text += fmt::format(", {} GB/s, {:.0f} % of this machine's {} GB/s", format_rate(gb_s()),
                        100 * gb_s() / stream, format_rate(stream));
  }
  const bool greedy = sampling.temperature == 0 || sampling.top_p == 0 || sampling.top_k == 1;
  if (!greedy) text += fmt::format("; seed {}", sampling.seed);
  return text;
}

}  // namespace anser
