#include "text/utf8.h"

#include <algorithm>

namespace anser {

bool is_valid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const Utf8Lead lead = utf8_lead(uint8_t(text[i]));
    if (lead.length == 0 || text.size() - i < size_t(lead.length)) return false;
    for (int k = 1; k < lead.length; ++k) {
      const uint8_t byte = uint8_t(text[i + k]);
      if (byte < (k == 1 ? lead.second_min : 0x80)) return false;
      if (byte > (k == 1 ? lead.second_max : 0xbf)) return false;
    }
    i += lead.length;
  }
  return true;
}

std::string_view unfinished_end(std::string_view text) {
  // A first byte never continues a character, so the last one of them tells.
  for (size_t size = 1; size <= std::min<size_t>(text.size(), 3); ++size) {
    const std::string_view end = text.substr(text.size() - size);
    const uint8_t first = uint8_t(end[0]);
    if (first >= 0x80 && first < 0xc0) continue;
    const Utf8Lead lead = utf8_lead(first);
    const bool goes_on =
        size == 1 || (uint8_t(end[1]) >= lead.second_min && uint8_t(end[1]) <= lead.second_max);
    return size_t(lead.length) > size && goes_on ? end : std::string_view();
  }
  return {};
}

std::vector<uint32_t> code_points(std::string_view text) {
  static constexpr uint8_t kBits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
  std::vector<uint32_t> characters;
  for (size_t i = 0; i < text.size();) {
    const int length = utf8_lead(uint8_t(text[i])).length;
    uint32_t character = uint8_t(text[i]) & kBits[length];
    for (int k = 1; k < length; ++k)
      character = character << 6 | (uint8_t(text[i + size_t(k)]) & 0x3f);
    characters.push_back(character);
    i += size_t(length);
  }
  return characters;
}

bool append_utf8(uint32_t code_point, std::string& out) {
  if (code_point > 0x10ffff || (code_point >= 0xd800 && code_point < 0xe000)) return false;
  if (code_point < 0x80) {
    out += char(code_point);
  } else if (code_point < 0x800) {
    out += char(0xc0 | code_point >> 6);
    out += char(0x80 | (code_point & 0x3f));
  } else if (code_point < 0x10000) {
    out += char(0xe0 | code_point >> 12);
    out += char(0x80 | (code_point >> 6 & 0x3f));
    out += char(0x80 | (code_point & 0x3f));
  } else {
    out += char(0xf0 | code_point >> 18);
    out += char(0x80 | (code_point >> 12 & 0x3f));
    out += char(0x80 | (code_point >> 6 & 0x3f));
    out += char(0x80 | (code_point & 0x3f));
  }
  return true;
}

}  // namespace anser
