// What a request wants to know of tokens, and the room that it takes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "anser/tokenizer.h"
#include "server/openai/choice_tokens.h"
#include "server/openai/completion_request.h"

namespace anser::openai {

// Details of tokens that are kept until an answer is sent: of so many tokens at the most.
struct KeptDetails {
  uint64_t tokens = 0, bytes = 0;
};
// Of completions, and of chats. A stream keeps none.
KeptDetails wanted_details(const CompletionRequest& wanted);
KeptDetails wanted_details(const WriteRequest& wanted, size_t prompt_tokens);

// For Order::prompt_logprobs: enough for an echo and for prompt_logprobs.
int described_logprobs(const CompletionRequest& wanted);

// `begun`: bytes of a character that the prompt goes on with.
std::shared_ptr<PromptShown> prompt_shown(const CompletionRequest& wanted, const Prompt& prompt,
                                          const std::string& begun, const Tokenizer& tokenizer);
std::shared_ptr<PromptShown> prompt_shown(const WriteRequest& wanted,
                                          const std::vector<Token>& prompt);

inline TokensShown shown_tokens(const WriteRequest& wanted, const Tokenizer& tokenizer) {
  return {wanted.top_logprobs, wanted.return_token_ids, tokenizer};
}

}  // namespace anser::openai
