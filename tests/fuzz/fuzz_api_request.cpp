// Bodies of requests: they are read, or an ApiError that is JSON says what is wrong with them; and
// the prompt of a chat that can be read is one.
#include <algorithm>
#include <string>

#include "base/check.h"
#include "cost.h"
#include "server/openai/chat_prompt.h"
#include "server/openai/completion_request.h"
#include "server/openai/response_request.h"
#include "text/chat/builtin_templates.h"

namespace {

using namespace anser;
using namespace anser::openai;

// However much of a request an error repeats.
constexpr size_t kMostErrorBytes = 1024;

const Limits kLimits = [] {
  Limits limits;
  limits.max_tokens = 100;
  limits.max_prompt_tokens = 500;
  limits.max_n = 4;
  limits.vocab = 256;
  limits.fills_gaps = true;
  return limits;
}();

void check(const WriteRequest& request) {
  ANSER_CHECK(request.n >= 1 && request.n <= kLimits.max_n);
  ANSER_CHECK(request.generation.max_tokens >= 0 &&
              request.generation.max_tokens <= kLimits.max_tokens);
  const Sampler sampler(request.generation.sampling);  // throws for bad options
  for (const auto& entry : request.generation.sampling.biases) {
    ANSER_CHECK(entry.id >= 0 && entry.id < kLimits.vocab);
  }
}

void complete(const Json& body) {
  const CompletionRequest request =
      read_completion_request(Fields(body), kLimits, Tokenizer::bytes());
  check(request);
  for (const auto& [prompt, hidden] : request.prompts) {
    ANSER_CHECK(hidden <= prompt.size());
    ANSER_CHECK(int(prompt.size()) <= kLimits.max_prompt_tokens);
    ANSER_CHECK(std::ranges::all_of(prompt, [](Token t) { return t >= 0 && t < kLimits.vocab; }));
  }
}

void converse(const ChatRequest& request) {
  check(request);
  ANSER_CHECK(!request.messages.empty());
  ANSER_CHECK(!request.tools.empty() || !request.tool_choice.obliges());
  for (const char* form : {"", "think", "flower", "markdown"}) {
    const bool story = form[0] == '\0';
    const ChatTemplate& usual = builtin_template(story ? "chat" : form);
    const ChatPrompt prompt = render_chat(request, form_for(usual, request), story);
    ANSER_CHECK(std::ranges::is_sorted(prompt.message_ends));
    ANSER_CHECK(prompt.message_ends.empty() || prompt.message_ends.back() <= prompt.text.size());
    ANSER_CHECK(prompt.text.ends_with(prompt.opening));
    ANSER_CHECK(prompt.text.ends_with(prompt.prefill.text));
  }
}

void chat(const Json& body) {
  converse(read_chat_request(Fields(body), kLimits));
}

void respond(const Json& body) {
  converse(read_response_request(Fields(body), kLimits));
}

void read_all(std::string_view text) {
  for (void (*read)(const Json&) : {complete, chat, respond}) {
    try {
      read(parse_body(text));
    } catch (const ApiError& error) {
      ANSER_CHECK(error.status() == 400);
      ANSER_CHECK(Json::parse(error.body())["error"]["message"].is_string());
      ANSER_CHECK(error.body().size() <= kMostErrorBytes);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  fuzz::bound_cost("three requests", 3 * size, [&] { read_all(text); });
  if (fuzz::grows(data, size)) {
    for (const std::string& body : fuzz::grown_json(text)) {
      fuzz::bound_cost(body.substr(0, 30).c_str(), 3 * body.size(), [&] { read_all(body); });
    }
  }
  return 0;
}
