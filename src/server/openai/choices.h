// The two shapes of an answer: of /v1/completions and of /v1/chat/completions.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "anser/tokenizer.h"
#include "server/openai/chat_request.h"
#include "server/openai/choices_answer.h"
#include "server/openai/logprob_list.h"

namespace anser::openai {

// The text of a prompt that comes before what is written, once for all answers to it. With logprobs
// its tokens are listed, too: their details come to the first choice that was made with it, or, in
// a stream, to each.
struct Echo {
  std::string text;
  size_t tokens = 0;
  LogprobList details = {};
  bool described = false;  // a choice has taken that upon itself
};

// `echo`: nullptr where none is wanted.
std::unique_ptr<Choice> completion_choice(int index, std::shared_ptr<Echo> echo, bool logprobs,
                                          Tokenizer tokenizer);

// `form`, `opening` and `tools` as AnswerStream has them. Thoughts come as "reasoning_content".
std::unique_ptr<Choice> chat_choice(int index, const ChatTemplate& form, const std::string& opening,
                                    std::vector<Tool> tools, bool logprobs, Tokenizer tokenizer,
                                    CallForm calls = CallForm::several);

}  // namespace anser::openai
