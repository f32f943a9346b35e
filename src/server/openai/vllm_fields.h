// Fields that vLLM adds to OpenAI's requests, with its meaning; completions, chats and responses
// have them in common.
#pragma once

#include "server/openai/write_request.h"

namespace anser::openai {

// stop_token_ids, ignore_eos, min_tokens (no more than max_tokens), include_stop_str_in_output,
// prompt_logprobs, return_token_ids. Called when the rest of `request` has been read. Throws
// ApiError.
void read_vllm_fields(const Fields& body, const Limits& limits, WriteRequest& request);

// Of an answer that may have so many tokens. Throws ApiError for more.
void check_min_tokens(const Fields& body, const WriteRequest& request);

}  // namespace anser::openai
