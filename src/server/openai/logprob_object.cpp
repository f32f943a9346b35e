#include "server/openai/logprob_object.h"

#include <cstdint>
#include <string>
#include <utility>

namespace anser::openai {
namespace {

// Bytes that are no UTF-8 by themselves become U+FFFD when the token is dumped.
Json entry_of(const TokenLogprob& token, const Tokenizer& tokenizer) {
  const std::string text(tokenizer.bytes_of(token.token));
  Json bytes = Json::array();
  for (const char c : text) bytes.push_back(int(uint8_t(c)));
  return {{"token", text}, {"logprob", token.logprob}, {"bytes", std::move(bytes)}};
}

}  // namespace

Json logprob_object(const TokenDetails& token, const Tokenizer& tokenizer) {
  Json entry = entry_of(token.drawn, tokenizer);
  entry["top_logprobs"] = Json::array();
  for (const TokenLogprob& other : token.top) {
    entry["top_logprobs"].push_back(entry_of(other, tokenizer));
  }
  return entry;
}

}  // namespace anser::openai
