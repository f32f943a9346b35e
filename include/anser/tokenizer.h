// Text <-> token ids.
//
// A tokenizer is an immutable value that is cheap to copy (copies share one table) and safe to use
// from any number of threads.
//
// RWKV's "World" tokenization is greedy longest match of byte strings: at every position the
// longest entry of the vocabulary that matches is taken. There is no normalisation and no merging,
// and since every single byte is an entry, every byte string can be encoded.
//
// A text begins after the token bos() and ends with one of eos(). In World vocabularies both are
// id 0, which has no bytes. Where id 0 is a character they are what the model's files say; there
// may be none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace anser {

using Token = int32_t;
class TokenTree;  // src/text

// A token that was added to a vocabulary. In a text it is found as a whole, before all others are
// looked for. A control token that is written has no text (`<|im_end|>` is for programs), an added
// token that is no control token has.
struct AddedToken {
  Token id;
  std::string text;
  bool control = false;
  bool operator==(const AddedToken&) const = default;
};

class Tokenizer {
 public:
  // A vocabulary in the grammar of rwkv_vocab_v20230424.txt: per line `<id> <literal> <bytes>`, the
  // literal a Python string ('...' or "...": Unicode, stored as UTF-8) or bytes (b'...') literal.
  // Where there is no line for id 0 it ends a text. Throws Error naming `source` and the line.
  static Tokenizer from_vocabulary(std::string_view text, const std::string& source);
  static Tokenizer from_vocabulary_file(const std::string& path);

  // The tokens of a GGUF file (tokenizer.ggml.tokens): entry i is the escaped byte string of id i.
  // `types` are those of GGUF: normal (1, and 0: not said), user-defined (4) and control (3)
  // tokens, bytes (6: `<0x0A>`); unknown (2) and unused (5) ones have no text. `types` may be
  // empty: then all are normal but id 0, which ends a text unless it is a single byte.
  static Tokenizer from_escaped(std::span<const std::string> tokens, std::span<const int64_t> types,
                                const std::string& source);

  // 256 ids, id = byte. (Here id 0 is the byte 0, and there is no token that ends a text.)
  static Tokenizer bytes();

  // The RWKV World vocabulary if the program was built with it.
  static bool has_builtin_world();
  static Tokenizer builtin_world();

  // Copies. with_added(): has more tokens, which replace what their ids had; where the vocabulary
  // has an added token's text already, that text keeps its id. with_ends(): says which token a text
  // begins after and which ones end it, besides id 0 where that has no bytes.
  Tokenizer with_added(std::span<const AddedToken> added) const;
  Tokenizer with_ends(std::optional<Token> bos, std::span<const Token> eos) const;

  // Linear in text.size().
  std::vector<Token> encode(std::string_view text) const;
  // How many tokens encode() makes of it, without making them. Beyond `most` it stops counting.
  size_t count(std::string_view text, size_t most = size_t(-1)) const;
  // A text from its beginning, as in training: after bos(), where there is one.
  std::vector<Token> encode_document(std::string_view text) const;

  // Where nothing is said, the first of eos(): in training texts follow each other's ends.
  std::optional<Token> bos() const;
  const std::vector<Token>& eos() const;

  // The bytes of one token: empty for control, unused and out-of-range ids. One token need not
  // be valid UTF-8 by itself: stream through Utf8Stream (src/text) or use decode().
  std::string_view bytes_of(Token id) const;
  std::string decode(std::span<const Token> ids) const;

  // What was added, by id; of a vocabulary in a file, what the file says was.
  std::span<const AddedToken> added() const;

  // One more than the largest id that has bytes or was added.
  int size() const;
  bool is_byte_level() const;
  // Where it came from: "built in", a file name, "bytes"; for `anser info`.
  const std::string& source() const;
  // All tokens in the order of their bytes, for grammars; made when first asked for. It lives as
  // long as a copy of the tokenizer.
  const TokenTree& tree() const;

  // The same ids for all texts, and the same texts for all ids; bos() and eos() may differ.
  bool operator==(const Tokenizer& other) const;

 private:
  struct Table;
  struct Ends;
  explicit Tokenizer(std::shared_ptr<const Table> table, std::optional<Token> bos = std::nullopt,
                     std::span<const Token> eos = {});
  std::shared_ptr<const Table> table_;
  std::shared_ptr<const Ends> ends_;
};

}  // namespace anser
