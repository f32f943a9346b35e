#include "server/openai/request_details.h"

#include <algorithm>
#include <span>

#include "text/utf8_stream.h"

namespace anser::openai {
namespace {

// An echo without logprobs is only text.
bool echoes_logprobs(const CompletionRequest& wanted) {
  return wanted.echo && wanted.top_logprobs >= 0;
}

void add(KeptDetails& kept, uint64_t tokens, int logprobs) {
  if (logprobs < 0) return;
  kept.tokens += tokens;
  kept.bytes += LogprobList::bytes_of(tokens, logprobs);
}

void add_written(KeptDetails& kept, const WriteRequest& wanted) {
  const uint64_t tokens = uint64_t(wanted.n) * uint64_t(wanted.generation.max_tokens);
  add(kept, tokens, wanted.top_logprobs);
  if (!wanted.return_token_ids) return;
  kept.bytes += tokens * sizeof(Token);
  if (wanted.top_logprobs < 0) kept.tokens += tokens;
}

}  // namespace

KeptDetails wanted_details(const CompletionRequest& wanted) {
  KeptDetails kept;
  if (wanted.stream) return kept;
  for (const Prompt& prompt : wanted.prompts) {
    add(kept, prompt.tokens.size(), described_logprobs(wanted));
    add_written(kept, wanted);
  }
  return kept;
}

KeptDetails wanted_details(const WriteRequest& wanted, size_t prompt_tokens) {
  KeptDetails kept;
  if (wanted.stream) return kept;
  add(kept, prompt_tokens, wanted.prompt_logprobs);
  add_written(kept, wanted);
  return kept;
}

int described_logprobs(const CompletionRequest& wanted) {
  const int of_echo = echoes_logprobs(wanted) ? wanted.top_logprobs : -1;
  return std::max(of_echo, wanted.prompt_logprobs);
}

std::shared_ptr<PromptShown> prompt_shown(const CompletionRequest& wanted, const Prompt& prompt,
                                          const std::string& begun, const Tokenizer& tokenizer) {
  std::shared_ptr<PromptShown> shown = prompt_shown(wanted, prompt.tokens);
  shown->hidden = prompt.hidden;
  if (described_logprobs(wanted) >= 0) shown->described = prompt.tokens.size();
  if (!wanted.echo) return shown;
  shown->echoed = true;
  const auto own = std::span(prompt.tokens).subspan(prompt.hidden);
  shown->text = whole_characters(begun + tokenizer.decode(own));
  return shown;
}

std::shared_ptr<PromptShown> prompt_shown(const WriteRequest& wanted,
                                          const std::vector<Token>& prompt) {
  auto shown = std::make_shared<PromptShown>();
  shown->logprobs = wanted.prompt_logprobs;
  if (wanted.prompt_logprobs >= 0) shown->described = prompt.size();
  if (wanted.return_token_ids) shown->token_ids = prompt;
  return shown;
}

}  // namespace anser::openai
