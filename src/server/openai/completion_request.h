// The body of /v1/completions.
#pragma once

#include <string>
#include <vector>

#include "anser/tokenizer.h"
#include "server/openai/write_request.h"

namespace anser::openai {

struct Prompt {
  std::vector<Token> tokens;
  // So many of them come before what the client wrote: what begins a text, and the form of a gap.
  size_t hidden = 0;
};

struct CompletionRequest : WriteRequest {
  std::vector<Prompt> prompts;  // of every text to be continued
  bool echo = false;            // the prompt's own text comes first, its tokens' logprobs with it
};

// `prompt` is a string, a list of strings, a list of tokens, or a list of such lists; absent, it is
// empty, which only makes sense with a state. Strings begin after an end-of-text token, as a text
// did in training, unless they go on from a state. With `suffix` the model fills the gap between
// the prompt and it. logprobs 0 to 20. Throws ApiError.
CompletionRequest read_completion_request(const Fields& body, const Limits& limits,
                                          const Tokenizer& tokenizer);

}  // namespace anser::openai
