// Calls of tools in what a model writes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/openai/tools.h"

namespace anser::openai {

struct ReadCall {
  enum class Verdict { none, undecided, call };
  Verdict verdict;
  size_t size = 0;        // of the whole call in bytes
  std::string name = {};  // of the tool
  std::string arguments = {};
};

// The call that `text` begins with: `mark`, which is one of tool_text.h's, then an object with the
// name of one of the tools and its arguments, and what closes the mark. `end`: nothing follows
// `text`; the closing mark may then be missing, as it is where a constraint ends with the object.
ReadCall read_call(std::string_view text, std::string_view mark, const std::vector<Tool>& tools,
                   bool end);

}  // namespace anser::openai
