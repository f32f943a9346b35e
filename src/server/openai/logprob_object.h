// How chats and responses show a token's logprob.
#pragma once

#include "anser/scheduler.h"
#include "anser/tokenizer.h"
#include "server/openai/api_error.h"

namespace anser::openai {

// {"token", "logprob", "bytes", "top_logprobs": [{"token", "logprob", "bytes"}, ...]}
Json logprob_object(const TokenDetails& token, const Tokenizer& tokenizer);

}  // namespace anser::openai
