#include "server/openai/tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace anser::openai {
namespace {

constexpr size_t kMostTools = 128;

Fields function_of(const Fields& holder, FunctionIn where) {
  if (where == FunctionIn::tool) return holder;
  const auto function = holder.object("function");
  if (!function) holder.fail("function", "it is missing; expected an object");
  return *function;
}

}  // namespace

std::vector<Tool> read_tools(const Fields& body, FunctionIn where) {
  std::vector<Tool> tools;
  const Json* list = body.array("tools");
  if (list == nullptr) return tools;
  if (list->size() > kMostTools) {
    body.fail("tools", fmt::format("expected at most {}, found {}", kMostTools, list->size()));
  }
  for (size_t i = 0; i < list->size(); ++i) {
    const Fields tool((*list)[i], fmt::format("tools[{}]", i));
    const bool may_be_unsaid = where == FunctionIn::field;
    const std::string type =
        may_be_unsaid ? tool.text("type").value_or("function") : tool.required_text("type");
    if (type != "function") tool.fail("type", "only tools of type function are there");
    const Fields function = function_of(tool, where);
    Tool read{function.required_text("name"),
              function.text("description").value_or(""),
              {},
              function.path("parameters")};
    if (function.object("parameters")) read.parameters = *function.any("parameters");
    read.strict = function.boolean("strict").value_or(true);
    tools.push_back(std::move(read));
  }
  return tools;
}

ToolChoice read_tool_choice(const Fields& body, const std::vector<Tool>& tools, FunctionIn where) {
  const Json* value = body.any("tool_choice");
  if (value == nullptr && !tools.empty()) return {};
  if (value == nullptr) return {ToolChoice::Kind::none, {}};
  if (value->is_object()) {
    const Fields function = function_of(*body.object("tool_choice"), where);
    const std::string name = function.required_text("name");
    const auto is_it = [&](const Tool& tool) { return tool.name == name; };
    if (std::ranges::none_of(tools, is_it)) {
      function.fail("name", fmt::format("no tool is called '{}'", cut_text(name)));
    }
    return {ToolChoice::Kind::named, name};
  }
  const auto choice = body.choice("tool_choice", {"none", "auto", "required"});
  if (*choice == "required" && tools.empty()) {
    body.fail("tool_choice", "a call is required, but there are no tools");
  }
  if (*choice == "none" || tools.empty()) return {ToolChoice::Kind::none, {}};
  return {*choice == "required" ? ToolChoice::Kind::required : ToolChoice::Kind::automatic, {}};
}

}  // namespace anser::openai
