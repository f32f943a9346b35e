// The tokens of one choice: which of the details that come are the prompt's, and what a client sees
// of either.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "anser/scheduler.h"
#include "anser/tokenizer.h"
#include "server/openai/prompt_shown.h"

namespace anser::openai {

// What every choice shows of tokens.
struct TokensShown {
  int logprobs = -1;  // so many of the most probable come with each; < 0: no logprobs
  bool ids = false;   // return_token_ids
  Tokenizer tokenizer;
};

class ChoiceTokens {
 public:
  // `prompt` may be nullptr. `describes`: the details of the prompt's tokens come to this choice.
  ChoiceTokens(std::shared_ptr<PromptShown> prompt, bool describes, TokensShown shown);

  bool has_logprobs() const { return shown_.logprobs >= 0; }
  const Tokenizer& tokenizer() const { return shown_.tokenizer; }
  // Of the most probable tokens, those that were asked for.
  std::vector<TokenLogprob> top_of(const TokenDetails& token) const;

  // Of an answer that is kept: more of the details that belong to it.
  void keep(const std::vector<TokenDetails>& details);
  // How many have logprobs to be listed, an echo's first, and each.
  size_t listed() const;
  TokenDetails listed(size_t i) const;
  // "token_ids", if they are wanted, with a comma in front.
  void add_ids(JsonPieces& pieces) const;

  // Of a stream: more of the details, by what becomes of them. None is kept.
  struct Some {
    std::vector<TokenDetails> prompt;  // for prompt_logprobs
    std::vector<TokenDetails> echoed;  // for an echo's logprobs
    std::vector<TokenDetails> written;
    bool empty() const { return prompt.empty() && echoed.empty() && written.empty(); }
  };
  Some take(const std::vector<TokenDetails>& details);
  // Adds what a chunk brings besides text and logprobs: "token_ids", "prompt_logprobs", and once
  // "prompt_token_ids".
  void add_fields(Json& chunk, const Some& some);

 private:
  bool echoes_logprobs() const { return prompt_ && prompt_->echoed && has_logprobs(); }

  const std::shared_ptr<PromptShown> prompt_;
  const bool describes_;
  const TokensShown shown_;
  // Of an answer that is kept: of what was written.
  LogprobList details_;
  std::vector<Token> ids_;
  // Of a stream.
  size_t seen_ = 0;  // of the prompt's
  bool gave_prompt_ids_ = false;
};

}  // namespace anser::openai
