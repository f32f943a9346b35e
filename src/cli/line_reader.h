// Lines from the user: edited at a terminal, plain from a pipe.
#pragma once

#include <optional>
#include <string>

namespace anser {

class LineReader {
 public:
  LineReader();
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // Without its newline; nothing at the end of input. At a terminal `prompt` is shown (on stderr),
  // earlier lines can be called back, and Ctrl-C drops the line and asks again.
  std::optional<std::string> read(const std::string& prompt);

  bool interactive() const { return editor_ != nullptr; }

 private:
  bool read_line(std::string& line);

  struct Editor;
  Editor* editor_ = nullptr;
  bool at_start_ = true;  // of a pipe
  std::string piece_;     // of the pipe's bytes; those before at_ have been given out
  size_t at_ = 0;
};

}  // namespace anser
