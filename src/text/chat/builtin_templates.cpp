#include "text/chat/builtin_templates.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "anser/error.h"

namespace anser {
namespace {

constexpr char kThinkStart[] = "<think>", kThinkEnd[] = "</think>";

// A turn ends with two newlines, so no words may hold two.
ChatTemplate chat(const char* name, Thinking usual) {
  ChatTemplate form;
  form.name = name;
  form.system = "System: {text}";
  form.user = "User: {text}";
  form.assistant = "Assistant: {text}";
  form.tool = "User: Function output:\n{text}";
  form.separator = "\n\n";
  form.generation = "Assistant:";
  form.thinking_none = " <think>\n</think";
  form.thinking_open = " <think";
  form.usual = usual;
  form.think_start = kThinkStart;
  form.think_end = kThinkEnd;
  form.low_effort = " (think a bit)";
  form.high_effort = " (think a lot)";
  form.stops = {"\n\nUser:", "\nUser:", "\n\nSystem:"};
  form.blank_lines = false;
  return form;
}

// G1h and newer were trained on answers that begin with a thought always. Where the model cannot
// close it (what follows is held to a grammar), an empty one is closed for it.
void add_thinking(ChatTemplate& form, Thinking usual) {
  form.thinking_off = "<think></think>";
  form.thinking_none = "<think></think";
  form.thinking_open = "<think";
  form.usual = usual;
  form.think_start = kThinkStart;
  form.think_end = kThinkEnd;
  form.tools = ToolFormat::markdown;
  form.begin_token = true;
}

// The flower, U+273F, is one token, and no other token has it in it. In a role's words another
// flower, U+2740, stands for it.
ChatTemplate flower(const char* name, Thinking usual) {
  ChatTemplate form;
  form.name = name;
  form.system = "System\u273f{text}";
  form.user = "User\u273f{text}";
  form.assistant = "Bot\u273f{text}";
  form.tool =
      "User\u273f"
      "Function output:\n{text}";
  form.separator = "\u273f\n";
  form.generation = "Bot\u273f";
  form.stops = {"\u273f"};
  form.replace = {{"\u273f", "\u2740"}};
  add_thinking(form, usual);
  return form;
}

ChatTemplate markdown(const char* name, Thinking usual) {
  ChatTemplate form;
  form.name = name;
  form.system = "### System\n{text}";
  form.user = "### User\n{text}";
  form.assistant = "### Assistant\n{text}";
  form.tool = "### Tool Output\n{text}";
  form.separator = "\n";
  form.generation = "### Assistant\n";
  form.stops = {"\n### User", "\n### Tool Output"};
  for (const char* role : {"System", "User", "Assistant", "Tool Output"}) {
    form.replace.emplace_back(fmt::format("\n### {}", role), fmt::format("\n ### {}", role));
  }
  add_thinking(form, usual);
  return form;
}

const std::vector<ChatTemplate>& all() {
  static const std::vector<ChatTemplate> forms = {
      chat("chat", Thinking::off),
      chat("think", Thinking::open),
      chat("fake-think", Thinking::none),
      flower("flower", Thinking::none),
      flower("flower-think", Thinking::open),
      markdown("markdown", Thinking::none),
      markdown("markdown-think", Thinking::open),
  };
  return forms;
}

}  // namespace

std::vector<std::string> builtin_template_names() {
  std::vector<std::string> names;
  for (const ChatTemplate& form : all()) names.push_back(form.name);
  return names;
}

const ChatTemplate* find_builtin_template(std::string_view name) {
  for (const ChatTemplate& form : all()) {
    if (form.name == name) return &form;
  }
  return nullptr;
}

const ChatTemplate& builtin_template(std::string_view name) {
  if (const ChatTemplate* form = find_builtin_template(name)) return *form;
  throw Error(fmt::format("no chat form is called '{}'; there are {}", name,
                          fmt::join(builtin_template_names(), ", ")));
}

ChatTemplate template_with_tools(const ChatTemplate& form) {
  if (form.tools != ToolFormat::markdown) return form;
  ChatTemplate with = builtin_template("markdown");
  with.usual = form.usual;
  return with;
}

}  // namespace anser
