// A JSON text that is made in pieces, for answers that are too large to stand in memory.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "server/openai/api_error.h"

namespace anser::openai {

class JsonPieces {
 public:
  JsonPieces() = default;
  JsonPieces(std::string text) { add(std::move(text)); }

  void add(std::string text);
  // A part that is made when its turn comes.
  void add_later(std::function<std::string()> part);
  // "[", `count` entries with commas between them, and "]". An entry is appended to what it is
  // given.
  using Entry = std::function<void(size_t i, std::string& to)>;
  void add_list(size_t count, Entry entry);
  // All parts of another.
  void add(JsonPieces&& pieces);

  // The next kilobytes; empty: there are no more.
  std::string next();
  // All that is left.
  std::string rest();

 private:
  // Appends something; false: that was the last of it.
  using Part = std::function<bool(std::string& to)>;
  std::vector<Part> parts_;
  size_t at_ = 0;
};

// As all answers write it: what is no UTF-8 becomes U+FFFD, and what ends lines in Unicode is
// escaped, for an event of a stream is a line, and many clients split lines by those rules.
std::string dumped(const Json& json);

// The same for a text that is JSON already: U+0085, U+2028 and U+2029, which can only stand within
// strings.
std::string escape_line_ends(std::string json);

}  // namespace anser::openai
