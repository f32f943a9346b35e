// The body of /v1/completions.
#pragma once

#include <string>
#include <vector>

#include "anser/tokenizer.h"
#include "server/openai/write_request.h"

namespace anser::openai {

struct CompletionRequest : WriteRequest {
  // Of every text to be continued; already tokens, where the client sent those.
  std::vector<std::vector<Token>> prompts;
  bool echo = false;  // the prompt's own text comes first, its tokens' logprobs with it
};

// `prompt` is a string, a list of strings, a list of tokens, or a list of such lists; absent, it is
// empty, which only makes sense with a state. Strings begin after an end-of-text token, as a text
// did in training, unless they go on from a state. logprobs 0 to 20. Throws ApiError.
CompletionRequest read_completion_request(const Fields& body, const Limits& limits,
                                          const Tokenizer& tokenizer);

}  // namespace anser::openai
