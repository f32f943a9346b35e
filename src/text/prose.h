// What a program must know of English prose to write it in turns with a person: where a sentence
// ends, and how the next line joins on.
#pragma once

#include <string>
#include <string_view>

namespace anser {

// Whether a text that is still being written could end where it is.
class SentenceEnd {
 public:
  void read(std::string_view text);

  // After a line's end, or after . ! or ? and closing quotation marks or brackets. Not within
  // "speech", nor after a full stop that may be an abbreviation's (Mr. and its like).
  bool here() const;

 private:
  std::string line_;  // what has been read of the last one
  bool begun_ = false;
};

// `line`, without white space around it, as it stands in a text that it goes on with: after a
// space, which a line's end or the line's own first character (a comma) can make needless. Empty
// when there are no words.
std::string joined_line(std::string_view line, bool after_line_end);

}  // namespace anser
