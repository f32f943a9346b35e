// Text <-> token ids.
//
// A tokenizer is an immutable value that is cheap to copy (copies share one table) and safe to use
// from any number of threads.
//
// RWKV's "World" tokenization is greedy longest match of byte strings: at every position the
// longest entry of the vocabulary that matches is taken. There is no normalisation, no merging and
// no begin-of-text token, and since every single byte is an entry, every byte string can be
// encoded. Id 0 is the end of a document and has no bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace anser {

using Token = int32_t;
class TokenTree;                 // src/text
constexpr Token kEndOfText = 0;  // RWKV's end-of-document token, in every World-style vocabulary

class Tokenizer {
 public:
  // A vocabulary in the grammar of rwkv_vocab_v20230424.txt: per line `<id> <literal> <bytes>`, the
  // literal a Python string ('...' or "...": Unicode, stored as UTF-8) or bytes (b'...') literal.
  // Throws Error naming `source` and the line.
  static Tokenizer from_vocabulary(std::string_view text, const std::string& source);
  static Tokenizer from_vocabulary_file(const std::string& path);

  // The tokens of a GGUF file (tokenizer.ggml.tokens): entry i is the escaped byte string of id i.
  // Ids whose type is not NORMAL (types[i] != 1: control and padding entries) have no bytes.
  // `types` may be empty: then all but id 0 are taken as they stand.
  static Tokenizer from_escaped(std::span<const std::string> tokens, std::span<const int64_t> types,
                                const std::string& source);

  // 256 ids, id = byte. (Here id 0 is the byte 0, and there is no end-of-text token.)
  static Tokenizer bytes();

  // The RWKV World vocabulary if the program was built with it.
  static bool has_builtin_world();
  static Tokenizer builtin_world();

  // Linear in text.size().
  std::vector<Token> encode(std::string_view text) const;

  // The bytes of one token: empty for end-of-text, unused and out-of-range ids. One token need not
  // be valid UTF-8 by itself: stream through Utf8Stream (src/text) or use decode().
  std::string_view bytes_of(Token id) const;
  std::string decode(std::span<const Token> ids) const;

  // One more than the largest id that has bytes.
  int size() const;
  bool is_byte_level() const;
  // Where it came from: "built in", a file name, "bytes"; for `anser info`.
  const std::string& source() const;
  // All tokens in the order of their bytes, for grammars; made when first asked for. It lives as
  // long as a copy of the tokenizer.
  const TokenTree& tree() const;

 private:
  struct Table;
  explicit Tokenizer(std::shared_ptr<const Table> table) : table_(std::move(table)) {}
  std::shared_ptr<const Table> table_;
};

}  // namespace anser
