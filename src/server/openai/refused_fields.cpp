#include "server/openai/refused_fields.h"

#include <fmt/format.h>

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

constexpr Refused kRefusedInCompletions[] = {
    {"messages", "a completion goes on from prompt; /v1/chat/completions takes messages"},
};

constexpr Refused kRefusedInChats[] = {
    {"prompt", "a chat goes on from messages; /v1/completions takes a prompt"},
};

constexpr Refused kRefusedInResponses[] = {
    {"messages", "a response goes on from input; /v1/chat/completions takes messages"},
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

void refuse_in_all(const Fields& body) {
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

}  // namespace

void refuse_completion_fields(const Fields& body) {
  refuse_in_all(body);
  refuse(body, kRefusedInCompletions);
}

void refuse_chat_fields(const Fields& body) {
  refuse_in_all(body);
  refuse(body, kRefusedInChats);
}

void refuse_response_fields(const Fields& body) {
  refuse_in_all(body);
  refuse(body, kRefusedInResponses);
  if (body.boolean("background").value_or(false)) {
    body.fail("background", "responses are written while the client waits; ask for a stream");
  }
  if (body.integer("n", 1, 128).value_or(1) > 1) {
    body.fail("n", "a response is one answer; /v1/chat/completions gives several");
  }
}

}  // namespace anser::openai
