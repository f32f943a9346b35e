#include "engine/stop_matcher.h"

#include <fmt/format.h>

#include <algorithm>

#include "anser/error.h"
#include "text/utf8.h"

namespace anser {

StopMatcher::StopMatcher(const std::vector<std::string>& stops,
                         const std::vector<std::string>& stops_after) {
  for (const std::string& stop : stops) add(stop, false);
  for (const std::string& stop : stops_after) add(stop, true);
}

void StopMatcher::add(const std::string& stop, bool included) {
  if (stop.empty()) throw Error("a stop string is empty; it would end every text at once");
  // The text to match is UTF-8, so another string could only match by splitting a character.
  if (!is_valid_utf8(stop)) throw Error("a stop string is not valid UTF-8");
  Pattern pattern{stop, std::vector<size_t>(stop.size(), 0), included};
  for (size_t i = 1; i < stop.size(); ++i) {
    pattern.advance(stop[i]);
    pattern.border[i] = pattern.matched;
  }
  pattern.matched = 0;
  patterns_.push_back(std::move(pattern));
}

void StopMatcher::Pattern::advance(char c) {
  while (matched > 0 && text[matched] != c) matched = border[matched - 1];
  if (text[matched] == c) ++matched;
}

bool StopMatcher::push(std::string_view text, std::string& out) {
  if (text.empty()) return false;
  size_t hold = 0;
  for (const char c : text) {
    held_ += c;
    hold = 0;
    const Pattern* complete = nullptr;
    for (Pattern& pattern : patterns_) {
      pattern.advance(c);
      hold = std::max(hold, pattern.matched);
      if (pattern.matched != pattern.text.size()) continue;
      // Those that the text ends behind come last.
      if (complete == nullptr || pattern.matched >= complete->matched) complete = &pattern;
    }
    if (complete != nullptr) {
      give(held_.size() - given_ - (complete->included ? 0 : complete->matched), out);
      reset();
      return true;
    }
  }
  give(held_.size() - given_ - hold, out);
  return false;
}

void StopMatcher::flush(std::string& out) {
  give(held_.size() - given_, out);
  reset();
}

void StopMatcher::give(size_t size, std::string& out) {
  out.append(held_, given_, size);
  given_ += size;
  if (given_ > held_.size() / 2) {
    held_.erase(0, given_);
    given_ = 0;
  }
}

void StopMatcher::reset() {
  held_.clear();
  given_ = 0;
  for (Pattern& pattern : patterns_) pattern.matched = 0;
}

}  // namespace anser
