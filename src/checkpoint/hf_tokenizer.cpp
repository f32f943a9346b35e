#include "checkpoint/hf_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>

#include "base/mapped_file.h"
#include "formats/checks.h"
#include "formats/json.h"
#include "text/utf8.h"

namespace anser {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// The largest there are have some 30 MB.
constexpr size_t kMaxFile = 100'000'000;
constexpr const char* kFast = "tokenizer.json";
constexpr const char* kSettings = "tokenizer_config.json";

std::string in_folder(const std::string& folder, const char* name) {
  return (fs::path(folder.empty() ? "." : folder) / name).string();
}

bool is_there(const std::string& folder, const char* name) {
  std::error_code ignored;
  return fs::is_regular_file(in_folder(folder, name), ignored);
}

// Null when the file is not there.
Json read_object(const std::string& folder, const char* name) {
  if (!is_there(folder, name)) return nullptr;
  const std::string path = in_folder(folder, name);
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  if (bytes.size() > kMaxFile) {
    fail(path, "{} bytes of JSON; at most {} are accepted", bytes.size(), kMaxFile);
  }
  Json json = parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
  if (!json.is_object()) fail(path, "expected a JSON object");
  return json;
}

// Null where there is nothing of this name, or no object around it.
const Json& at(const Json& json, const char* key) {
  static const Json kNull;
  if (!json.is_object()) return kNull;
  const auto found = json.find(key);
  return found == json.end() ? kNull : *found;
}

std::string text_of(const Json& json) {
  return json.is_string() ? json.get<std::string>() : std::string();
}

// Beyond 32 bits no id is one of a token: the nearest will do as well.
std::optional<int64_t> id_of(const Json& json) {
  if (!json.is_number_integer()) return std::nullopt;
  if (json.is_number_unsigned())
    return int64_t(std::min<uint64_t>(json.get<uint64_t>(), INT32_MAX));
  return std::max<int64_t>(json.get<int64_t>(), INT32_MIN);
}

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  return text;
}

// ---- which tokenizer ----

// The class, or the code that comes with the folder, is one of RWKV's.
bool says_rwkv(const Json& settings) {
  const auto is_rwkv = [](const Json& name) {
    return lower(text_of(name)).find("rwkv") != std::string::npos;
  };
  if (is_rwkv(at(settings, "tokenizer_class"))) return true;
  const Json& code = at(at(settings, "auto_map"), "AutoTokenizer");
  return is_rwkv(code) || (code.is_array() && std::ranges::any_of(code, is_rwkv));
}

// ---- vocabularies in tokenizer.json ----

// Byte-level vocabularies write every byte as a character that can be seen: printable ones of
// Latin-1 as themselves, the others as characters from U+0100 on, in their order. [character]: its
// byte, or -1.
std::array<int, 0x144> bytes_of_characters() {
  std::array<int, 0x144> bytes;
  bytes.fill(-1);
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool seen = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) ||
                      (byte >= 0xae && byte <= 0xff);
    bytes[size_t(seen ? byte : next++)] = byte;
  }
  return bytes;
}

std::optional<std::string> byte_level(std::string_view text) {
  static const std::array<int, 0x144> kBytes = bytes_of_characters();
  std::string bytes;
  for (const uint32_t character : code_points(text)) {
    const int byte = character < kBytes.size() ? kBytes[character] : -1;
    if (byte < 0) return std::nullopt;
    bytes += char(byte);
  }
  return bytes;
}

// The tokens of a tokenizer.json as they are written, by id: an object of ids by text, or a list in
// the order of the ids.
std::map<int64_t, std::string> written_tokens(const Json& vocabulary) {
  std::map<int64_t, std::string> tokens;
  if (vocabulary.is_object()) {
    for (const auto& [text, id] : vocabulary.items()) {
      if (const auto number = id_of(id)) tokens.emplace(*number, text);
    }
  } else if (vocabulary.is_array()) {
    for (const Json& entry : vocabulary) {
      const Json& text = entry.is_array() && !entry.empty() ? entry[0] : entry;
      tokens.emplace(int64_t(tokens.size()), text_of(text));
    }
  }
  return tokens;
}

// Whether these are the tokens of `world`, each under its id. Vocabularies of texts cannot hold the
// tokens that are no UTF-8 by themselves; those are let pass.
bool is_world(const std::map<int64_t, std::string>& tokens, const Tokenizer& world) {
  bool as_text = true, as_bytes = true;
  for (Token id = 0; id < world.size() && (as_text || as_bytes); ++id) {
    const std::string_view bytes = world.bytes_of(id);
    if (bytes.empty()) continue;
    const auto found = tokens.find(id);
    if (found == tokens.end()) {
      as_text = as_text && !is_valid_utf8(bytes);
      as_bytes = false;
      continue;
    }
    as_text = as_text && (found->second == bytes || !is_valid_utf8(bytes));
    as_bytes = as_bytes && byte_level(found->second) == bytes;
  }
  return as_text || as_bytes;
}

// The same of words of plain letters only, which every way of writing tokens leaves as they are,
// and of most of them.
bool has_words_of_world(const std::map<int64_t, std::string>& tokens, const Tokenizer& world) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  int words = 0, same = 0;
  for (Token id = 0; id < world.size(); ++id) {
    const std::string_view bytes = world.bytes_of(id);
    if (bytes.empty() || !std::ranges::all_of(bytes, is_letter)) continue;
    const auto found = tokens.find(id);
    words += 1;
    same += found != tokens.end() && found->second == bytes;
  }
  return same > words / 2;
}

// A trie of RWKV's (transformers-rwkv) says by its name that it takes the longest match.
constexpr const char* kTrie = "RwkvTrie";

