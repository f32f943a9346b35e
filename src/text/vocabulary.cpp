#include "text/vocabulary.h"

#include <fmt/format.h>

#include <charconv>

#include "anser/error.h"
#include "text/python_literal.h"

namespace anser {

namespace {

// Of tokenizer.ggml.token_type.
enum TokenType : int64_t { kUnsaid, kNormal, kUnknown, kControl, kUserDefined, kUnused, kByte };

// A whole decimal number without a sign.
bool parse_number(std::string_view text, int64_t& value) {
  if (text.empty() || text[0] == '-') return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

VocabularyEntry parse_line(std::string_view line, int number, const std::string& source) {
  const auto fail = [&](const std::string& problem) {
    return Error(fmt::format("{}, line {}: {}. Found {}", source, number, problem, quoted(line)));
  };
  // The literal may hold spaces itself, so it lies between the first and the last.
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    throw fail("expected `<id> <literal> <bytes>` with a space between them");
  }
  int64_t id = 0;
  if (!parse_number(line.substr(0, first), id)) throw fail("the id is not a number");
  if (id > kMaxToken) throw fail(fmt::format("the id is larger than {}", kMaxToken));
  int64_t length = 0;
  if (!parse_number(line.substr(last + 1), length)) throw fail("the byte length is not a number");

  VocabularyEntry entry{Token(id), number, {}};
  const std::string_view literal = line.substr(first + 1, last - first - 1);
  if (const char* problem = parse_python_literal(literal, entry.bytes)) {
    throw fail(fmt::format("bad literal: {}", problem));
  }
  if (int64_t(entry.bytes.size()) != length) {
    throw fail(fmt::format("the literal has {} bytes, the last column says {}", entry.bytes.size(),
                           length));
  }
  if (entry.bytes.empty()) throw fail("a token cannot be empty");
  if (entry.bytes.size() > kMaxTokenBytes) {
    throw fail(fmt::format("a token cannot be longer than {} bytes", kMaxTokenBytes));
  }
  return entry;
}

// `\t`, `\n`, `\r` and `\xHH` are special; a backslash before anything else stands for what
// follows.
const char* unescape(std::string_view text, std::string& bytes) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      bytes += text[i];
      continue;
    }
    if (++i == text.size()) return "ends in a backslash";
    switch (text[i]) {
      case 't':
        bytes += '\t';
        break;
      case 'n':
        bytes += '\n';
        break;
      case 'r':
        bytes += '\r';
        break;
      case 'x': {
        const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
        const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0) return "has \\x without 2 hexadecimal digits";
        bytes += char(high * 16 + low);
        i += 2;
        break;
      }
      default:
        bytes += text[i];
    }
  }
  return nullptr;
}

// The byte of `<0x0A>`; -1 for another text.
int named_byte(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  const int high = hex_digit(text[3]), low = hex_digit(text[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// What the type makes of a token's text.
const char* bytes_of_type(std::string_view text, int64_t type, std::string& bytes) {
  if (type != kByte) return unescape(text, bytes);
  if (const int byte = named_byte(text); byte >= 0) {
    bytes += char(byte);
    return nullptr;
  }
  const char* problem = unescape(text, bytes);
  return problem == nullptr && bytes.size() != 1 ? "is no byte, as its type says" : problem;
}

}  // namespace

std::string quoted(std::string_view bytes) {
  constexpr size_t kShown = 60;
  std::string text = "`";
  for (const char c : bytes.substr(0, kShown)) {
    if (c >= ' ' && c <= '~') {
      text += c;
    } else {
      text += fmt::format("\\x{:02x}", uint8_t(c));
    }
  }
  text += bytes.size() > kShown ? "`..." : "`";
  return text;
}

std::vector<VocabularyEntry> parse_vocabulary(std::string_view text, const std::string& source) {
  std::vector<VocabularyEntry> entries;
  std::vector<int> line_of_id;  // 0: not seen
  int number = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;

    VocabularyEntry entry = parse_line(line, number, source);
    const size_t id = size_t(entry.id);
    if (id >= line_of_id.size()) line_of_id.resize(id + 1);
    if (line_of_id[id] != 0) {
      throw Error(fmt::format("{}, line {}: id {} is already that of line {}", source, number, id,
                              line_of_id[id]));
    }
    line_of_id[id] = number;
    entries.push_back(std::move(entry));
  }
  return entries;
}

Vocabulary unescape_vocabulary(std::span<const std::string> tokens, std::span<const int64_t> types,
                               const std::string& source) {
  if (!types.empty() && types.size() != tokens.size()) {
    throw Error(fmt::format("{}: the vocabulary has {} tokens but {} token types", source,
                            tokens.size(), types.size()));
  }
  if (tokens.size() > size_t(kMaxToken) + 1) {
    throw Error(fmt::format("{}: the vocabulary has {} tokens, more than {}", source, tokens.size(),
                            kMaxToken + 1));
  }
  Vocabulary vocabulary;
  for (size_t id = 0; id < tokens.size(); ++id) {
    const int64_t type = types.empty() ? kNormal : types[id];
    if (type < kUnsaid || type > kByte) {
      throw Error(fmt::format("{}: the type of token {} is {}, expected 0 to {}", source, id, type,
                              int(kByte)));
    }
    if (type == kUnknown || type == kUnused) continue;
    std::string bytes;
    const char* problem = bytes_of_type(tokens[id], type, bytes);
    if (problem == nullptr && bytes.size() > kMaxTokenBytes) problem = "is too long";
    if (problem != nullptr) {
      throw Error(fmt::format("{}: the text of token {} {}. Found {}", source, id, problem,
                              quoted(tokens[id])));
    }
    // Without types a name, `<s>`, stands where the end of a text has no bytes.
    const bool is_name = types.empty() && id == 0 && bytes.size() > 1;
    if (bytes.empty() || is_name) continue;
    if (type == kControl || type == kUserDefined) {
      AddedToken token{Token(id), std::move(bytes), type == kControl};
      if (!is_name_of_end(token)) vocabulary.added.push_back(std::move(token));
    } else {
      vocabulary.entries.push_back({Token(id), 0, std::move(bytes)});
    }
  }
  return vocabulary;
}

}  // namespace anser
