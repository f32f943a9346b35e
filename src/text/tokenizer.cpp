#include "anser/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <unordered_set>

#include "anser/error.h"
#include "base/blob.h"
#include "base/mapped_file.h"
#include "text/byte_trie.h"
#include "text/plain_text.h"
#include "text/token_tree.h"
#include "text/vocabulary.h"

namespace anser {

namespace {

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

enum class Duplicates { refused, lower_id_encodes };

// By bytes, then by id: the order in which the trie takes them and keeps the lower id.
std::vector<ByteTrie::Entry> sort_entries(const std::vector<VocabularyEntry>& entries) {
  std::vector<ByteTrie::Entry> sorted;
  sorted.reserve(entries.size());
  for (const VocabularyEntry& entry : entries) sorted.push_back({entry.bytes, entry.id});
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return std::tie(a.bytes, a.value) < std::tie(b.bytes, b.value);
  });
  return sorted;
}

void check_duplicates(const std::vector<VocabularyEntry>& entries,
                      const std::vector<ByteTrie::Entry>& sorted, const std::string& source) {
  const auto same = std::adjacent_find(sorted.begin(), sorted.end(),
                                       [](auto& a, auto& b) { return a.bytes == b.bytes; });
  if (same == sorted.end()) return;
  int lines[2] = {0, 0};
  for (const VocabularyEntry& entry : entries) {
    if (entry.id == same[0].value) lines[0] = entry.line;
    if (entry.id == same[1].value) lines[1] = entry.line;
  }
  throw Error(fmt::format("{}, line {}: the token {} is already that of line {}", source,
                          std::max(lines[0], lines[1]), quoted(same->bytes),
                          std::min(lines[0], lines[1])));
}

// Every byte string can be encoded if and only if every single byte is a token.
void check_single_bytes(const ByteTrie& trie, const std::string& source) {
  for (int byte = 0; byte < 256; ++byte) {
    const char text = char(byte);
    if (trie.longest({&text, 1}).value < 0) {
      throw Error(
          fmt::format("{}: the vocabulary has no token for the single byte 0x{:02x}. All 256 bytes "
                      "must be tokens, else some texts could not be encoded; is the file complete?",
                      source, byte));
    }
  }
}

}  // namespace

struct Tokenizer::Table {
  Table(const Vocabulary& vocabulary, Duplicates duplicates, const std::string& from)
      : Table(vocabulary, all_with_bytes(vocabulary), duplicates, from) {}

  Table(const Vocabulary& vocabulary, const std::vector<VocabularyEntry>& entries,
        Duplicates duplicates, const std::string& from)
      : Table(vocabulary, entries, sort_entries(entries), duplicates, from) {}

  Table(const Vocabulary& vocabulary, const std::vector<VocabularyEntry>& entries,
        const std::vector<ByteTrie::Entry>& sorted, Duplicates duplicates, const std::string& from)
      : source(from), trie(sorted), added(vocabulary.added) {
    if (duplicates == Duplicates::refused) check_duplicates(entries, sorted, from);
    check_single_bytes(trie, from);

    Token last = added.empty() ? 0 : added.back().id;
    for (const VocabularyEntry& entry : entries) last = std::max(last, entry.id);
    std::vector<std::string_view> by_id(size_t(last) + 1);
    for (const VocabularyEntry& entry : entries) by_id[size_t(entry.id)] = entry.bytes;
    offsets.reserve(by_id.size() + 1);
    for (const std::string_view bytes : by_id) {
      offsets.push_back(pool.size());
      pool += bytes;
    }
    offsets.push_back(pool.size());
    find_whole(vocabulary.entries);
  }

  static std::vector<VocabularyEntry> all_with_bytes(const Vocabulary& vocabulary) {
    std::vector<VocabularyEntry> entries = vocabulary.entries;
    for (const AddedToken& token : vocabulary.added) {
      if (!token.control) entries.push_back({token.id, 0, token.text});
    }
    return entries;
  }

