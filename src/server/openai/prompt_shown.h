// What answers show of the prompt that they were made with: its text and the logprobs of its tokens
// (`echo`), its tokens (`return_token_ids`), and what else could have stood there
// (`prompt_logprobs`).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "anser/tokenizer.h"
#include "server/openai/json_pieces.h"
#include "server/openai/logprob_list.h"

namespace anser::openai {

// One for all answers to a prompt.
struct PromptShown {
  bool echoed = false;
  std::string text = {};  // that comes before what is written
  // Of the tokens whose details come first: all of the prompt, or none where nobody asks.
  size_t described = 0;
  // Of these, the first ones that the client did not write: what begins a text, or the form in
  // which a gap is filled. An echo leaves them out.
  size_t hidden = 0;
  int logprobs = -1;                  // prompt_logprobs: so many of the most probable; < 0: none
  std::vector<Token> token_ids = {};  // empty where they are not wanted
  LogprobList details = {};           // as the choice that describes the prompt has been given them
};

// How one of these details is shown by an echo: nothing is known of the first token.
TokenDetails echoed(const PromptShown& prompt, size_t at, TokenDetails details);

// A token of `prompt_logprobs`: null, or {"ID": {"logprob", "rank", "decoded_token"}, ...} of the
// most probable ones and of the prompt's own.
Json prompt_logprob(const TokenDetails& token, int top, const Tokenizer& tokenizer);

// "prompt_logprobs" and "prompt_token_ids", as far as they are wanted, each with a comma in front.
// `prompt` must live as long.
void add_prompt_fields(const std::shared_ptr<PromptShown>& prompt, const Tokenizer& tokenizer,
                       JsonPieces& pieces);

// [1,2,3]
std::string list_text(const std::vector<Token>& tokens);

// A token's bytes as text; those that are no UTF-8 by themselves become U+FFFD when it is dumped.
inline std::string text_of(const Tokenizer& tokenizer, Token token) {
  return std::string(tokenizer.bytes_of(token));
}

}  // namespace anser::openai
