// What a model writes of an answer, taken apart while it is being written: thoughts, words for the
// user, and calls of tools.
//
//   <think>thoughts</think>  words        or        ```json
//                                                   {"name": ..., "arguments": {...}}
//                                                   ```
// The marks around a thought are the form's. In the tool format `lines` a call is such a fence that
// the answer begins with; in `markdown` there may be several, also behind words, each one of
//
//   **Tool Call:** and a fence        <tool_call>{...}</tool_call>        a fence
//
// Thoughts and words come out as soon as they are certain, without white space around them; a call
// as a whole, and what stands behind one and is no call is left out: a model has nothing to say
// there but what it makes up. What looks like a call and is none is words.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/openai/chat_request.h"
#include "text/chat/chat_template.h"

namespace anser::openai {

// The beginning of an answer that the client has written itself, which it does not get back.
struct Prefill {
  std::string text = {};
  std::string opening = {};  // what the prompt has in front of it: a thought that is closed
  // The client has white space behind it, so that what comes next begins with none.
  bool spaced = false;
};

class AnswerStream {
 public:
  // `opening` is what the prompt has written of the answer. `tools` are those that may be called,
  // and must outlive this; where there are none, nothing is a call. Without `several_calls` the
  // first one is the last, and what comes behind it is left out.
  AnswerStream(const ChatTemplate& form, std::string_view opening, const std::vector<Tool>& tools,
               bool several_calls = true);

  // Before anything is pushed: the answer begins with this.
  void prefill(const Prefill& prefill);

  struct Part {
    enum class Kind { reasoning, content, call };
    Kind kind;
    std::string text;  // of a call: its arguments
    std::string name;  // of a call: the tool's
  };
  std::vector<Part> push(std::string_view text);
  // The text has ended. Where nothing was written, nothing comes of a thought's opening either.
  std::vector<Part> finish();

 private:
  enum class Place { start, thought, after_thought, words };
  struct Mark {
    size_t at;
    std::string_view text;
  };

  // Each returns whether the next can go on.
  bool read_start(bool end);
  bool read_thought(bool end, std::vector<Part>& parts);
  bool read_words(bool end, std::vector<Part>& parts);
  void read(bool end, std::vector<Part>& parts);
  void give(Part::Kind kind, std::string_view text, std::vector<Part>& parts);
  std::optional<Mark> find_call() const;
  size_t begun_call_at_end() const;

  const std::string think_start_, think_end_;
  const ToolFormat format_;
  const std::vector<Tool>& tools_;
  const bool several_calls_;
  Place place_ = Place::start;
  bool may_call_ = true;  // in `lines`: the answer may still begin with a call
  bool called_ = false;   // there was a call
  std::string held_;      // not decided yet
  std::string spaces_;    // white space that something may follow
  bool written_;          // there was some text, or a call was opened, which is one
  bool begun_ = false;    // something of this kind was given out
  size_t prefilled_ = 0;  // bytes of held_ that are the client's own
};

}  // namespace anser::openai
