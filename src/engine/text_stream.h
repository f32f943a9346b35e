// From the bytes of tokens to the text that a reader gets: complete characters, ended before the
// first stop string.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "engine/stop_matcher.h"
#include "text/utf8_stream.h"

namespace anser {

class TextStream {
 public:
  // Throws Error for a bad stop string.
  explicit TextStream(const std::vector<std::string>& stops,
                      const std::vector<std::string>& stops_after = {})
      : stops_(stops, stops_after) {}

  // The text goes on from one that ends with these bytes, the beginning of a character: it begins
  // with that character. They have been read for good, so they count as decided.
  void begin(std::string_view unfinished) {
    std::string none;
    utf8_.push(unfinished, none);
    pushed_ = decided_ = unfinished.size();
  }

  // Returns what has become certain by these bytes; `stopped` is set when the text has ended. No
  // stop string is looked for in bytes of which `may_stop` is false; they come before all others.
  std::string push(std::string_view bytes, bool& stopped, bool may_stop = true) {
    std::string characters, piece;
    stopped = false;
    // One by one, so that it is known which byte completed the stop string.
    for (size_t i = 0; i < bytes.size() && !stopped; ++i) {
      characters.clear();
      utf8_.push(bytes.substr(i, 1), characters);
      ++pushed_;
      const size_t open = stops_.held() + characters.size(), given = piece.size();
      if (may_stop) {
        stopped = stops_.push(characters, piece);
      } else {
        piece += characters;
      }
      const size_t undecided =
          stopped ? open - (piece.size() - given) : utf8_.held() + stops_.held();
      // What is given out stays so.
      decided_ = std::max(decided_, pushed_ - std::min(pushed_, undecided));
    }
    return piece;
  }

  // The end without a stop: returns what was held back as a possible stop. A character that has
  // only begun is for the text that goes on from here.
  std::string finish() {
    std::string piece;
    stops_.flush(piece);
    return piece;
  }

  // How many bytes have been pushed, and how many of them have been given out: all but what is held
  // back, or but the stop string. Counted in bytes as pushed, where the text may have U+FFFD; only
  // a stop string with several U+FFFD of its own can make the second number too small.
  size_t pushed() const { return pushed_; }
  size_t decided() const { return decided_; }

 private:
  Utf8Stream utf8_;
  StopMatcher stops_;
  size_t pushed_ = 0;
  size_t decided_ = 0;
};

}  // namespace anser
