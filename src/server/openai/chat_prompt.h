// From messages to the text that RWKV's G1 models were trained to go on from.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/openai/chat_request.h"
#include "text/chat_templates.h"

namespace anser::openai {

inline constexpr std::string_view kCallOpening = " ```json";

struct ChatPrompt {
  std::string text;
  // Bytes of `text` at which a message ends: what comes before is worth keeping a state of, for
  // conversations come back with more messages behind it.
  std::vector<size_t> message_ends;
  // What the prompt has written of the answer itself, behind "Assistant:".
  std::string opening;
};

// `usual` is the template of an answer where the request says nothing of reasoning. Of tools the
// model is told in a system's turn, one a line:
//
//   Tools:
//   - name(argument: type, ...): description
//   Return only a JSON function call.
//
// and a call that must be made is opened for it, by kCallOpening. Results go back as a user's turn,
// "Function output:". A model of stories gets nothing but the words themselves. With `goes_on` the
// text continues a conversation that ends with an answer or another message, before the two
// newlines behind it.
ChatPrompt render_chat(const ChatRequest& request, Template usual, bool story,
                       bool goes_on = false);
// A call as an answer shows it: what stands behind "Assistant: " when the messages come again.
std::string render_call(const ToolCall& call);
// The messages alone, with no answer begun: what render_chat() can go on from.
std::string render_messages(const ChatRequest& request, bool story, bool goes_on);

}  // namespace anser::openai
