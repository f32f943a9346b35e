// How deep a text of JSON is nested, one character after another; brackets in strings do not count.
#pragma once

#include <algorithm>
#include <string_view>

namespace anser::openai {

class JsonDepth {
 public:
  // With `c`.
  int take(char c) {
    if (escaped_) {
      escaped_ = false;
    } else if (in_string_) {
      escaped_ = c == '\\';
      in_string_ = c != '"';
    } else if (c == '"') {
      in_string_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if (c == '}' || c == ']') {
      --depth_;
    }
    return depth_;
  }

 private:
  int depth_ = 0;
  bool in_string_ = false, escaped_ = false;
};

// Of JSON in texts of clients and models, which is dumped again, level within level.
constexpr int kMostTextDepth = 64;

inline bool too_deep(std::string_view text) {
  JsonDepth depth;
  return std::any_of(text.begin(), text.end(),
                     [&](char c) { return depth.take(c) > kMostTextDepth; });
}

}  // namespace anser::openai
