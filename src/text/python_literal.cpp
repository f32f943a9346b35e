#include "text/python_literal.h"

#include <cstdint>

#include "text/utf8.h"

namespace anser {

namespace {

// Reads exactly `digits` hexadecimal digits at text[at]; -1 when they are not there.
int64_t read_hex(std::string_view text, size_t at, int digits) {
  if (text.size() - at < size_t(digits)) return -1;
  int64_t value = 0;
  for (int i = 0; i < digits; ++i) {
    const int digit = hex_digit(text[at + size_t(i)]);
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

// The escapes of one character; -1 for all others.
int simple_escape(char c) {
  switch (c) {
    case '\\':
    case '\'':
    case '"':
      return c;
    case 'a':
      return 7;
    case 'b':
      return 8;
    case 't':
      return 9;
    case 'n':
      return 10;
    case 'v':
      return 11;
    case 'f':
      return 12;
    case 'r':
      return 13;
    default:
      return -1;
  }
}

// The escape after the backslash at body[at - 1]; moves `at` behind it.
const char* parse_escape(std::string_view body, bool is_bytes, size_t& at, std::string& bytes) {
  if (at == body.size()) return "it ends in a backslash";
  const char c = body[at++];
  int64_t value = simple_escape(c);
  if (value >= 0) {
    bytes += char(value);
    return nullptr;
  }
  const bool is_unicode = !is_bytes && (c == 'u' || c == 'U');
  if (c == 'x' || is_unicode) {
    const int digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
    value = read_hex(body, at, digits);
    if (value < 0) {
      return c == 'x'   ? "\\x must be followed by 2 hexadecimal digits"
             : c == 'u' ? "\\u must be followed by 4 hexadecimal digits"
                        : "\\U must be followed by 8 hexadecimal digits";
    }
    at += size_t(digits);
  } else if (c >= '0' && c <= '7') {
    value = c - '0';
    for (int i = 0; i < 2 && at < body.size() && body[at] >= '0' && body[at] <= '7'; ++i) {
      value = value * 8 + (body[at++] - '0');
    }
    if (is_bytes && value > 255) return "an octal escape of a byte is larger than \\377";
  } else {
    return "it has an unknown escape";
  }
  if (is_bytes) {
    bytes += char(value);
  } else if (!append_utf8(uint32_t(value), bytes)) {
    return "an escape is not a Unicode character (a surrogate, or beyond U+10FFFF)";
  }
  return nullptr;
}

}  // namespace

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

const char* parse_python_literal(std::string_view literal, std::string& bytes) {
  const bool is_bytes = !literal.empty() && (literal[0] == 'b' || literal[0] == 'B');
  if (is_bytes) literal.remove_prefix(1);
  if (literal.empty() || (literal[0] != '\'' && literal[0] != '"')) {
    return "it does not start with a quote";
  }
  const char quote = literal[0];
  if (literal.size() < 2 || literal.back() != quote) return "it does not end with its quote";
  const std::string_view body = literal.substr(1, literal.size() - 2);

  // An escape may not reach over the end, so that the last quote is known to be the closing one.
  for (size_t at = 0; at < body.size();) {
    const char c = body[at++];
    if (c == '\\') {
      if (const char* problem = parse_escape(body, is_bytes, at, bytes)) return problem;
    } else if (c == quote) {
      return "its quote occurs inside without a backslash";
    } else if (is_bytes && uint8_t(c) >= 0x80) {
      return "a bytes literal holds a character that is not ASCII";
    } else {
      bytes += c;
    }
  }
  if (!is_bytes && !is_valid_utf8(bytes)) return "it is not valid UTF-8";
  return nullptr;
}

}  // namespace anser
