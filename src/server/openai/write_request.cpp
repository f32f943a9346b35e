#include "server/openai/write_request.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <random>
#include <utility>

#include "anser/error.h"
#include "server/openai/state_object.h"
#include "server/openai/vllm_fields.h"

namespace anser::openai {
namespace {

constexpr size_t kMostStops = 16, kLongestStop = 1024, kMostBiases = 1024;
constexpr double kMostPenalty = 10;  // OpenAI's is 2; small models may want more
constexpr double kMostTemperature = 5;

uint64_t random_seed() {
  std::random_device device;
  return (uint64_t(device()) << 32 | device()) >> 11;  // a JSON number holds it
}

SamplingOptions read_sampling(const Fields& body, const Limits& limits, bool& seeded) {
  SamplingOptions sampling = limits.sampling;
  const auto real = [&](const char* name, double least, double most, float& to) {
    if (const auto value = body.number(name, least, most)) to = float(*value);
  };
  real("temperature", 0, kMostTemperature, sampling.temperature);
  real("top_p", 0, 1, sampling.top_p);
  real("min_p", 0, 0.999, sampling.min_p);
  real("presence_penalty", -kMostPenalty, kMostPenalty, sampling.presence);
  real("frequency_penalty", -kMostPenalty, kMostPenalty, sampling.frequency);
  real("penalty_decay", 0, 1, sampling.penalty_decay);
  constexpr int kMost = std::numeric_limits<int>::max();
  // Clients write -1, too, for off.
  if (const auto top_k = body.integer("top_k", -1, kMost)) {
    sampling.top_k = int(std::max<int64_t>(*top_k, 0));
  }
  const auto seed = body.integer("seed", std::numeric_limits<int64_t>::min(),
                                 std::numeric_limits<int64_t>::max());
  seeded = seed.has_value();
  sampling.seed = seed ? uint64_t(*seed) : limits.seed ? *limits.seed : random_seed();
  return sampling;
}

// OpenAI's promise of -100 is a ban.
void read_biases(const Fields& body, const Limits& limits, SamplingOptions& sampling) {
  // Some languages write an empty object as an empty list.
  const Json* said = body.any("logit_bias");
  if (said != nullptr && said->is_array() && said->empty()) return;
  const auto object = body.object("logit_bias");
  if (!object) return;
  const Json& entries = *said;
  if (entries.size() > kMostBiases) {
    body.fail("logit_bias",
              fmt::format("expected at most {} tokens, found {}", kMostBiases, entries.size()));
  }
  for (const auto& [key, unused] : entries.items()) {
    Token token = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token);
    if (error != std::errc() || end != key.data() + key.size() || token < 0 ||
        token >= limits.vocab) {
      body.fail("logit_bias", fmt::format("'{}' is no token; expected a number from 0 to {}",
                                          cut_text(key), limits.vocab - 1));
    }
    const double bias = object->number(key.c_str(), -100, 100).value_or(0);
    if (bias == -100) {
      sampling.banned.push_back(token);
    } else if (bias != 0) {
      sampling.biases.push_back({token, float(bias)});
    }
  }
}

void read_format(const Fields& body, WriteRequest& request) {
  const auto format = body.object("response_format");
  if (!format) return;
  const auto type = format->choice("type", {"text", "json_object", "json_schema"});
  if (!type) format->fail("type", "it is missing; expected text, json_object or json_schema");
  request.json_object = *type == "json_object";
  if (*type != "json_schema") return;
  const auto holder = format->object("json_schema");
  if (!holder) format->fail("json_schema", "it is missing; expected an object with a schema");
  if (!holder->object("schema")) holder->fail("schema", "it is missing; expected a JSON schema");
  request.json_schema = *holder->any("schema");
  request.json_schema_path = holder->path("schema");
  request.schema_is_strict = holder->boolean("strict").value_or(true);
}

std::vector<std::string> read_stops(const Fields& body) {
  std::vector<std::string> stops = body.texts("stop", kMostStops, Fields::Nulls::skipped);
  std::erase(stops, "");  // clients send an empty one for none
  for (const std::string& stop : stops) {
    if (stop.size() > kLongestStop) {
      body.fail("stop", fmt::format("expected texts of at most {} bytes, found one of {}",
                                    kLongestStop, stop.size()));
    }
  }
  return stops;
}

// Of best_of texts OpenAI gives the n most probable ones. Here all that are written are given.
void check_best_of(const Fields& body, int n) {
  const auto best_of = body.integer("best_of", 1, std::numeric_limits<int>::max());
  if (!best_of || *best_of == n) return;
  body.fail("best_of", fmt::format("all answers that are written are given, so it can be n alone; "
                                   "expected {}, found {}",
                                   n, *best_of));
}

std::optional<StateLabels> read_save(const Fields& body) {
  const Json* save = body.any("save_state");
  if (save != nullptr && save->is_object()) return read_labels(*save, {}, "save_state");
  return body.boolean("save_state").value_or(false) ? std::optional(StateLabels()) : std::nullopt;
}

}  // namespace

WriteRequest read_write_request(const Fields& body, const Limits& limits) {
  WriteRequest request;
  request.model = body.text("model").value_or("");
  GenerateOptions& generation = request.generation;
  generation.sampling = read_sampling(body, limits, request.seeded);
  const auto tokens = body.token_limit("max_tokens", 0, limits.max_tokens);
  const auto completion = body.token_limit("max_completion_tokens", 0, limits.max_tokens);
  const int usual = std::min(limits.default_tokens, limits.max_tokens);
  generation.max_tokens = completion ? *completion : tokens.value_or(usual);
  generation.stop = read_stops(body);
  request.n = int(body.integer("n", 1, std::min(limits.max_n, limits.max_choices)).value_or(1));
  check_best_of(body, request.n);
  request.stream = body.boolean("stream").value_or(false);
  if (const auto options = body.object("stream_options")) {
    request.include_usage = options->boolean("include_usage").value_or(false);
  }
  read_biases(body, limits, generation.sampling);
  read_format(body, request);
  request.state = body.text("state").value_or("");
  request.save = read_save(body);
  request.end_with_sentence = body.boolean("end_with_sentence").value_or(false);
  read_vllm_fields(body, limits, request);
  try {
    generation.sampling.check();
  } catch (const Error& error) {
    throw ApiError(400, "invalid_request_error", error.what());
  }
  return request;
}

}  // namespace anser::openai
