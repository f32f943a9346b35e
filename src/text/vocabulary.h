// Vocabularies in their written forms -> byte strings.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "anser/tokenizer.h"

namespace anser {

// Ids are rows of a matrix; the largest vocabularies known are four times smaller.
constexpr Token kMaxToken = 1 << 20;
// The longest token of the World vocabulary has 128 bytes. The bound keeps encoding linear: a match
// may be looked for this far and found to be short.
constexpr size_t kMaxTokenBytes = 1024;

struct VocabularyEntry {
  Token id;
  int line;  // 1-based; 0 when it does not come from a text
  std::string bytes;
};

struct Vocabulary {
  std::vector<VocabularyEntry> entries;
  std::vector<AddedToken> added;  // by id; not among the entries
};

// The control token 0 is left out of what was added: its text is a name that every converter makes
// up, `<s>` for one, and to end a text is not for those who write it.
inline bool is_name_of_end(const AddedToken& token) {
  return token.control && token.id == 0;
}

// The grammar of Tokenizer::from_vocabulary. Checks every line, and that no id occurs twice.
std::vector<VocabularyEntry> parse_vocabulary(std::string_view text, const std::string& source);

// The tokens of a GGUF file, see Tokenizer::from_escaped.
Vocabulary unescape_vocabulary(std::span<const std::string> tokens, std::span<const int64_t> types,
                               const std::string& source);

// For error messages: printable ASCII, in quotes, not longer than a line can bear.
std::string quoted(std::string_view bytes);

}  // namespace anser
