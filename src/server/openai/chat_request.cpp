#include "server/openai/chat_request.h"

#include <fmt/format.h>

#include <utility>

#include "server/openai/chat_template_fields.h"
#include "server/openai/json_pieces.h"
#include "server/openai/refused_fields.h"
#include "server/openai/words.h"

namespace anser::openai {
namespace {

constexpr size_t kMostMessages = 4096;
constexpr int kMostTopLogprobs = 20;

std::vector<ToolCall> read_calls(const Fields& message, LeftOut& left_out) {
  std::vector<ToolCall> calls;
  if (const auto function = message.object("function_call")) {  // the old form
    calls.push_back({"", function->required_text("name"), read_arguments(*function)});
  }
  const Json* list = message.array("tool_calls");
  if (list == nullptr) return calls;
  for (size_t i = 0; i < list->size(); ++i) {
    const Fields call((*list)[i], fmt::format("{}[{}]", message.path("tool_calls"), i));
    const std::string type = call.text("type").value_or("function");
    if (type != "function") {  // a tool that is left out
      leave_out_tool(type, left_out);
      continue;
    }
    const auto function = call.object("function");
    if (!function) call.fail("function", "it is missing; expected an object");
    calls.push_back(
        {call.text("id").value_or(""), function->required_text("name"), read_arguments(*function)});
  }
  return calls;
}

Message read_message(const Fields& fields, LeftOut& left_out) {
  const auto role =
      fields.choice("role", {"system", "developer", "user", "assistant", "tool", "function"});
  if (!role) fields.fail("role", "it is missing; expected system, user, assistant or tool");
  const std::optional<std::string> words = read_words(fields, "content");
  Message message;
  message.text = words.value_or("");
  if (*role == "system" || *role == "developer") message.role = Message::Role::system;
  if (*role == "tool" || *role == "function") message.role = Message::Role::tool;
  if (*role == "assistant") {
    message.role = Message::Role::assistant;
    message.calls = read_calls(fields, left_out);
    if (!words) message.text = fields.text("refusal").value_or("");
    if (fields.any("audio") != nullptr) fields.fail("audio", "the model reads text alone");
  } else if (!words) {
    fields.fail("content", "it is missing; expected a string");
  }
  return message;
}

void read_chat_tools(const Fields& body, ChatRequest& request) {
  request.tools = read_tools(body, FunctionIn::field, request.left_out);
  request.tool_choice = read_tool_choice(body, request.tools, FunctionIn::field);
  request.calls = read_call_form(body);
  const Json* old_choice = body.any("function_call");
  std::vector<Tool> functions = read_functions(body);
  if (functions.empty() && (old_choice == nullptr || *old_choice == "auto")) return;
  if (const Json* tools = body.any("tools"); tools != nullptr && !tools->empty()) {
    body.fail(functions.empty() ? "function_call" : "functions",
              "it is of the form that there was before tools; expected one form of the two");
  }
  request.tools = std::move(functions);
  request.tool_choice = read_function_call(body, request.tools);
  if (!request.tools.empty()) request.calls = CallForm::old;
}

void read_logprobs(const Fields& body, ChatRequest& request) {
  const int64_t top = body.integer("top_logprobs", 0, kMostTopLogprobs).value_or(0);
  if (body.boolean("logprobs").value_or(false)) {
    request.top_logprobs = int(top);
  } else if (top > 0) {
    body.fail("top_logprobs",
              "it says how many come with each of the logprobs, which are not asked "
              "for: expected \"logprobs\": true beside it");
  }
}

}  // namespace

Effort read_effort(const Fields& fields, const char* name) {
  const auto effort =
      fields.choice(name, {"none", "minimal", "low", "medium", "high", "xhigh", "max"});
  if (!effort) return Effort::unsaid;
  if (*effort == "low") return Effort::low;
  if (*effort == "medium") return Effort::medium;
  if (*effort == "high" || *effort == "xhigh" || *effort == "max") return Effort::high;
  return Effort::none;
}

CallForm read_call_form(const Fields& body) {
  const bool several = body.boolean("parallel_tool_calls").value_or(true);
  return several ? CallForm::several : CallForm::single;
}

std::string read_arguments(const Fields& function) {
  const Json* arguments = function.any("arguments");
  if (arguments != nullptr && arguments->is_object()) return dumped(*arguments);
  return function.text("arguments").value_or("{}");
}

ChatRequest read_chat_request(const Fields& body, const Limits& limits) {
  refuse_chat_fields(body);
  ChatRequest request;
  static_cast<WriteRequest&>(request) = read_write_request(body, limits);
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
        read_message(Fields((*messages)[i], fmt::format("messages[{}]", i)), request.left_out));
  }
  read_chat_tools(body, request);
  request.effort = read_effort(body, "reasoning_effort");
  read_logprobs(body, request);
  read_chat_template_fields(body, request);
  return request;
}

}  // namespace anser::openai
