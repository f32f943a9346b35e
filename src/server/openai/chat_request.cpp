#include "server/openai/chat_request.h"

#include <fmt/format.h>

#include "server/openai/chat_template_fields.h"

namespace anser::openai {
namespace {

constexpr size_t kMostMessages = 4096;
constexpr int kMostTopLogprobs = 20;

std::string read_content(const Fields& message) {
  const Json* content = message.any("content");
  if (content == nullptr) return "";
  if (content->is_string()) return content->get<std::string>();
  if (!content->is_array()) {
    message.fail("content", fmt::format("expected a string or a list of parts, found {}",
                                        content->type_name()));
  }
  std::string text;
  for (size_t i = 0; i < content->size(); ++i) {
    const Fields part((*content)[i], fmt::format("{}[{}]", message.path("content"), i));
    if (part.required_text("type") != "text") {
      part.fail("type", "only parts of type text can be read: the model knows no others");
    }
    text += part.required_text("text");
  }
  return text;
}

std::vector<ToolCall> read_calls(const Fields& message) {
  std::vector<ToolCall> calls;
  const Json* list = message.array("tool_calls");
  if (list == nullptr) return calls;
  for (size_t i = 0; i < list->size(); ++i) {
    const Fields call((*list)[i], fmt::format("{}[{}]", message.path("tool_calls"), i));
    const auto function = call.object("function");
    if (!function) call.fail("function", "it is missing; expected an object");
    calls.push_back({call.text("id").value_or(""), function->required_text("name"),
                     function->text("arguments").value_or("{}")});
  }
  return calls;
}

Message read_message(const Fields& fields) {
  const auto role =
      fields.choice("role", {"system", "developer", "user", "assistant", "tool", "function"});
  if (!role) fields.fail("role", "it is missing; expected system, user, assistant or tool");
  Message message;
  message.text = read_content(fields);
  if (*role == "system" || *role == "developer") message.role = Message::Role::system;
  if (*role == "tool" || *role == "function") message.role = Message::Role::tool;
  if (*role == "assistant") {
    message.role = Message::Role::assistant;
    message.calls = read_calls(fields);
  } else if (fields.any("content") == nullptr) {
    fields.fail("content", "it is missing; expected a string");
  }
  return message;
}

}  // namespace

Effort read_effort(const Fields& fields, const char* name) {
  const auto effort = fields.choice(name, {"none", "minimal", "low", "medium", "high", "xhigh"});
  if (!effort) return Effort::unsaid;
  if (*effort == "low") return Effort::low;
  if (*effort == "medium") return Effort::medium;
  if (*effort == "high" || *effort == "xhigh") return Effort::high;
  return Effort::none;
}

ChatRequest read_chat_request(const Fields& body, const Limits& limits) {
  ChatRequest request{read_write_request(body, limits), {}, {}, {}};
  const Json* messages = body.array("messages");
  if (messages == nullptr || messages->empty()) {
    body.fail("messages", "it is missing or empty; expected a list of messages");
  }
  if (messages->size() > kMostMessages) {
    body.fail("messages",
              fmt::format("expected at most {}, found {}", kMostMessages, messages->size()));
  }
  for (size_t i = 0; i < messages->size(); ++i) {
    request.messages.push_back(
        read_message(Fields((*messages)[i], fmt::format("messages[{}]", i))));
  }
  request.tools = read_tools(body, FunctionIn::field);
  request.tool_choice = read_tool_choice(body, request.tools, FunctionIn::field);
  request.effort = read_effort(body, "reasoning_effort");
  read_chat_template_fields(body, request);
  const auto top = body.integer("top_logprobs", 0, kMostTopLogprobs);
  if (body.boolean("logprobs").value_or(false)) request.top_logprobs = int(top.value_or(0));
  return request;
}

}  // namespace anser::openai
