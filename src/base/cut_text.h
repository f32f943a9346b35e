// Errors repeat what was sent, but never all of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace anser {

inline constexpr size_t kShownCharacters = 100;

// How many bytes the first `most` characters of `text` have. A character is a byte with up to three
// continuation bytes of UTF-8 behind it, so that bytes that are no text are bounded, too.
inline size_t bytes_of_characters(std::string_view text, size_t most) {
  size_t at = 0;
  for (size_t characters = 0; characters < most && at < text.size(); ++characters) {
    ++at;
    for (int i = 0; i < 3 && at < text.size() && (uint8_t(text[at]) & 0xc0) == 0x80; ++i) ++at;
  }
  return at;
}

// The first `most` characters of `text`, with "..." behind them where there are more.
inline std::string cut_text(std::string_view text, size_t most = kShownCharacters) {
  const size_t bytes = bytes_of_characters(text, most);
  return std::string(text.substr(0, bytes)) + (bytes < text.size() ? "..." : "");
}

}  // namespace anser
