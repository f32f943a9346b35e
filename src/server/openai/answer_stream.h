// What a model writes behind "Assistant:", taken apart while it is being written: thoughts, words
// for the user, and calls of tools.
//
//   <think>thoughts</think>  words        or        ```json
//                                                   {"name": ..., "arguments": {...}}
//                                                   ```
// Thoughts and words come out as soon as they are certain, without white space around them; a call
// only as a whole. What looks like a call and is none is words.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/openai/chat_request.h"

namespace anser::openai {

class AnswerStream {
 public:
  // `opening` is what the prompt has written of the answer. `tools` are those that may be called,
  // and must outlive this; where there are none, nothing is a call.
  AnswerStream(std::string_view opening, const std::vector<Tool>& tools);

  struct Part {
    enum class Kind { reasoning, content, call };
    Kind kind;
    std::string text;  // of a call: its arguments
    std::string name;  // of a call: the tool's
  };
  std::vector<Part> push(std::string_view text);
  // The text has ended.
  std::vector<Part> finish();

 private:
  enum class Place { start, thought, after_thought, words, call };
  void read(bool end, std::vector<Part>& parts);
  void give(Part::Kind kind, std::string_view text, std::vector<Part>& parts);
  bool give_call(std::vector<Part>& parts);

  const std::vector<Tool>& tools_;
  Place place_ = Place::start;
  std::string held_;    // not decided yet
  std::string spaces_;  // white space that something may follow
  bool begun_ = false;  // something of this kind was given out
};

}  // namespace anser::openai
