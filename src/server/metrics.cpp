#include "server/metrics.h"

#include <fmt/format.h>

namespace anser {

std::string prometheus_text(const SchedulerStats& stats, const DeskStats* states) {
  std::string out;
  const auto add = [&](const char* name, const char* type, const char* help, double value) {
    out += fmt::format("# HELP anser_{0} {1}\n# TYPE anser_{0} {2}\nanser_{0} {3}\n", name, help,
                       type, value);
  };
  add("running", "gauge", "Texts in work.", stats.running);
  add("paused", "gauge", "Requests being processed that give up their places to other clients.",
      stats.paused);
  add("queued", "gauge", "Texts that wait.", stats.queued);
  add("prompt_tokens_total", "counter", "Tokens of prompts that were read.",
      double(stats.prompt_tokens));
  add("cached_tokens_total", "counter", "Tokens of prompts that did not have to be read.",
      double(stats.cached_tokens));
  add("generated_tokens_total", "counter", "Tokens written.", double(stats.generated_tokens));
  add("steps_total", "counter", "Steps of the engine.", double(stats.steps));
  add("finished_total", "counter", "Texts that came to their end.", double(stats.finished));
  add("cancelled_total", "counter", "Texts that nobody wanted any more.", double(stats.cancelled));
  add("failed_total", "counter", "Texts that failed.", double(stats.failed));
  add("refused_total", "counter", "Texts for which the queue had no place.", double(stats.refused));
  add("overdue_total", "counter", "Texts whose time was over, in the queue or in work.",
      double(stats.overdue));
  add("cache_bytes", "gauge", "Bytes of states after beginnings of texts.",
      double(stats.cache_bytes));
  add("cache_states", "gauge", "States after beginnings of texts.", double(stats.cached_states));
  add("longest_step_seconds", "gauge",
      "The longest time between two tokens of a text: prompts of others, draws, constraints.",
      stats.longest_step_s);
  add("longest_mask_seconds", "gauge",
      "The longest that a text alone has waited for what its own schema allows next.",
      stats.longest_mask_s);
  if (states == nullptr) return out;
  add("states_saved_total", "counter", "States that were stored.", double(states->saved));
  add("states_saved_bytes_total", "counter", "What these take, compressed.",
      double(states->saved_bytes));
  add("states_failed_total", "counter", "States that could not be stored.", double(states->failed));
  add("states_loaded_total", "counter", "Times that a text began from a stored state.",
      double(states->loaded));
  return out;
}

std::string keys_text(const ApiKeys& keys) {
  if (keys.empty()) return {};
  std::string out =
      "# HELP anser_key_requests_total Requests with a key of this holder.\n"
      "# TYPE anser_key_requests_total counter\n";
  for (const ApiKeys::Count& each : keys.counts()) {
    out += fmt::format("anser_key_requests_total{{key=\"{}\"}} {}\n", each.name, each.requests);
  }
  return out + fmt::format(
                   "# HELP anser_key_refused_total Requests without a valid key.\n"
                   "# TYPE anser_key_refused_total counter\nanser_key_refused_total {}\n",
                   keys.refused());
}

}  // namespace anser
