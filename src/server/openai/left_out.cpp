#include "server/openai/left_out.h"

#include <algorithm>
#include <span>
#include <string_view>

namespace anser::openai {
namespace {

constexpr std::string_view kTools[] = {"apply_patch",
                                       "code_interpreter",
                                       "computer",
                                       "computer_use_preview",
                                       "custom",
                                       "file_search",
                                       "image_generation",
                                       "local_shell",
                                       "mcp",
                                       "namespace",
                                       "programmatic_tool_calling",
                                       "shell",
                                       "tool_search",
                                       "web_search",
                                       "web_search_preview"};

constexpr std::string_view kItems[] = {"additional_tools",
                                       "apply_patch_call",
                                       "apply_patch_call_output",
                                       "code_interpreter_call",
                                       "compaction",
                                       "computer_call",
                                       "computer_call_output",
                                       "custom_tool_call",
                                       "custom_tool_call_output",
                                       "file_search_call",
                                       "image_generation_call",
                                       "local_shell_call",
                                       "local_shell_call_output",
                                       "mcp_approval_request",
                                       "mcp_approval_response",
                                       "mcp_call",
                                       "mcp_list_tools",
                                       "shell_call",
                                       "shell_call_output",
                                       "tool_search_call",
                                       "tool_search_output",
                                       "web_search_call"};

void leave_out(std::string_view what, std::string_view type,
               std::span<const std::string_view> known, LeftOut& left_out) {
  const bool is_known = std::ranges::find(known, type) != known.end();
  std::string kind(what);
  kind += is_known ? " of type " + std::string(type) : std::string(" of an unknown type");
  if (std::ranges::find(left_out, kind) == left_out.end()) left_out.push_back(std::move(kind));
}

}  // namespace

void leave_out_tool(const std::string& type, LeftOut& left_out) {
  leave_out("tools", type, kTools, left_out);
}

void leave_out_item(const std::string& type, LeftOut& left_out) {
  leave_out("input items", type, kItems, left_out);
}

}  // namespace anser::openai
