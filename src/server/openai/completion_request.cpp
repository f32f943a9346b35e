#include "server/openai/completion_request.h"

#include <fmt/format.h>

#include <algorithm>

namespace anser::openai {
namespace {

constexpr size_t kMostPrompts = 256;
constexpr int kMostLogprobs = 20;

std::vector<Token> read_tokens(const Json& list, const std::string& path, const Limits& limits) {
  std::vector<Token> tokens;
  for (const Json& entry : list) {
    if (!entry.is_number_integer() || entry < 0 || entry >= limits.vocab) {
      throw ApiError::bad_field(path, fmt::format("expected tokens from 0 to {}, found {}",
                                                  limits.vocab - 1, entry.dump()));
    }
    tokens.push_back(entry.get<Token>());
  }
  return tokens;
}

}  // namespace

CompletionRequest read_completion_request(const Fields& body, const Limits& limits,
                                          const Tokenizer& tokenizer) {
  CompletionRequest request{read_write_request(body, limits), {}, false};
  request.echo = body.boolean("echo").value_or(false);
  request.top_logprobs = int(body.integer("logprobs", 0, kMostLogprobs).value_or(-1));

  const auto encode = [&](const std::string& text) {
    return request.state.empty() ? tokenizer.encode_document(text) : tokenizer.encode(text);
  };
  const Json* prompt = body.any("prompt");
  if (prompt == nullptr) {
    request.prompts.push_back({});
  } else if (prompt->is_string()) {
    request.prompts.push_back(encode(prompt->get<std::string>()));
  } else if (!prompt->is_array() || prompt->empty()) {
    body.fail("prompt", "expected a string, a list of strings, or a list of tokens");
  } else if (prompt->front().is_number()) {
    request.prompts.push_back(read_tokens(*prompt, "prompt", limits));
  } else {
    if (prompt->size() > kMostPrompts) {
      body.fail("prompt",
                fmt::format("expected at most {}, found {}", kMostPrompts, prompt->size()));
    }
    for (size_t i = 0; i < prompt->size(); ++i) {
      const Json& entry = (*prompt)[i];
      const std::string path = fmt::format("prompt[{}]", i);
      if (entry.is_string()) {
        request.prompts.push_back(encode(entry.get<std::string>()));
      } else if (entry.is_array()) {
        request.prompts.push_back(read_tokens(entry, path, limits));
      } else {
        throw ApiError::bad_field(
            path, fmt::format("expected a string or tokens, found {}", entry.type_name()));
      }
    }
  }
  if (request.prompts.size() * size_t(request.n) > size_t(limits.max_choices)) {
    body.fail("prompt",
              fmt::format("expected at most {} texts a request, found {} prompts, {} each",
                          limits.max_choices, request.prompts.size(), request.n));
  }
  for (const auto& tokens : request.prompts) {
    if (int64_t(tokens.size()) > limits.max_prompt_tokens) {
      body.fail("prompt", fmt::format("expected at most {} tokens, found {}",
                                      limits.max_prompt_tokens, tokens.size()));
    }
  }
  return request;
}

}  // namespace anser::openai