  void find_whole(const std::vector<VocabularyEntry>& plain) {
    if (added.empty()) return;
    std::unordered_set<std::string_view> known;
    for (const VocabularyEntry& entry : plain) known.insert(entry.bytes);
    std::vector<VocabularyEntry> found;
    for (const AddedToken& token : added) {
      if (!known.contains(token.text)) found.push_back({token.id, 0, token.text});
    }
    if (!found.empty()) whole.emplace(sort_entries(found));
  }

  int size() const { return int(offsets.size()) - 1; }

  std::string_view bytes_of(Token id) const {
    if (id < 0 || id >= size()) return {};
    const uint64_t begin = offsets[size_t(id)];
    return std::string_view(pool).substr(begin, offsets[size_t(id) + 1] - begin);
  }

  // By longest matches alone: visit(token), until it returns false.
  template <class Visit>
  bool split_plain(std::string_view text, Visit&& visit) const {
    while (!text.empty()) {
      const ByteTrie::Match match = trie.longest(text);
      if (!visit(match.value)) return false;
      text.remove_prefix(match.length);
    }
    return true;
  }

  // The same, where what is found as a whole comes first.
  template <class Visit>
  void split(std::string_view text, Visit&& visit) const {
    size_t begin = 0;
    for (size_t at = 0; whole && at < text.size();) {
      const ByteTrie::Match match = whole->longest(text.substr(at));
      if (match.value < 0) {
        ++at;
        continue;
      }
      if (!split_plain(text.substr(begin, at - begin), visit) || !visit(match.value)) return;
      begin = at += match.length;
    }
    split_plain(text.substr(begin), visit);
  }

  std::string source;
  std::string pool;               // the bytes of all tokens, one after the other
  std::vector<uint64_t> offsets;  // [size() + 1]: token i is pool[offsets[i], offsets[i + 1])
  ByteTrie trie;
  std::vector<AddedToken> added;  // by id
  std::optional<ByteTrie> whole;  // those of them that are found in a text
  mutable std::once_flag tree_once;
  mutable std::unique_ptr<const TokenTree> tree;
};

struct Tokenizer::Ends {
  std::optional<Token> bos;
  std::vector<Token> eos;
};

Tokenizer::Tokenizer(std::shared_ptr<const Table> table, std::optional<Token> bos,
                     std::span<const Token> eos)
    : table_(std::move(table)) {
  Ends ends{bos, {}};
  if (table_->bytes_of(0).empty()) ends.eos.push_back(0);
  for (const Token id : eos) {
    if (std::ranges::find(ends.eos, id) == ends.eos.end()) ends.eos.push_back(id);
  }
  if (!ends.bos && !ends.eos.empty()) ends.bos = ends.eos.front();
  ends_ = std::make_shared<const Ends>(std::move(ends));
}

Tokenizer Tokenizer::from_vocabulary(std::string_view text, const std::string& source) {
  const Vocabulary vocabulary{parse_vocabulary(plain_text(text, source), source), {}};
  return Tokenizer(std::make_shared<const Table>(vocabulary, Duplicates::refused, source));
}

Tokenizer Tokenizer::from_vocabulary_file(const std::string& path) {
  const auto file = MappedFile::open(path);
  return from_vocabulary(as_text(file->bytes()), path);
}

Tokenizer Tokenizer::from_escaped(std::span<const std::string> tokens,
                                  std::span<const int64_t> types, const std::string& source) {
  return Tokenizer(std::make_shared<const Table>(unescape_vocabulary(tokens, types, source),
                                                 Duplicates::lower_id_encodes, source));
}

Tokenizer Tokenizer::with_added(std::span<const AddedToken> added) const {
  std::map<Token, AddedToken> by_id;
  for (const AddedToken& token : table_->added) by_id[token.id] = token;
  for (const AddedToken& token : added) {
    if (token.id < 0 || token.id > kMaxToken) {
      throw Error(fmt::format("{}: the added token {} has the id {}, expected 0 to {}", source(),
                              quoted(token.text), token.id, kMaxToken));
    }
    if (token.text.empty() || token.text.size() > kMaxTokenBytes) {
      throw Error(fmt::format("{}: the added token {} has {} bytes, expected 1 to {}", source(),
                              token.id, token.text.size(), kMaxTokenBytes));
    }
    if (!is_name_of_end(token)) by_id[token.id] = token;
  }
  Vocabulary vocabulary;
  for (Token id = 0; id < size(); ++id) {
    if (by_id.contains(id) || bytes_of(id).empty()) continue;
    vocabulary.entries.push_back({id, 0, std::string(bytes_of(id))});
  }
  for (auto& [id, token] : by_id) vocabulary.added.push_back(std::move(token));
  Ends said = *ends_;
  if (bytes_of(0).empty()) {
    // That id 0 ends a text was not said, and it may have got a text of its own.
    std::erase(said.eos, 0);
    if (said.bos == 0) said.bos.reset();
  }
  return Tokenizer(
      std::make_shared<const Table>(vocabulary, Duplicates::lower_id_encodes, source()), said.bos,
      said.eos);
}

