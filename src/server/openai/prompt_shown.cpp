#include "server/openai/prompt_shown.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace anser::openai {

TokenDetails echoed(const PromptShown& prompt, size_t at, TokenDetails details) {
  if (at != prompt.hidden || prompt.hidden == 0) return details;
  return {{details.drawn.token, std::numeric_limits<float>::quiet_NaN()}, {}};
}

Json prompt_logprob(const TokenDetails& token, int top, const Tokenizer& tokenizer) {
  if (std::isnan(token.drawn.logprob)) return {};
  Json entry = Json::object();
  const auto add = [&](const TokenLogprob& one, int rank) {
    entry[fmt::format("{}", one.token)] = {
        {"logprob", one.logprob}, {"rank", rank}, {"decoded_token", text_of(tokenizer, one.token)}};
  };
  add(token.drawn, token.rank);
  const size_t shown = std::min(token.top.size(), size_t(std::max(top, 0)));
  for (size_t i = 0; i < shown; ++i) {
    if (token.top[i].token != token.drawn.token) add(token.top[i], int(i) + 1);
  }
  return entry;
}

std::string list_text(const std::vector<Token>& tokens) {
  return fmt::format("[{}]", fmt::join(tokens, ","));
}

void add_prompt_fields(const std::shared_ptr<PromptShown>& prompt, const Tokenizer& tokenizer,
                       JsonPieces& pieces) {
  if (prompt == nullptr) return;
  if (prompt->logprobs >= 0) {
    pieces.add(",\"prompt_logprobs\":");
    pieces.add_list(prompt->details.size(), [prompt, tokenizer](size_t i, std::string& to) {
      to += dumped(prompt_logprob(prompt->details[i], prompt->logprobs, tokenizer));
    });
  }
  if (prompt->token_ids.empty()) return;
  pieces.add(",\"prompt_token_ids\":");
  pieces.add_list(prompt->token_ids.size(), [prompt](size_t i, std::string& to) {
    to += fmt::format("{}", prompt->token_ids[i]);
  });
}

}  // namespace anser::openai
