// What /v1/completions and /v1/chat/completions have in common: how a text is to be written.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "anser/generate.h"
#include "server/openai/fields.h"
#include "store/state_info.h"

namespace anser::openai {

// What holds where a request says nothing, and what no request may exceed.
struct Limits {
  SamplingOptions sampling;      // the model's own, over the program's; but the seed:
  std::optional<uint64_t> seed;  // none: a new one for every request
  int default_tokens = 1024;     // of an answer
  int max_tokens = 8192;         // of an answer
  int max_prompt_tokens = 1 << 20;
  int max_n = 16;
  int max_choices = 256;  // n, times the prompts of a request: all must fit into the queue
  int vocab = 0;
  bool fills_gaps = false;  // the model has learnt the form of `suffix` (fill_in_the_middle.h)
};

// Fields, with OpenAI's meaning unless said: max_tokens (or max_completion_tokens; more than the
// limit, and -1, mean the limit), temperature, top_p, top_k (0: off), min_p, presence_penalty,
// frequency_penalty, penalty_decay (of both, per token; 1: they never fade), stop (empty ones mean
// nothing), seed (-2^63 to 2^63 - 1), n, best_of (no other than n), stream,
// stream_options.include_usage, logit_bias (-100 to 100; -100: the token is banned),
// response_format, state (an id or a name: go on from there), save_state (true, or its labels: the
// state after the answer is stored), end_with_sentence (true: the text ends with a sentence in the
// last third of max_tokens if it can); and those of vllm_fields.h.
struct WriteRequest {
  std::string model;  // as the client named it; it is not checked, there is only one
  GenerateOptions generation;
  bool seeded = false;  // the client chose the seed
  int n = 1;
  bool stream = false, include_usage = false;
  int top_logprobs = -1;            // < 0: none are wanted
  int prompt_logprobs = -1;         // the same of the prompt's tokens
  bool return_token_ids = false;    // of the prompt, and of what is written
  bool json_object = false;         // response_format: any object
  std::optional<Json> json_schema;  // response_format: this one
  std::string json_schema_path;     // where it stands, for errors
  bool schema_is_strict = true;     // else what cannot be kept to is passed over
  std::string state;                // empty: from the beginning
  std::optional<StateLabels> save;  // the state at the end shall be stored
  bool end_with_sentence = false;
};

// All of it but top_logprobs, which the two calls spell differently. Throws ApiError.
WriteRequest read_write_request(const Fields& body, const Limits& limits);

}  // namespace anser::openai