// In the form of GGUF's, whose escapes a backslash begins.
std::string escaped(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) text += c == '\\' ? std::string("\\\\") : std::string(1, c);
  return text;
}

Tokenizer read_trie(const std::map<int64_t, std::string>& tokens, const std::string& path) {
  constexpr int64_t kNormal = 1, kUnused = 5;
  const int64_t last = tokens.empty() ? 0 : tokens.rbegin()->first;
  if (last > (1 << 20) || (!tokens.empty() && tokens.begin()->first < 0)) {
    fail(path, "a token has the id {}, expected 0 to {}",
         last > (1 << 20) ? last : tokens.begin()->first, 1 << 20);
  }
  std::vector<std::string> texts(size_t(last) + 1);
  std::vector<int64_t> types(texts.size(), kUnused);
  for (const auto& [id, text] : tokens) {
    const std::optional<std::string> bytes = byte_level(text);
    if (!bytes) {
      fail(path, "the token {}, {}, is not written in bytes as a {} vocabulary is", id,
           printable(text), kTrie);
    }
    texts[size_t(id)] = escaped(*bytes);
    types[size_t(id)] = kNormal;
  }
  return Tokenizer::from_escaped(texts, types, path);
}

// ---- added tokens ----

// Every text that is said to be special, whatever for.
std::set<std::string> special_texts(const Json& settings, const Json& map) {
  std::set<std::string> texts;
  const auto add = [&](const Json& value) {
    texts.insert(text_of(value));
    texts.insert(text_of(at(value, "content")));
  };
  for (const Json* json : {&settings, &map}) {
    if (!json->is_object()) continue;
    for (const auto& [key, value] : json->items()) {
      if (key.ends_with("_token")) add(value);
      if (key != "additional_special_tokens" || !value.is_array()) continue;
      for (const Json& one : value) add(one);
    }
  }
  return texts;
}

// From the oldest form to the newest, which wins.
std::vector<AddedToken> read_added(const std::string& folder, const Json& settings,
                                   const Json& fast) {
  std::map<int64_t, AddedToken> by_id;
  const auto add = [&](std::optional<int64_t> id, const Json& text, bool control) {
    if (!id || text_of(text).empty()) return;
    by_id.insert_or_assign(*id, AddedToken{Token(*id), text_of(text), control});
  };
  const Json oldest = read_object(folder, "added_tokens.json");
  if (oldest.is_object()) {
    const auto special = special_texts(settings, read_object(folder, "special_tokens_map.json"));
    for (const auto& [text, id] : oldest.items()) add(id_of(id), text, special.contains(text));
  }
  const auto is_special = [](const Json& entry) { return at(entry, "special") == Json(true); };
  if (const Json& list = at(settings, "added_tokens_decoder"); list.is_object()) {
    for (const auto& [key, entry] : list.items()) {
      int32_t id = 0;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
      if (error != std::errc() || end != key.data() + key.size()) continue;
      add(id, at(entry, "content"), is_special(entry));
    }
  }
  if (const Json& list = at(fast, "added_tokens"); list.is_array()) {
    for (const Json& entry : list) {
      add(id_of(at(entry, "id")), at(entry, "content"), is_special(entry));
    }
  }
  std::vector<AddedToken> added;
  for (auto& [id, token] : by_id) added.push_back(std::move(token));
  return added;
}

}  // namespace

HfTokenizer read_hf_tokenizer(const std::string& folder, const std::optional<Tokenizer>& world) {
  using Kind = HfTokenizer::Kind;
  const Json settings = read_object(folder, kSettings), fast = read_object(folder, kFast);
  HfTokenizer tokenizer;
  const Json& model = at(fast, "model");
  const std::string type = text_of(at(model, "type")),
                    name = text_of(at(settings, "tokenizer_class"));
  if (!fast.is_null() && type == kTrie) {
    tokenizer.kind = Kind::world;
    tokenizer.tokenizer = read_trie(written_tokens(at(model, "vocab")), in_folder(folder, kFast));
  } else if (!fast.is_null()) {
    const auto tokens = written_tokens(at(model, "vocab"));
    // With a class of RWKV's its words will do, in whatever way the others are written.
    const bool ours = says_rwkv(settings)
                          ? tokens.empty() || !world || has_words_of_world(tokens, *world)
                          : world && is_world(tokens, *world);
    tokenizer.kind = ours ? Kind::world : Kind::foreign;
    tokenizer.found = fmt::format("{} holds a {} vocabulary of {} tokens", kFast,
                                  type.empty() ? "nameless" : printable(type), tokens.size());
  } else if (says_rwkv(settings)) {
    tokenizer.kind = Kind::world;
  } else if (!name.empty()) {
    tokenizer.kind = Kind::foreign;
    tokenizer.found = fmt::format("{} names a {}", kSettings, printable(name));
  } else if (is_there(folder, "hf_rwkv_tokenizer.py")) {
    tokenizer.kind = Kind::world;
  } else {
    for (const char* other : {"vocab.json", "merges.txt", "tokenizer.model", "spiece.model"}) {
      if (!is_there(folder, other)) continue;
      tokenizer.kind = Kind::foreign;
      tokenizer.found = fmt::format("there is a {}", other);
      break;
    }
  }
  if (tokenizer.kind == Kind::world) tokenizer.added = read_added(folder, settings, fast);
  return tokenizer;
}

std::vector<int64_t> generation_eos(const std::string& folder) {
  const Json settings = read_object(folder, "generation_config.json");
  const Json& said = at(settings, "eos_token_id");
  std::vector<int64_t> ids;
  const auto add = [&](const Json& value) {
    if (const auto id = id_of(value)) ids.push_back(*id);
  };
  add(said);
  if (said.is_array()) std::ranges::for_each(said, add);
  return ids;
}

}  // namespace anser
