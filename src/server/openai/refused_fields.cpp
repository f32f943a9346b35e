#include "server/openai/refused_fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace anser::openai {
namespace {

struct Refused {
  const char *name, *why;
};

constexpr Refused kRefused[] = {
    {"audio", "the model writes text and no sounds"},
    {"web_search_options", "nothing is searched here"},
    {"moderation", "answers are not moderated here"},
};

constexpr Refused kRefusedInResponses[] = {
    {"prompt", "no prompt templates are kept here; send their text as instructions and input"},
    {"conversation", "there are none here; go on with previous_response_id"},
    {"functions", "expected tools: this is the old form of chats"},
    {"function_call", "expected tool_choice: this is the old form of chats"},
};

template <size_t N>
void refuse(const Fields& body, const Refused (&fields)[N]) {
  for (const auto& [name, why] : fields) {
    if (body.any(name) != nullptr) body.fail(name, why);
  }
}

// What they add belongs to items that no answer here has, or stands in the answer as it is; Codex
// and others ask for all that they know.
constexpr std::string_view kNothingToInclude[] = {
    "code_interpreter_call.outputs", "computer_call_output.output.image_url",
    "file_search_call.results",      "message.input_image.image_url",
    "reasoning.encrypted_content",   "web_search_call.action.sources",
    "web_search_call.results"};

void check_include(const Fields& body) {
  const Json* list = body.array("include");
  if (list == nullptr) return;
  for (size_t i = 0; i < list->size(); ++i) {
    const Json& entry = (*list)[i];
    const std::string path = fmt::format("include[{}]", i);
    if (!entry.is_string()) {
      throw ApiError::bad_field(path, fmt::format("expected a string, found {}", shown(entry)));
    }
    const auto& name = entry.get_ref<const std::string&>();
    if (std::ranges::find(kNothingToInclude, name) != std::end(kNothingToInclude)) continue;
    throw ApiError::bad_field(
        path, name == "message.output_text.logprobs"
                  ? "responses have no logprobs here; /v1/chat/completions gives them"
                  : fmt::format("expected one of {}, found {}", fmt::join(kNothingToInclude, ", "),
                                shown(entry)));
  }
}

}  // namespace

void refuse_fields(const Fields& body) {
  refuse(body, kRefused);
  const std::vector<std::string> modalities = body.texts("modalities", 16);
  for (size_t i = 0; i < modalities.size(); ++i) {
    if (modalities[i] != "text") {
      throw ApiError::bad_field(
          fmt::format("modalities[{}]", i),
          fmt::format("the model writes text alone, found '{}'", cut_text(modalities[i])));
    }
  }
}

void refuse_response_fields(const Fields& body) {
  refuse_fields(body);
  refuse(body, kRefusedInResponses);
  check_include(body);
  if (body.boolean("background").value_or(false)) {
    body.fail("background", "responses are written while the client waits; ask for a stream");
  }
  if (body.integer("top_logprobs", 0, 20).value_or(0) > 0) {
    body.fail("top_logprobs", "responses have no logprobs here; /v1/chat/completions gives them");
  }
  if (body.integer("n", 1, 128).value_or(1) > 1) {
    body.fail("n", "a response is one answer; /v1/chat/completions gives several");
  }
}

}  // namespace anser::openai
