// What the files beside Hugging Face weights say of their tokenizer.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "anser/tokenizer.h"
#include "formats/tensor_file.h"

namespace anser {

struct HfTokenizer {
  // unsaid: there is no file of a tokenizer. world: RWKV's. foreign: another one, which cannot be
  // read.
  enum class Kind { unsaid, world, foreign };
  Kind kind = Kind::unsaid;
  std::optional<Tokenizer> tokenizer;  // of `world`, where the files hold its vocabulary
  std::string found;                   // of `foreign`: "tokenizer.json holds a BPE vocabulary"
  std::vector<AddedToken> added;
};

// `world`: RWKV's vocabulary, to compare with, if there is one. Throws Error for files that are no
// JSON, or too large.
HfTokenizer read_hf_tokenizer(const std::string& folder, const std::optional<Tokenizer>& world);

// The ids that end a text by generation_config.json; none where it says nothing.
std::vector<int64_t> generation_eos(const std::string& folder);

}  // namespace anser
