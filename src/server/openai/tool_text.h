// Tools, calls and their results as the model reads them, in the two formats of ToolFormat.
#pragma once

#include <string>
#include <string_view>

#include "server/openai/chat_request.h"
#include "text/chat/chat_template.h"

namespace anser::openai {

// What begins a call.
inline constexpr std::string_view kCallHeading = "**Tool Call:**", kCallTag = "<tool_call>",
                                  kCallTagEnd = "</tool_call>", kCallFence = "```json",
                                  kFence = "```";

// The tools that may be called, for a system's turn.
std::string tools_text(const ChatTemplate& form, const ChatRequest& request);

// A call as an answer shows it when the messages come again.
std::string call_text(const ChatTemplate& form, const ToolCall& call);

// What a tool gave back, as its turn shows it.
std::string output_text(const ChatTemplate& form, const std::string& output);

// What opens a call that must be made, behind the generation prompt.
std::string_view call_opening(ToolFormat format);

}  // namespace anser::openai
