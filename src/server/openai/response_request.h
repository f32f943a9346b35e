// The body of /v1/responses.
#pragma once

#include <string>

#include "server/openai/chat_request.h"

namespace anser::openai {

struct ResponseRequest : ChatRequest {
  std::string previous;  // previous_response_id; empty: none
  bool store = true;
  bool store_said = false;  // the client chose
  // As the client wrote them, for the answer to repeat; null where it said nothing.
  Json instructions, metadata, effort_said, max_output_tokens, format, tools_said;
};

// Fields, with OpenAI's meaning: input (a text, or a list of messages, function calls and their
// outputs), instructions (a system's message before the input), previous_response_id, store,
// stream, max_output_tokens, temperature, top_p, metadata, reasoning.effort, text.format, tools (of
// type function), tool_choice; and those that WriteRequest adds: seed, top_k and so on, and state.
// Throws ApiError.
ResponseRequest read_response_request(const Fields& body, const Limits& limits);

}  // namespace anser::openai
