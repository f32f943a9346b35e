#include "text/vocabulary.h"

#include <fmt/format.h>

#include <charconv>

#include "anser/error.h"
#include "text/python_literal.h"

namespace anser {

namespace {

constexpr int64_t kNormal = 1;  // of tokenizer.ggml.token_type

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
  if (id == kEndOfText) throw fail("id 0 is the end of a document and cannot be in the file");
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

std::vector<VocabularyEntry> unescape_vocabulary(std::span<const std::string> tokens,
                                                 std::span<const int64_t> types,
                                                 const std::string& source) {
  if (!types.empty() && types.size() != tokens.size()) {
    throw Error(fmt::format("{}: the vocabulary has {} tokens but {} token types", source,
                            tokens.size(), types.size()));
  }
  if (tokens.size() > size_t(kMaxToken) + 1) {
    throw Error(fmt::format("{}: the vocabulary has {} tokens, more than {}", source, tokens.size(),
                            kMaxToken + 1));
  }
  std::vector<VocabularyEntry> entries;
  for (size_t id = 0; id < tokens.size(); ++id) {
    const bool has_bytes = types.empty() ? Token(id) != kEndOfText : types[id] == kNormal;
    if (!has_bytes) continue;
    VocabularyEntry entry{Token(id), 0, {}};
    const char* problem = unescape(tokens[id], entry.bytes);
    if (problem == nullptr && entry.bytes.size() > kMaxTokenBytes) problem = "is too long";
    if (problem != nullptr) {
      throw Error(fmt::format("{}: the text of token {} {}. Found {}", source, id, problem,
                              quoted(tokens[id])));
    }
    if (!entry.bytes.empty()) entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace anser
