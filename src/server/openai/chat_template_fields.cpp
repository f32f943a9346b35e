#include "server/openai/chat_template_fields.h"

#include <fmt/format.h>

#include <string_view>

namespace anser::openai {
namespace {

bool has_words(const Message& message) {
  return message.text.find_first_not_of(" \t\n\v\f\r") != std::string::npos;
}

// What the request says of thinking elsewhere comes first.
void read_kwargs(const Fields& body, ChatRequest& request) {
  const auto read_switch = [&](const Fields& fields, const char* name) {
    const auto thinks = fields.boolean(name);
    if (!thinks || request.effort != Effort::unsaid) return;
    request.effort = *thinks ? Effort::medium : Effort::none;
  };
  if (const auto kwargs = body.object("chat_template_kwargs")) {
    const Effort effort = read_effort(*kwargs, "reasoning_effort");
    if (request.effort == Effort::unsaid) request.effort = effort;
    read_switch(*kwargs, "enable_thinking");
    read_switch(*kwargs, "thinking");
  }
  read_switch(body, "enable_thinking");
}

void read_continuation(const Fields& body, ChatRequest& request) {
  const auto opens = body.boolean("add_generation_prompt");
  const auto continues = body.boolean("continue_final_message");
  if (opens.value_or(false) && continues.value_or(false)) {
    body.fail("continue_final_message",
              "either the last message is continued, or an answer is begun, as "
              "add_generation_prompt says");
  }
  const Message& last = request.messages.back();
  const bool answers = last.role == Message::Role::assistant && last.calls.empty();
  if (continues.value_or(false)) {
    if (request.tool_choice.obliges()) {
      body.fail("continue_final_message", "tool_choice demands a call, which begins an answer");
    }
    if (!last.calls.empty()) {
      body.fail("continue_final_message", "the last message has calls, so it is complete");
    }
  }
  request.opens_answer = opens.value_or(true);
  request.continues =
      continues.value_or(answers && !opens.value_or(false) && !request.tool_choice.obliges());
  if (!request.continues || !answers || has_words(last)) return;
  // There is nothing to go on with.
  request.continues = false;
  request.opens_answer = true;
  request.begins_anew = request.messages.size() > 1;
}

}  // namespace

void read_chat_template_fields(const Fields& body, ChatRequest& request) {
  if (body.any("chat_template") != nullptr) {
    body.fail("chat_template",
              "the form of conversations is the server's: anser serve --template NAME or "
              "--template-file FILE");
  }
  read_kwargs(body, request);
  read_continuation(body, request);
}

}  // namespace anser::openai
