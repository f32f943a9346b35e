#include "server/openai/choice_tokens.h"

#include <algorithm>
#include <utility>

namespace anser::openai {

ChoiceTokens::ChoiceTokens(std::shared_ptr<PromptShown> prompt, bool describes, TokensShown shown)
    : prompt_(std::move(prompt)), describes_(describes), shown_(std::move(shown)) {}

std::vector<TokenLogprob> ChoiceTokens::top_of(const TokenDetails& token) const {
  const size_t count = std::min(token.top.size(), size_t(std::max(shown_.logprobs, 0)));
  return {token.top.begin(), token.top.begin() + ptrdiff_t(count)};
}

void ChoiceTokens::keep(const std::vector<TokenDetails>& details) {
  for (const TokenDetails& token : details) {
    if (describes_ && prompt_ && prompt_->details.size() < prompt_->described) {
      prompt_->details.add(token);
      continue;
    }
    if (has_logprobs()) details_.add(token);
    if (shown_.ids) ids_.push_back(token.drawn.token);
  }
}

size_t ChoiceTokens::listed() const {
  const size_t before = echoes_logprobs() ? prompt_->details.size() : 0;
  return before - std::min(before, echoes_logprobs() ? prompt_->hidden : 0) + details_.size();
}

TokenDetails ChoiceTokens::listed(size_t i) const {
  const size_t before = listed() - details_.size();
  if (i >= before) return details_[i - before];
  const size_t at = prompt_->hidden + i;
  return echoed(*prompt_, at, prompt_->details[at]);
}

void ChoiceTokens::add_ids(JsonPieces& pieces) const {
  if (shown_.ids) pieces.add(",\"token_ids\":" + list_text(ids_));
}

ChoiceTokens::Some ChoiceTokens::take(const std::vector<TokenDetails>& details) {
  Some some;
  for (const TokenDetails& token : details) {
    if (!describes_ || !prompt_ || seen_ >= prompt_->described) {
      some.written.push_back(token);
      continue;
    }
    const size_t at = seen_++;
    if (prompt_->logprobs >= 0) some.prompt.push_back(token);
    if (echoes_logprobs() && at >= prompt_->hidden) {
      some.echoed.push_back(echoed(*prompt_, at, token));
    }
  }
  return some;
}

void ChoiceTokens::add_fields(Json& chunk, const Some& some) {
  if (shown_.ids) {
    Json ids = Json::array();
    for (const TokenDetails& token : some.written) ids.push_back(token.drawn.token);
    chunk["token_ids"] = std::move(ids);
  }
  if (prompt_ && !prompt_->token_ids.empty() && !std::exchange(gave_prompt_ids_, true)) {
    chunk["prompt_token_ids"] = prompt_->token_ids;
  }
  if (some.prompt.empty()) return;
  Json& list = chunk["prompt_logprobs"] = Json::array();
  for (const TokenDetails& token : some.prompt) {
    list.push_back(prompt_logprob(token, prompt_->logprobs, shown_.tokenizer));
  }
}

}  // namespace anser::openai
