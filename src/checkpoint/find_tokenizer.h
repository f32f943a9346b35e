// The tokenizer of a model: what its files say it is, and never another one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "anser/tokenizer.h"
#include "formats/tensor_file.h"

namespace anser {

struct FoundTokenizer {
  std::optional<Tokenizer> tokenizer;
  std::string missing;             // why there is none: a sentence that says what to do
  std::vector<std::string> notes;  // sentences for people about what was found
};

// `rows`: tokens that the model knows. `vocabulary_file`: what the user named, or empty. See
// Model::tokenizer for the order. Throws Error for a vocabulary that is damaged, or that was named
// and does not fit.
FoundTokenizer find_tokenizer(const TensorFile& file, int rows, const std::string& vocabulary_file);

// The keys under which a file says in what tokens a text begins and ends: GGUF's, which can name
// one end, and ours for all of them.
inline constexpr const char* kModelKey = "tokenizer.ggml.model";
inline constexpr const char* kTokensKey = "tokenizer.ggml.tokens";
inline constexpr const char* kTypesKey = "tokenizer.ggml.token_type";
inline constexpr const char* kBosKey = "tokenizer.ggml.bos_token_id";
inline constexpr const char* kEosKey = "tokenizer.ggml.eos_token_id";
inline constexpr const char* kAllEosKey = "anser.eos_token_ids";
// What kModelKey is where a file holds no vocabulary, and the one of the tokenizers that are ours.
inline constexpr const char* kNoVocabulary = "no_vocab";
inline constexpr const char* kWorldKind = "rwkv";

}  // namespace anser
