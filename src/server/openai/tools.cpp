#include "server/openai/tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
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

// A list of at most kMostTools; nullptr: it is absent.
const Json* list_of(const Fields& body, const char* name) {
  const Json* list = body.array(name);
  if (list != nullptr && list->size() > kMostTools) {
    body.fail(name, fmt::format("expected at most {}, found {}", kMostTools, list->size()));
  }
  return list;
}

// Reads functions one after the other: a call is known by its name.
class FunctionReader {
 public:
  void read(const Fields& function) {
    Tool tool{function.required_text("name"),
              function.text("description").value_or(""),
              {},
              function.path("parameters")};
    if (tool.name.empty()) function.fail("name", "it is empty; expected the name of a function");
    if (!names_.insert(tool.name).second) {
      function.fail("name", fmt::format("'{}' is the name of another function, too; calls could "
                                        "not be told apart",
                                        cut_text(tool.name)));
    }
    if (function.object("parameters")) tool.parameters = *function.any("parameters");
    tool.strict = function.boolean("strict").value_or(true);
    tools_.push_back(std::move(tool));
  }
  std::vector<Tool> take() { return std::move(tools_); }

 private:
  std::vector<Tool> tools_;
  std::set<std::string> names_;
};

// The name of one of the tools.
std::string offered_name(const Fields& function, const std::vector<Tool>& tools) {
  const std::string name = function.required_text("name");
  const auto is_it = [&](const Tool& tool) { return tool.name == name; };
  if (std::ranges::none_of(tools, is_it)) {
    function.fail("name", fmt::format("no function is called '{}'", cut_text(name)));
  }
  return name;
}

ToolChoice choice_among(const std::string& mode, const std::vector<Tool>& tools) {
  if (mode == "none" || tools.empty()) return {ToolChoice::Kind::none, {}};
  return {mode == "required" ? ToolChoice::Kind::required : ToolChoice::Kind::automatic, {}};
}

ToolChoice read_allowed_tools(const Fields& choice, std::vector<Tool>& tools, FunctionIn where) {
  const auto holder =
      where == FunctionIn::tool ? std::optional(choice) : choice.object("allowed_tools");
  if (!holder) choice.fail("allowed_tools", "it is missing; expected an object");
  const std::string mode = holder->choice("mode", {"auto", "required"}).value_or("auto");
  const Json* list = list_of(*holder, "tools");
  if (list == nullptr) holder->fail("tools", "it is missing; expected a list of tools");
  std::set<std::string> names;
  for (size_t i = 0; i < list->size(); ++i) {
    const Fields tool((*list)[i], fmt::format("{}[{}]", holder->path("tools"), i));
    if (tool.text("type").value_or("function") != "function") continue;  // it was left out
    names.insert(offered_name(function_of(tool, where), tools));
  }
  std::erase_if(tools, [&](const Tool& tool) { return !names.contains(tool.name); });
  if (mode == "required" && tools.empty()) {
    holder->fail("tools", "a call is required, but no function is allowed");
  }
  return choice_among(mode, tools);
}

}  // namespace

std::vector<Tool> read_tools(const Fields& body, FunctionIn where, LeftOut& left_out) {
  const Json* list = list_of(body, "tools");
  if (list == nullptr) return {};
  FunctionReader reader;
  for (size_t i = 0; i < list->size(); ++i) {
    const Fields tool((*list)[i], fmt::format("tools[{}]", i));
    const bool may_be_unsaid = where == FunctionIn::field;
    const std::string type =
        may_be_unsaid ? tool.text("type").value_or("function") : tool.required_text("type");
    if (type == "function") {
      reader.read(function_of(tool, where));
    } else {
      leave_out_tool(type, left_out);
    }
  }
  return reader.take();
}

ToolChoice read_tool_choice(const Fields& body, std::vector<Tool>& tools, FunctionIn where) {
  const Json* value = body.any("tool_choice");
  if (value == nullptr) return choice_among("auto", tools);
  if (value->is_object()) {
    const Fields choice = *body.object("tool_choice");
    const std::string type = choice.text("type").value_or("function");
    if (type == "allowed_tools") return read_allowed_tools(choice, tools, where);
    if (type != "function") {
      choice.fail("type", fmt::format("only functions can be called here; expected function or "
                                      "allowed_tools, found '{}'",
                                      cut_text(type)));
    }
    return {ToolChoice::Kind::named, offered_name(function_of(choice, where), tools)};
  }
  const auto choice = body.choice("tool_choice", {"none", "auto", "required"});
  if (*choice == "required" && tools.empty()) {
    body.fail("tool_choice", "a call is required, but there are no tools that are functions");
  }
  return choice_among(*choice, tools);
}

std::vector<Tool> read_functions(const Fields& body) {
  const Json* list = list_of(body, "functions");
  if (list == nullptr) return {};
  FunctionReader reader;
  for (size_t i = 0; i < list->size(); ++i) {
    reader.read(Fields((*list)[i], fmt::format("functions[{}]", i)));
  }
  return reader.take();
}

ToolChoice read_function_call(const Fields& body, const std::vector<Tool>& tools) {
  const Json* value = body.any("function_call");
  if (value != nullptr && value->is_object()) {
    return {ToolChoice::Kind::named, offered_name(*body.object("function_call"), tools)};
  }
  return choice_among(body.choice("function_call", {"none", "auto"}).value_or("auto"), tools);
}

}  // namespace anser::openai
