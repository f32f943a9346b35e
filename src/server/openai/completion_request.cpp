#include "server/openai/completion_request.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/openai/prompt_tokens.h"
#include "server/openai/refused_fields.h"

namespace anser::openai {
namespace {

constexpr size_t kMostPrompts = 256;
constexpr int kMostLogprobs = 20;

}  // namespace

CompletionRequest read_completion_request(const Fields& body, const Limits& limits,
                                          const Tokenizer& tokenizer) {
  refuse_completion_fields(body);
  CompletionRequest request{read_write_request(body, limits), {}, false};
  request.echo = body.boolean("echo").value_or(false);
  request.top_logprobs = int(body.integer("logprobs", 0, kMostLogprobs).value_or(-1));

  const int64_t most = limits.max_prompt_tokens;
  const auto read = [&](const Json& entry, const std::string& path) {
    if (entry.is_array()) return read_tokens(entry, limits.vocab, most, path);
    return encode_at_most(tokenizer, entry.get_ref<const std::string&>(), request.state.empty(),
                          most, path);
  };
  const Json* prompt = body.any("prompt");
  if (prompt == nullptr) {
    request.prompts.push_back({});
  } else if (prompt->is_string()) {
    request.prompts.push_back(read(*prompt, "prompt"));
  } else if (!prompt->is_array() || prompt->empty()) {
    body.fail("prompt", "expected a string, a list of strings, or a list of tokens");
  } else if (prompt->front().is_number()) {
    request.prompts.push_back(read(*prompt, "prompt"));
  } else {
    if (prompt->size() > kMostPrompts) {
      body.fail("prompt",
                fmt::format("expected at most {}, found {}", kMostPrompts, prompt->size()));
    }
    for (size_t i = 0; i < prompt->size(); ++i) {
      const Json& entry = (*prompt)[i];
      const std::string path = fmt::format("prompt[{}]", i);
      if (!entry.is_string() && !entry.is_array()) {
        throw ApiError::bad_field(
            path, fmt::format("expected a string or tokens, found {}", entry.type_name()));
      }
      request.prompts.push_back(read(entry, path));
    }
  }
  if (request.prompts.size() * size_t(request.n) > size_t(limits.max_choices)) {
    body.fail("prompt",
              fmt::format("expected at most {} texts a request, found {} prompts, {} each",
                          limits.max_choices, request.prompts.size(), request.n));
  }
  return request;
}

}  // namespace anser::openai
