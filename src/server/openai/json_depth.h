// How deep a text of JSON is nested, one character after another; brackets in strings do not count.
// It finds where a value ends that is still being written; what reads it is base/read_json.h.
#pragma once

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

}  // namespace anser::openai