Tokenizer Tokenizer::with_ends(std::optional<Token> bos, std::span<const Token> eos) const {
  return Tokenizer(table_, bos, eos);
}

Tokenizer Tokenizer::bytes() {
  std::vector<VocabularyEntry> entries;
  for (int byte = 0; byte < 256; ++byte) entries.push_back({byte, 0, std::string(1, char(byte))});
  return Tokenizer(std::make_shared<const Table>(Vocabulary{std::move(entries), {}},
                                                 Duplicates::refused, "bytes"));
}

bool Tokenizer::has_builtin_world() {
  return !blob_world_vocabulary().empty();
}

Tokenizer Tokenizer::builtin_world() {
  if (!has_builtin_world()) {
    throw Error(
        "the World vocabulary is not built into this program (there was no network when it was "
        "built); give the file rwkv_vocab_v20230424.txt, or put it beside the model");
  }
  return from_vocabulary(as_text(blob_world_vocabulary()), "built in");
}

std::vector<Token> Tokenizer::encode(std::string_view text) const {
  std::vector<Token> ids;
  // English in the World vocabulary has 4 to 5 bytes a token: one growth at the most for most
  // texts.
  ids.reserve(text.size() / 4 + 1);
  table_->split(text, [&](Token id) {
    ids.push_back(id);
    return true;
  });
  return ids;
}

size_t Tokenizer::count(std::string_view text, size_t most) const {
  size_t count = 0;
  table_->split(text, [&](Token) { return ++count <= most; });
  return count;
}

std::vector<Token> Tokenizer::encode_document(std::string_view text) const {
  std::vector<Token> ids = encode(text);
  if (ends_->bos) ids.insert(ids.begin(), *ends_->bos);
  return ids;
}

std::optional<Token> Tokenizer::bos() const {
  return ends_->bos;
}
const std::vector<Token>& Tokenizer::eos() const {
  return ends_->eos;
}
std::span<const AddedToken> Tokenizer::added() const {
  return table_->added;
}

std::string_view Tokenizer::bytes_of(Token id) const {
  return table_->bytes_of(id);
}

std::string Tokenizer::decode(std::span<const Token> ids) const {
  std::string text;
  for (const Token id : ids) text += bytes_of(id);
  return text;
}

int Tokenizer::size() const {
  return table_->size();
}

bool Tokenizer::is_byte_level() const {
  if (size() != 256) return false;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string_view bytes = bytes_of(byte);
    if (bytes.size() != 1 || uint8_t(bytes[0]) != byte) return false;
  }
  return true;
}

bool Tokenizer::operator==(const Tokenizer& other) const {
  return table_ == other.table_ ||
         (table_->pool == other.table_->pool && table_->offsets == other.table_->offsets &&
          table_->added == other.table_->added);
}

const std::string& Tokenizer::source() const {
  return table_->source;
}

const TokenTree& Tokenizer::tree() const {
  std::call_once(table_->tree_once, [this] {
    std::vector<ByteTrie::Entry> entries;
    for (Token id = 0; id < size(); ++id) {
      if (!bytes_of(id).empty()) entries.push_back({bytes_of(id), id});
    }
    std::ranges::sort(entries, [](const auto& a, const auto& b) {
      return std::tie(a.bytes, a.value) < std::tie(b.bytes, b.value);
    });
    table_->tree = std::make_unique<const TokenTree>(entries);
  });
  return *table_->tree;
}

}  // namespace anser
