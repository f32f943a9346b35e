// UTF-8, as the Unicode standard's table 3-7 defines well-formed sequences.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace anser {

// What a first byte promises. The range of the second byte is narrower than 80..BF for some, which
// keeps out overlong forms, surrogates and what lies beyond U+10FFFF; later bytes are 80..BF.
struct Utf8Lead {
  int length;  // of the whole sequence; 0 when the byte cannot start one
  uint8_t second_min;
  uint8_t second_max;
};

constexpr Utf8Lead utf8_lead(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xc2) return {0, 0, 0};
  if (byte < 0xe0) return {2, 0x80, 0xbf};
  if (byte == 0xe0) return {3, 0xa0, 0xbf};
  if (byte == 0xed) return {3, 0x80, 0x9f};
  if (byte < 0xf0) return {3, 0x80, 0xbf};
  if (byte == 0xf0) return {4, 0x90, 0xbf};
  if (byte < 0xf4) return {4, 0x80, 0xbf};
  if (byte == 0xf4) return {4, 0x80, 0x8f};
  return {0, 0, 0};
}

bool is_valid_utf8(std::string_view text);

// The end of `text` that is the beginning of a character, at most 3 bytes; mostly empty.
std::string_view unfinished_end(std::string_view text);

// The characters of valid UTF-8.
std::vector<uint32_t> code_points(std::string_view text);

// False, and nothing appended, for a surrogate or a number beyond U+10FFFF: they have no UTF-8
// form.
bool append_utf8(uint32_t code_point, std::string& out);

}  // namespace anser
