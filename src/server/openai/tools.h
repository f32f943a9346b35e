// What tools a request offers, and which of them shall be called.
#pragma once

#include <string>
#include <vector>

#include "server/openai/fields.h"
#include "server/openai/left_out.h"

namespace anser::openai {

struct Tool {
  std::string name, description;
  Json parameters;        // a JSON schema of an object; null: it takes none
  std::string path = {};  // of the parameters, for errors: "tools[2].function.parameters"
  bool strict = true;     // else what cannot be kept to in the schema is passed over
};

// Which of the tools shall be called: none may, any may, one must, or this one must.
struct ToolChoice {
  enum class Kind { none, automatic, required, named };
  Kind kind = Kind::automatic;
  std::string name;

  // Whether the answer must be a call.
  bool obliges() const { return kind == Kind::required || kind == Kind::named; }
};

// Where what a function is stands: a chat's tools have it in their field "function", those of
// /v1/responses in themselves.
enum class FunctionIn { field, tool };

// "tools" and "tool_choice" of a request; without tools none is called, nor may one be demanded.
// Tools that are no functions are left out. Where the choice allows some of the tools only
// (allowed_tools), the others are taken away. Throw ApiError.
std::vector<Tool> read_tools(const Fields& body, FunctionIn where, LeftOut& left_out);
ToolChoice read_tool_choice(const Fields& body, std::vector<Tool>& tools, FunctionIn where);

// The form that chats had before there were tools: "functions" and "function_call".
std::vector<Tool> read_functions(const Fields& body);
ToolChoice read_function_call(const Fields& body, const std::vector<Tool>& tools);

}  // namespace anser::openai
