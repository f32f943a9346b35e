// The body of /v1/chat/completions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "server/openai/tools.h"
#include "server/openai/write_request.h"
#include "text/chat/chat_template.h"

namespace anser::openai {

struct ToolCall {
  std::string id, name;
  std::string arguments;  // JSON, as the model wrote it
};

struct Message {
  using Role = ChatRole;
  Role role = Role::user;
  std::string text;
  std::vector<ToolCall> calls;  // of an assistant
};

// How long the model may think before it answers: reasoning_effort none or minimal, low, medium,
// high. `unsaid`: the server's own choice.
enum class Effort { unsaid, none, low, medium, high };

// How calls are answered: as many as the model makes; one at the most (parallel_tool_calls: false);
// or one at the most in the form that chats had before there were tools, as the message's
// "function_call".
enum class CallForm { several, single, old };

struct ChatRequest : WriteRequest {
  std::vector<Message> messages;  // one at least
  std::vector<Tool> tools;
  ToolChoice tool_choice;
  Effort effort = Effort::unsaid;
  const char* messages_field = "messages";  // where they stand, for errors
  CallForm calls = CallForm::several;
  // Of messages that are too many the oldest are left out, but not the system's.
  bool drop_oldest = false;
  LeftOut left_out;
  // The last message is not closed: what is written goes on with its words.
  bool continues = false;
  bool begins_anew = false;  // the last message is an answer without words: it is left out
  bool opens_answer = true;  // else nothing follows the messages
};

// "none" to "max", if it is there. Throws ApiError.
Effort read_effort(const Fields& fields, const char* name);

// parallel_tool_calls. Throws ApiError.
CallForm read_call_form(const Fields& body);

// A message's content is a string or a list of parts that are texts or refusals; the role
// "developer" is a system's. logprobs and top_logprobs (0 to 20) as OpenAI has them;
// add_generation_prompt, continue_final_message and chat_template_kwargs as vLLM has them
// (chat_template_fields.h). Throws ApiError.
ChatRequest read_chat_request(const Fields& body, const Limits& limits);

// What a client says that a model has passed to a function: JSON in a string, or the object itself.
std::string read_arguments(const Fields& function);

}  // namespace anser::openai
