// What /tokenize, /detokenize and /tokenizer_info answer: texts as the tokens of the model and
// back, in the shapes of llama.cpp and vLLM.
#pragma once

#include <string>

#include "anser/model.h"
#include "server/openai/write_request.h"
#include "text/chat/chat_template.h"

namespace anser::openai {

// {"content"} -> {"tokens"}; {"prompt", "add_special_tokens"} or {"messages", and what says how a
// chat's are written} -> {"count", "max_model_len", "tokens", "token_strs"}, the last with
// "return_token_strs". A prompt is what /v1/completions reads of it, unless add_special_tokens is
// false; messages are what /v1/chat/completions does. A prompt that is a token's name and nothing
// else (name_of) is that token. Not by way of Json, which would take several times the memory.
// Throws ApiError.
std::string tokenized(const Model& model, const ChatTemplate& form, const Limits& limits,
                      const Json& body);

// {"tokens"} -> the text, as "content" and as "prompt". Throws ApiError.
Json detokenized(const Tokenizer& tokenizer, const Limits& limits, const Json& body);

// What tokenizer_config.json says in a folder of Hugging Face's.
Json tokenizer_info(const Model& model, const ChatTemplate& form, const Limits& limits);

// What programs call a token that has no text: that of an added one, or the name that the end of a
// text has in published files of RWKV. Empty: it has none.
std::string name_of(const Tokenizer& tokenizer, Token token);

}  // namespace anser::openai
