// From the bytes of tokens to the text that a reader gets: complete characters, ended before the
// first stop string.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/stop_matcher.h"
#include "text/utf8_stream.h"

namespace anser {

class TextStream {
 public:
  // Throws Error for a bad stop string.
  explicit TextStream(const std::vector<std::string>& stops) : stops_(stops) {}

  // Returns what has become certain by these bytes; `stopped` is set when the text has ended.
  std::string push(std::string_view bytes, bool& stopped) {
    std::string characters, piece;
    utf8_.push(bytes, characters);
    stopped = stops_.push(characters, piece);
    return piece;
  }

  // The end without a stop: returns what was held back.
  std::string finish() {
    std::string characters, piece;
    utf8_.flush(characters);
    // A U+FFFD may complete a stop string that contains one.
    if (!stops_.push(characters, piece)) stops_.flush(piece);
    return piece;
  }

  // Bytes that were pushed and are not decided yet.
  size_t held() const { return utf8_.held() + stops_.held(); }

 private:
  Utf8Stream utf8_;
  StopMatcher stops_;
};

}  // namespace anser
