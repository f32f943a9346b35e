#include "server/openai/vllm_fields.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/openai/prompt_tokens.h"

namespace anser::openai {
namespace {

constexpr int64_t kMostStopTokens = 1024;
constexpr int kMostPromptLogprobs = 20;

// An answer has room for the tokens that it must have, where nothing is said of its length.
void read_min_tokens(const Fields& body, const Limits& limits, WriteRequest& request) {
  GenerateOptions& generation = request.generation;
  generation.min_tokens = int(body.integer("min_tokens", 0, limits.max_tokens).value_or(0));
  for (const char* name : {"max_tokens", "max_completion_tokens", "max_output_tokens"}) {
    if (body.any(name) != nullptr) return;
  }
  generation.max_tokens = std::max(generation.max_tokens, generation.min_tokens);
}

void include_stops(GenerateOptions& generation) {
  generation.stop_after = std::move(generation.stop);
  generation.stop.clear();
  generation.include_stop_tokens = true;
}

}  // namespace

void read_vllm_fields(const Fields& body, const Limits& limits, WriteRequest& request) {
  GenerateOptions& generation = request.generation;
  if (const Json* tokens = body.array("stop_token_ids")) {
    generation.stop_tokens = read_tokens(*tokens, limits.vocab, kMostStopTokens, "stop_token_ids");
  }
  generation.ignore_eos = body.boolean("ignore_eos").value_or(false);
  if (body.boolean("include_stop_str_in_output").value_or(false)) include_stops(generation);
  read_min_tokens(body, limits, request);
  if (body.any("max_output_tokens") == nullptr) check_min_tokens(body, request);
  const auto logprobs = body.integer("prompt_logprobs", 0, kMostPromptLogprobs);
  request.prompt_logprobs = int(logprobs.value_or(-1));
  request.return_token_ids = body.boolean("return_token_ids").value_or(false);
}

void check_min_tokens(const Fields& body, const WriteRequest& request) {
  const GenerateOptions& generation = request.generation;
  if (generation.min_tokens <= generation.max_tokens) return;
  body.fail("min_tokens", fmt::format("expected no more than max_tokens, {}, found {}",
                                      generation.max_tokens, generation.min_tokens));
}

}  // namespace anser::openai
