// From messages to the text that the model was trained to go on from.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/openai/answer_stream.h"
#include "server/openai/chat_request.h"
#include "text/chat/chat_template.h"

namespace anser::openai {

struct ChatPrompt {
  std::string text;
  // Bytes of `text` at which a message ends: what comes before is worth keeping a state of, for
  // conversations come back with more messages behind it.
  std::vector<size_t> message_ends;
  size_t answer_begin = 0;  // in bytes: where the answer's turn begins
  // What the prompt has written of the answer itself.
  std::string opening;
  Prefill prefill = {};  // that the answer begins with, where the last message is continued
};

// The form of the request's conversation, where those without tools are had in `form`: another one
// where tools are told, or have been called before.
ChatTemplate form_for(const ChatTemplate& form, const ChatRequest& request);

// `form` is form_for()'s. Tools come in a system's turn of their own, or in markdown in the first
// system's turn. A call that must be made is opened; `answer_at_once`: no thought may come before
// the answer, since a grammar holds it. A model of stories gets nothing but the words themselves.
// With `goes_on` the text continues a conversation that ends with an answer or another message,
// before the separator behind it. Of a last message that is continued thoughts are kept, and white
// space at its end is not: models write that themselves.
ChatPrompt render_chat(const ChatRequest& request, const ChatTemplate& form, bool story,
                       bool goes_on = false, bool answer_at_once = false);

// The messages alone, with no answer begun: what render_chat() can go on from.
std::string render_messages(const ChatRequest& request, const ChatTemplate& form, bool story,
                            bool goes_on);

// What history shows of an answer that has these words and calls.
std::string assistant_words(const ChatTemplate& form, std::string_view text,
                            const std::vector<ToolCall>& calls);

}  // namespace anser::openai
