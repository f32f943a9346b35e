// The two shapes of an answer: of /v1/completions and of /v1/chat/completions.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/openai/answer_stream.h"
#include "server/openai/chat_request.h"
#include "server/openai/choice_tokens.h"
#include "server/openai/choices_answer.h"

namespace anser::openai {

// `prompt`: nullptr where nothing of it is shown; `describes`: its tokens' details come to this
// choice. They come to the first one that was made with it or, in a stream, to each.
std::unique_ptr<Choice> completion_choice(int index, std::shared_ptr<PromptShown> prompt,
                                          bool describes, TokensShown tokens);

// `form`, `opening`, `prefill` and `tools` as AnswerStream has them. Thoughts come as
// "reasoning_content".
std::unique_ptr<Choice> chat_choice(int index, const ChatTemplate& form, const std::string& opening,
                                    const Prefill& prefill, std::vector<Tool> tools,
                                    std::shared_ptr<PromptShown> prompt, TokensShown tokens,
                                    CallForm calls = CallForm::several);

}  // namespace anser::openai
