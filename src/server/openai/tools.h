// What tools a request offers, and which of them shall be called.
#pragma once

#include <string>
#include <vector>

#include "server/openai/fields.h"

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
// Throw ApiError.
std::vector<Tool> read_tools(const Fields& body, FunctionIn where);
ToolChoice read_tool_choice(const Fields& body, const std::vector<Tool>& tools, FunctionIn where);

}  // namespace anser::openai
