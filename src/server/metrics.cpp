#include "server/metrics.h"

#include <fmt/format.h>

namespace anser {
namespace {

std::string entry(const char* name, const char* type, const char* help, double value) {
  return fmt::format("# HELP anser_{0} {1}\n# TYPE anser_{0} {2}\nanser_{0} {3}\n", name, help,
                     type, value);
}

}  // namespace

std::string prometheus_text(const SchedulerStats& stats, const DeskStats* states) {
  std::string out;
  const auto add = [&](const char* name, const char* type, const char* help, double value) {
    out += entry(name, type, help, value);
  };
  add("running", "gauge", "Texts in work.", stats.running);
  add("paused", "gauge", "Requests being processed that give up their places to other clients.",
      stats.paused);
  add("queued", "gauge", "Texts that wait.", stats.queued);
  add("queued_bytes", "gauge", "Bytes of the prompts of texts that wait.",
      double(stats.queued_bytes));
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
  add("states_waiting", "gauge", "Reads and writes of states that wait for a thread.",
      double(states->waiting));
  add("states_ram_bytes", "gauge", "Bytes of stored states that are kept in memory as well.",
      double(states->ram_bytes));
  return out;
}

std::string memory_text(const MemoryBudgets& budgets, const http::Load& load) {
  std::string out;
  const auto add = [&](const char* name, const char* type, const char* help, uint64_t value) {
    out += entry(name, type, help, double(value));
  };
  add("received_bytes", "gauge", "Bytes of bodies that are being received and worked on.",
      load.body_bytes);
  add("unsent_bytes", "gauge", "Bytes of answers that wait for their clients.", load.answer_bytes);
  add("unsent_refused_total", "counter",
      "Answers for which there was no room beside those that wait for their clients.",
      load.refused);
  add("unsent_cut_total", "counter",
      "Clients that were cut off to make room, as they did not read in time.", load.cut);
  add("logprobs_bytes", "gauge", "Bytes that logprobs of answers in work may come to.",
      budgets.logprobs.taken());
  add("logprobs_refused_total", "counter", "Requests whose logprobs had no room.",
      budgets.logprobs.refused());
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
