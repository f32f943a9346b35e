// The body of /v1/responses.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "server/openai/chat_request.h"

namespace anser::openai {

// An item of an earlier response's output, which the store has.
struct ItemReference {
  size_t message;    // of the request's messages, whose place it takes
  std::string id;    // as the response named it
  std::string path;  // of the id, for errors
};
inline constexpr size_t kMostReferences = 1024;  // of a request

struct ResponseRequest : ChatRequest {
  std::vector<ItemReference> references;
  std::string previous;  // previous_response_id; empty: none
  bool store = true;
  bool store_said = false;  // the client chose
  std::string truncation = "disabled";
  // As the client wrote them, for the answer to repeat; null where it said nothing.
  Json instructions, metadata, effort_said, summary_said, max_output_tokens, format, tools_said,
      temperature_said, top_p_said, verbosity_said;
  Json repeated = Json::object();  // further fields by their names, short ones
};

// Fields, with OpenAI's meaning: input (a text, or a list of messages, function calls and their
// outputs, references to items; other items are left out), instructions (a system's message before
// the input), previous_response_id, store, stream, max_output_tokens, temperature, top_p, metadata,
// reasoning.effort, text.format, tools (those that are functions), tool_choice,
// parallel_tool_calls, truncation; and those that WriteRequest adds: seed, top_k and so on, and
// state. Throws ApiError.
ResponseRequest read_response_request(const Fields& body, const Limits& limits);

// What an assistant said and called without an answer in between is one turn, as it was written:
// calls join the message before them. Done by read_response_request() unless there are references.
void join_calls(std::vector<Message>& messages);

// An item of a response's output as a request would have it; nothing where models do not see it.
// Throws ApiError, with `path` for its name.
std::optional<Message> read_output_item(const Json& item, const std::string& path);

}  // namespace anser::openai
