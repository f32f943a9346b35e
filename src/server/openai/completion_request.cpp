#include "server/openai/completion_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "server/openai/prompt_tokens.h"
#include "server/openai/refused_fields.h"
#include "text/fill_in_the_middle.h"

namespace anser::openai {
namespace {

constexpr size_t kMostPrompts = 256;
constexpr int kMostLogprobs = 20;

// What stands before each prompt of a request, and after it.
struct Surroundings {
  bool begins = true;              // strings are texts from their beginning
  std::optional<std::string> gap;  // that comes before the prompt, where a gap is filled
};

Surroundings read_surroundings(const Fields& body, const Limits& limits,
                               CompletionRequest& request) {
  Surroundings around{request.state.empty(), std::nullopt};
  const std::string suffix = body.text("suffix").value_or("");
  if (suffix.empty()) return around;
  if (!limits.fills_gaps) {
    body.fail("suffix",
              "this model is not known to fill gaps: those called g1c and later do; leave it out, "
              "or send the prompt in a form of the model's own");
  }
  around.gap = fill_in_the_middle("", suffix);
  if (!request.generation.ignore_eos) request.generation.stop.push_back(kFillStop);
  return around;
}

// The form of a gap is a text of its own: what it ends with is part of no longer token.
Prompt read_prompt(const Json& entry, const Surroundings& around, const Limits& limits,
                   const Tokenizer& tokenizer, const std::string& path) {
  const int64_t most = limits.max_prompt_tokens;
  std::vector<Token> form;
  if (around.gap) form = encode_at_most(tokenizer, *around.gap, false, most, "suffix");
  const int64_t left = most - int64_t(form.size());
  const bool begins = around.begins && !around.gap;
  Prompt prompt;
  if (entry.is_array()) {
    prompt.tokens = read_tokens(entry, limits.vocab, left, path);
  } else {
    const auto& text = entry.get_ref<const std::string&>();
    prompt.tokens = encode_at_most(tokenizer, text, begins, left, path);
    prompt.hidden = begins && tokenizer.bos() ? 1 : 0;
  }
  if (around.gap) {
    prompt.tokens.insert(prompt.tokens.begin(), form.begin(), form.end());
    prompt.hidden = form.size();
  }
  return prompt;
}

}  // namespace

CompletionRequest read_completion_request(const Fields& body, const Limits& limits,
                                          const Tokenizer& tokenizer) {
  refuse_completion_fields(body);
  CompletionRequest request{read_write_request(body, limits), {}, false};
  request.echo = body.boolean("echo").value_or(false);
  request.top_logprobs = int(body.integer("logprobs", 0, kMostLogprobs).value_or(-1));
  const Surroundings around = read_surroundings(body, limits, request);
  const auto read = [&](const Json& entry, const std::string& path) {
    return read_prompt(entry, around, limits, tokenizer, path);
  };
  const Json* prompt = body.any("prompt");
  if (prompt == nullptr) {
    request.prompts.push_back(around.gap ? read(Json(""), "prompt") : Prompt());
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
