// Ends a text before the first of some stop strings, while it is still being written.
//
// Text that could be the beginning of a stop string is held back until it is decided. The first
// stop string to be complete wins (of several that end at the same byte, the longest), so what is
// given out does not depend on how the text is cut into pieces, and nothing is read beyond the
// stop. A stop string may also be one that the text ends behind, and has in it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace anser {

class StopMatcher {
 public:
  // Throws Error for a stop string that is empty or not UTF-8.
  explicit StopMatcher(const std::vector<std::string>& stops,
                       const std::vector<std::string>& stops_after = {});

  // Appends to `out` what cannot belong to a stop string any more. True when a stop string is
  // complete: the text has ended before it, or behind one of `stops_after`. The matcher is then as
  // new.
  bool push(std::string_view text, std::string& out);

  // The text has ended without a stop: appends what was held back. The matcher is then as new.
  void flush(std::string& out);

  // Bytes that were pushed and not given out.
  size_t held() const { return held_.size() - given_; }

 private:
  // Knuth-Morris-Pratt: amortised constant time a byte, whatever the strings are.
  struct Pattern {
    std::string text;
    std::vector<size_t> border;  // [i]: longest proper prefix of text that ends text[0..i]
    bool included;               // the text ends behind it
    size_t matched = 0;          // the longest prefix of text that ends what was pushed so far
    void advance(char c);
  };
  void add(const std::string& stop, bool included);
  void give(size_t size, std::string& out);
  void reset();

  std::vector<Pattern> patterns_;
  // Held back is held_ from given_ on; what lies before is erased in large pieces only.
  std::string held_;
  size_t given_ = 0;
};

}  // namespace anser
