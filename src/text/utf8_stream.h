// Bytes in, complete UTF-8 characters out.
//
// Tokens are byte strings that may end in the middle of a character. What is given out is always
// valid UTF-8; the beginning of a character is held back, at most 3 bytes. Each maximal subpart of
// an ill-formed sequence becomes one U+FFFD, the practice that the Unicode standard recommends
// (chapter 3.9) and that Python's errors="replace" follows. The result does not depend on how the
// bytes are cut into pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace anser {

class Utf8Stream {
 public:
  // Appends to `out` what has become certain.
  void push(std::string_view bytes, std::string& out);

  // The end of the text, of which nothing more will come: a character that was begun becomes
  // U+FFFD. The stream is then as new.
  void flush(std::string& out);

  // Bytes that were pushed and not given out.
  size_t held() const { return size_t(held_size_); }

 private:
  char held_[4];
  int held_size_ = 0;
  int length_ = 0;        // of the sequence that held_ begins
  uint8_t next_min_ = 0;  // range of its next byte
  uint8_t next_max_ = 0;
};

// All of `bytes` but a character that has only begun at the end.
std::string whole_characters(std::string_view bytes);

}  // namespace anser
