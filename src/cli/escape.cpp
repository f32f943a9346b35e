#include "cli/escape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "text/utf8.h"

namespace anser {
namespace {

// Length of the valid UTF-8 character at the start of `text`; 0 when there is none.
size_t character_length(std::string_view text) {
  const auto byte = [&](size_t i) { return uint8_t(text[i]); };
  const Utf8Lead lead = utf8_lead(byte(0));
  const size_t length = size_t(lead.length);
  if (length <= 1) return length;
  if (text.size() < length || byte(1) < lead.second_min || byte(1) > lead.second_max) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

std::string escape_bytes(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const size_t length = std::max<size_t>(character_length(bytes), 1);
    const char c = bytes[0];
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\\') {
      out += "\\\\";
    } else if (uint8_t(c) < 0x20 || c == 0x7f || (length == 1 && uint8_t(c) >= 0x80)) {
      out += fmt::format("\\x{:02x}", uint8_t(c));
    } else {
      out += bytes.substr(0, length);
    }
    bytes.remove_prefix(length);
  }
  return out;
}

}  // namespace anser
