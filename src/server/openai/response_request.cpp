#include "server/openai/response_request.h"

#include <fmt/format.h>

#include <algorithm>

namespace anser::openai {
namespace {

constexpr size_t kMostItems = 4096;
// As OpenAI has it.
constexpr size_t kMostPairs = 16, kLongestKey = 64, kLongestValue = 512;

// A string, or a list of parts that are texts.
std::string read_words(const Fields& item, const char* name) {
  const Json* content = item.any(name);
  if (content == nullptr) item.fail(name, "it is missing; expected a string or a list of parts");
  if (content->is_string()) return content->get<std::string>();
  if (!content->is_array()) {
    item.fail(name,
              fmt::format("expected a string or a list of parts, found {}", content->type_name()));
  }
  std::string text;
  for (size_t i = 0; i < content->size(); ++i) {
    const Fields part((*content)[i], fmt::format("{}[{}]", item.path(name), i));
    const std::string type = part.required_text("type");
    if (type != "input_text" && type != "output_text" && type != "text") {
      part.fail("type", "only parts of text can be read: the model knows no others");
    }
    text += part.required_text("text");
  }
  return text;
}

Message::Role read_role(const Fields& item) {
  const auto role = item.choice("role", {"user", "assistant", "system", "developer"});
  if (!role) item.fail("role", "it is missing; expected user, assistant, system or developer");
  if (*role == "user") return Message::Role::user;
  return *role == "assistant" ? Message::Role::assistant : Message::Role::system;
}

void read_item(const Fields& item, std::vector<Message>& messages) {
  const std::string type = item.text("type").value_or("message");
  if (type == "message") {
    messages.push_back({read_role(item), read_words(item, "content"), {}});
  } else if (type == "function_call") {
    messages.push_back({Message::Role::assistant,
                        "",
                        {{item.text("call_id").value_or(""), item.required_text("name"),
                          item.text("arguments").value_or("{}")}}});
  } else if (type == "function_call_output") {
    messages.push_back({Message::Role::tool, read_words(item, "output"), {}});
  } else if (type != "reasoning") {  // models do not see what they thought before
    item.fail("type", "expected message, function_call, function_call_output or reasoning");
  }
}

std::vector<Message> read_input(const Fields& body) {
  std::vector<Message> messages;
  if (const auto instructions = body.text("instructions"); instructions && !instructions->empty()) {
    messages.push_back({Message::Role::system, *instructions, {}});
  }
  const Json* input = body.any("input");
  if (input == nullptr) body.fail("input", "it is missing; expected a text or a list of messages");
  if (input->is_string()) {
    messages.push_back({Message::Role::user, input->get<std::string>(), {}});
    return messages;
  }
  const Json& items = *body.array("input");
  if (items.empty() || items.size() > kMostItems) {
    body.fail("input", fmt::format("expected 1 to {} items, found {}", kMostItems, items.size()));
  }
  for (size_t i = 0; i < items.size(); ++i) {
    read_item(Fields(items[i], fmt::format("input[{}]", i)), messages);
  }
  if (messages.empty()) body.fail("input", "expected one message at least");
  return messages;
}

void read_format(const Fields& body, ResponseRequest& request) {
  const auto text = body.object("text");
  const auto format = text ? text->object("format") : std::nullopt;
  if (!format) return;
  request.format = *text->any("format");
  const auto type = format->choice("type", {"text", "json_object", "json_schema"});
  if (!type) format->fail("type", "it is missing; expected text, json_object or json_schema");
  request.json_object = *type == "json_object";
  if (*type != "json_schema") return;
  if (!format->object("schema")) format->fail("schema", "it is missing; expected a JSON schema");
  request.json_schema = *format->any("schema");
  request.json_schema_path = format->path("schema");
  request.schema_is_strict = format->boolean("strict").value_or(true);
}

Json read_metadata(const Fields& body) {
  const auto metadata = body.object("metadata");
  if (!metadata) return {};
  const Json& pairs = *body.any("metadata");
  if (pairs.size() > kMostPairs) {
    body.fail("metadata",
              fmt::format("expected at most {} pairs, found {}", kMostPairs, pairs.size()));
  }
  for (const auto& [key, value] : pairs.items()) {
    const std::string text = metadata->text(key.c_str()).value_or("");
    if (key.size() > kLongestKey || text.size() > kLongestValue) {
      body.fail("metadata",
                fmt::format("expected keys of at most {} and values of at most {} bytes",
                            kLongestKey, kLongestValue));
    }
  }
  return pairs;
}

Json as_said(const Fields& body, const char* name) {
  const Json* value = body.any(name);
  return value == nullptr ? Json() : *value;
}

}  // namespace

ResponseRequest read_response_request(const Fields& body, const Limits& limits) {
  ResponseRequest request;
  static_cast<WriteRequest&>(request) = read_write_request(body, limits);
  request.n = 1;
  if (body.any("conversation") != nullptr) {
    body.fail("conversation", "there are none here; go on with previous_response_id");
  }
  if (const auto most = body.integer("max_output_tokens", 1, limits.max_tokens)) {
    request.generation.max_tokens = int(*most);
  }
  request.messages = read_input(body);
  request.tools = read_tools(body, FunctionIn::tool);
  request.tool_choice = read_tool_choice(body, request.tools, FunctionIn::tool);
  if (const auto reasoning = body.object("reasoning")) {
    request.effort_said = as_said(*reasoning, "effort");
    request.effort = read_effort(*reasoning, "effort");
  }
  read_format(body, request);
  request.previous = body.text("previous_response_id").value_or("");
  if (!request.previous.empty() && !request.state.empty()) {
    body.fail("state", "previous_response_id says already where to go on from");
  }
  const auto store = body.boolean("store");
  request.store_said = store.has_value();
  request.store = store.value_or(true);
  if (request.save && !request.store) {
    body.fail("save_state", "\"store\": false says that nothing is kept");
  }
  if (request.save && !request.save->note.empty()) {
    body.object("save_state")->fail("note", "the note of a response's state is the response");
  }
  request.metadata = read_metadata(body);
  request.instructions = as_said(body, "instructions");
  request.max_output_tokens = as_said(body, "max_output_tokens");
  request.tools_said = as_said(body, "tools");
  return request;
}

}  // namespace anser::openai
