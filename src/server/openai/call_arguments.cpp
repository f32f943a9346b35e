#include "server/openai/call_arguments.h"

#include <optional>
#include <string>

#include "base/read_json.h"

namespace anser::openai {
namespace {

constexpr int kMostStrings = 4;  // within each other

// With the control characters within strings escaped.
std::string escape_controls(std::string_view text) {
  std::string escaped;
  bool in_string = false, behind_backslash = false;
  for (const char c : text) {
    if (!in_string || (c != '\n' && c != '\r' && c != '\t')) {
      escaped += c;
    } else {
      escaped += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    }
    if (c == '"' && !behind_backslash) in_string = !in_string;
    behind_backslash = in_string && c == '\\' && !behind_backslash;
  }
  return escaped;
}

std::optional<Json> find_value(std::string_view text) {
  if (std::optional<Json> value = find_json<Json>(text)) return value;
  return find_json<Json>(escape_controls(text));
}

}  // namespace

Json call_arguments(const Json& written) {
  Json value = written;
  for (int strings = 0; value.is_string() && strings < kMostStrings; ++strings) {
    const std::string text = value.get<std::string>();
    if (text.find_first_not_of(" \t\n\r") == std::string::npos) return Json::object();
    std::optional<Json> inside = find_value(text);
    // Of other values the string is what was meant.
    if (!inside || !(inside->is_structured() || inside->is_string() || inside->is_null())) break;
    value = *std::move(inside);
  }
  return value.is_null() ? Json::object() : value;
}

}  // namespace anser::openai
