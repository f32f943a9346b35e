#include "server/openai/chat_prompt.h"

#include <fmt/format.h>

namespace anser::openai {
namespace {

constexpr std::string_view kCallOpen = kCallOpening.substr(1), kFence = "```";

// "string", "string|null", or what else a schema is.
std::string type_of(const Json& schema) {
  const auto type = schema.find("type");
  if (type != schema.end() && type->is_string()) return type->get<std::string>();
  if (type != schema.end() && type->is_array()) {
    std::string types;
    for (const Json& each : *type) {
      if (each.is_string()) types += (types.empty() ? "" : "|") + each.get<std::string>();
    }
    return types;
  }
  return "any";
}

std::string tool_line(const Tool& tool) {
  std::string arguments;
  const auto properties =
      tool.parameters.is_object() ? tool.parameters.find("properties") : tool.parameters.end();
  if (properties != tool.parameters.end() && properties->is_object()) {
    for (const auto& [name, schema] : properties->items()) {
      arguments += fmt::format("{}{}: {}", arguments.empty() ? "" : ", ", name, type_of(schema));
    }
  }
  const std::string words = clean_role_text(tool.description);
  return fmt::format("- {}({}){}{}", tool.name, arguments, words.empty() ? "" : ": ", words);
}

std::string tools_text(const ChatRequest& request) {
  std::string text = "Tools:";
  for (const Tool& tool : request.tools) {
    const bool other = request.tool_choice.kind == ToolChoice::Kind::named &&
                       tool.name != request.tool_choice.name;
    if (!other) text += "\n" + tool_line(tool);
  }
  return text + "\nReturn only a JSON function call.";
}

std::string turn(const Message& message) {
  switch (message.role) {
    case Message::Role::system:
      return "System: " + clean_role_text(message.text);
    case Message::Role::user:
      return "User: " + clean_role_text(message.text);
    case Message::Role::tool:
      return "User: Function output:\n" + clean_role_text(message.text);
    case Message::Role::assistant: {
      std::string words = clean_role_text(drop_thoughts(message.text));
      for (const ToolCall& call : message.calls) {
        words += (words.empty() ? "" : "\n") + render_call(call);
      }
      return words.empty() ? "Assistant:" : "Assistant: " + words;
    }
  }
  return {};
}

// Behind the last user's words; the newest G1 models know it.
std::string_view effort_mark(Effort effort) {
  if (effort == Effort::low) return " (think a bit)";
  if (effort == Effort::high) return " (think a lot)";
  return "";
}

std::string opening_of(const ChatRequest& request, Template usual) {
  if (request.tool_choice.obliges()) return std::string(kCallOpening);
  Template format = usual;
  if (request.effort == Effort::none) format = Template::fake_think;
  if (request.effort > Effort::none) format = Template::think;
  if (format == Template::think) return " <think";
  if (format == Template::fake_think) return " <think>\n</think";
  return "";
}

constexpr std::string_view kTurnEnd = "\n\n";

ChatPrompt render_story(const ChatRequest& request, bool goes_on) {
  ChatPrompt prompt;
  for (const Message& message : request.messages) {
    const std::string words = clean_role_text(message.text);
    if (words.empty()) continue;
    prompt.text += (prompt.text.empty() && !goes_on ? "" : " ") + words;
    prompt.message_ends.push_back(prompt.text.size());
  }
  return prompt;
}

}  // namespace

std::string render_call(const ToolCall& call) {
  Json arguments = Json::parse(call.arguments, nullptr, false);
  if (arguments.is_discarded()) arguments = call.arguments;
  const Json object = {{"name", call.name}, {"arguments", std::move(arguments)}};
  return fmt::format("{}\n{}\n{}", kCallOpen,
                     object.dump(-1, ' ', false, Json::error_handler_t::replace), kFence);
}

ChatPrompt render_chat(const ChatRequest& request, Template usual, bool story, bool goes_on) {
  if (story) return render_story(request, goes_on);
  ChatPrompt prompt;
  if (goes_on) prompt.text = kTurnEnd;
  const auto add = [&](const std::string& text) {
    prompt.text += text;
    prompt.text += kTurnEnd;
    prompt.message_ends.push_back(prompt.text.size());
  };
  if (request.tool_choice.kind != ToolChoice::Kind::none) add("System: " + tools_text(request));
  for (size_t i = 0; i < request.messages.size(); ++i) {
    const Message& message = request.messages[i];
    std::string text = turn(message);
    const bool last = i + 1 == request.messages.size();
    if (last && message.role == Message::Role::user) text += effort_mark(request.effort);
    add(text);
  }
  prompt.opening = opening_of(request, usual);
  prompt.text += "Assistant:" + prompt.opening;
  return prompt;
}

std::string render_messages(const ChatRequest& request, bool story, bool goes_on) {
  const ChatPrompt prompt = render_chat(request, Template::chat, story, goes_on);
  if (story) return prompt.text;
  return prompt.text.substr(0, prompt.message_ends.back() - kTurnEnd.size());
}

}  // namespace anser::openai
