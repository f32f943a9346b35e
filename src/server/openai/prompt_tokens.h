// Texts of clients as tokens, which are counted before a list is made of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "anser/tokenizer.h"
#include "server/openai/api_error.h"

namespace anser::openai {

// `begins`: the text is one from its beginning, see Tokenizer::encode_document(). Throws ApiError
// that names `field` for more than `most` tokens.
std::vector<Token> encode_at_most(const Tokenizer& tokenizer, std::string_view text, bool begins,
                                  int64_t most, const std::string& field);

// A list of tokens, each below `vocab`. Throws ApiError that names `path`.
std::vector<Token> read_tokens(const Json& list, int vocab, int64_t most, const std::string& path);

}  // namespace anser::openai
