#include "server/openai/prompt_tokens.h"

#include <fmt/format.h>

#include "server/openai/fields.h"

namespace anser::openai {

std::vector<Token> encode_at_most(const Tokenizer& tokenizer, std::string_view text, bool begins,
                                  int64_t most, const std::string& field) {
  const int64_t first = begins && tokenizer.bos() ? 1 : 0;
  if (first + int64_t(tokenizer.count(text, size_t(most - first))) > most) {
    throw ApiError::bad_field(
        field,
        fmt::format("expected at most {} tokens, found more in {} bytes", most, text.size()));
  }
  return begins ? tokenizer.encode_document(text) : tokenizer.encode(text);
}

std::vector<Token> read_tokens(const Json& list, int vocab, int64_t most, const std::string& path) {
  if (int64_t(list.size()) > most) {
    throw ApiError::bad_field(
        path, fmt::format("expected at most {} tokens, found {}", most, list.size()));
  }
  std::vector<Token> tokens;
  tokens.reserve(list.size());
  for (const Json& entry : list) {
    if (!entry.is_number_integer() || entry < 0 || entry >= vocab) {
      throw ApiError::bad_field(
          path, fmt::format("expected tokens from 0 to {}, found {}", vocab - 1, shown(entry)));
    }
    tokens.push_back(entry.get<Token>());
  }
  return tokens;
}

}  // namespace anser::openai
