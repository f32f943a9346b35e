// The two shapes of an answer: of /v1/completions and of /v1/chat/completions.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "anser/tokenizer.h"
#include "server/openai/chat_request.h"
#include "server/openai/choices_answer.h"

namespace anser::openai {

// `echo`: text that comes before what is written. With `logprobs` its tokens are listed, too.
std::unique_ptr<Choice> completion_choice(int index, std::string echo, bool logprobs,
                                          Tokenizer tokenizer);

// `form`, `opening` and `tools` as AnswerStream has them. Thoughts come as "reasoning_content".
std::unique_ptr<Choice> chat_choice(int index, const ChatTemplate& form, const std::string& opening,
                                    std::vector<Tool> tools, bool logprobs, Tokenizer tokenizer);

}  // namespace anser::openai
