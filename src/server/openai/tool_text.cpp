#include "server/openai/tool_text.h"

#include <fmt/format.h>

#include "base/read_json.h"
#include "server/openai/call_arguments.h"

namespace anser::openai {
namespace {

constexpr int kIndent = 2;

// What is nested deep may have far more white space than else: up to so many times as much.
constexpr size_t kMostIndentation = 8, kLittle = 4096;

// The line ends and spaces that `json` has when it is written with kIndent.
size_t indentation(const Json& json, size_t depth) {
  if (!json.is_structured() || json.empty()) return 0;
  size_t bytes = 1 + depth * kIndent;  // before what closes it
  for (const Json& each : json) bytes += 1 + (depth + 1) * kIndent + indentation(each, depth + 1);
  return bytes;
}

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string indented(const Json& json) {
  std::string text = dumped(json);
  if (indentation(json, 0) > kMostIndentation * text.size() + kLittle) return text;
  return json.dump(kIndent, ' ', false, Json::error_handler_t::replace);
}

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

// name(argument: type, ...): description
std::string tool_line(const ChatTemplate& form, const Tool& tool) {
  std::string arguments;
  const auto properties =
      tool.parameters.is_object() ? tool.parameters.find("properties") : tool.parameters.end();
  if (properties != tool.parameters.end() && properties->is_object()) {
    for (const auto& [name, schema] : properties->items()) {
      arguments += fmt::format("{}{}: {}", arguments.empty() ? "" : ", ", name, type_of(schema));
    }
  }
  const std::string words = clean_words(form, tool.description);
  return "\n" + clean_words(form, fmt::format("- {}({}){}{}", tool.name, arguments,
                                              words.empty() ? "" : ": ", words));
}

std::string tool_section(const ChatTemplate& form, const Tool& tool) {
  const std::string words = clean_words(form, tool.description);
  const Json parameters = tool.parameters.is_null() ? Json::object() : tool.parameters;
  return fmt::format("### `{}`\n{}{}{}**Parameters:**\n{}\n{}\n{}\n", clean_words(form, tool.name),
                     words.empty() ? "" : "**Description:** ", words, words.empty() ? "" : "\n",
                     kCallFence, indented(parameters), kFence);
}

// Text of a client that is JSON is shown as such, other text as a string of JSON.
Json as_json(const std::string& text) {
  return find_json<Json>(text).value_or(text);
}

}  // namespace

std::string tools_text(const ChatTemplate& form, const ChatRequest& request) {
  const bool lines = form.tools == ToolFormat::lines;
  std::string text = lines ? "Tools:" : "";
  for (const Tool& tool : request.tools) {
    const bool other = request.tool_choice.kind == ToolChoice::Kind::named &&
                       tool.name != request.tool_choice.name;
    if (!other) text += lines ? tool_line(form, tool) : tool_section(form, tool);
  }
  if (lines) return text + "\nReturn only a JSON function call.";
  return text + fmt::format(
                    "To call one of these tools, write exactly this format:\n{}\n{}\n{}\n{}\n"
                    "Do not invent tool call IDs or write tool outputs yourself.",
                    kCallHeading, kCallFence,
                    R"({"name": "tool_name", "arguments": {"key": "value"}})", kFence);
}

std::string call_text(const ChatTemplate& form, const ToolCall& call) {
  const Json object = {{"name", call.name}, {"arguments", call_arguments(call.arguments)}};
  if (form.tools == ToolFormat::lines) {
    // The marks of a form of the user's own may stand in a string of JSON.
    return clean_words(form, fmt::format("{}\n{}\n{}", kCallFence, dumped(object), kFence));
  }
  return fmt::format("{}\n{}\n{}\n{}", kCallHeading, kCallFence, indented(object), kFence);
}

std::string output_text(const ChatTemplate& form, const std::string& output) {
  if (form.tools == ToolFormat::lines) return clean_words(form, output);
  return fmt::format("{}\n{}\n{}", kCallFence, indented(as_json(output)), kFence);
}

std::string_view call_opening(ToolFormat format) {
  return format == ToolFormat::lines ? " ```json" : "\n**Tool Call:**\n```json";
}

}  // namespace anser::openai
