// A vocabulary for tests: all bytes, then some longer tokens.
#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

namespace anser {

// The 256 lines of the single bytes, ids 1 to 256, all as bytes literals.
inline std::string byte_lines(const std::string& newline = "\n") {
  std::string text;
  for (int byte = 0; byte < 256; ++byte) {
    text += fmt::format("{} b'\\x{:02x}' 1{}", byte + 1, byte, newline);
  }
  return text;
}

}  // namespace anser
