// Answers that are lists of choices: what /v1/completions and /v1/chat/completions give.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/openai/json_pieces.h"
#include "server/openai/writing.h"

namespace anser::openai {

// What all answers to one request share.
struct Heading {
  std::string id;       // "chatcmpl-..."
  std::string model;    // its name, as /v1/models has it
  int64_t created = 0;  // Unix seconds
  bool stream = false, include_usage = false;
};

// One answer: text goes in, what a client shall see of it comes out. One for each choice. Either it
// is streamed, chunk by chunk, or kept until it is whole.
class Choice {
 public:
  virtual ~Choice() = default;
  // What goes into a chunk's "choices" for this piece of text; there may be none.
  virtual std::vector<Json> chunks(std::string_view piece,
                                   const std::vector<TokenDetails>& details) = 0;
  // The last of them, with the finish_reason. Called once, after the last piece.
  virtual std::vector<Json> last_chunks(StopReason reason) = 0;

  // Of an answer that is not streamed: another piece of it.
  virtual void keep(std::string_view piece, const std::vector<TokenDetails>& details) = 0;
  // The whole entry of "choices", but for its last fields and its brace. Called once, after the
  // last piece; what it returns is made out of this choice, which must live as long.
  virtual JsonPieces whole(StopReason reason) = 0;
};

// A choice whose state was wanted has "state", its id; or null, and "state_error" says why.
class ChoicesAnswer final : public Answer {
 public:
  // `object` and `chunk_object` are the "object" of a whole answer and of a chunk. Where there is
  // `more` it adds members to the whole answer, and what a choice's chunk says of the prompt
  // stands beside "choices".
  using More = std::function<void(JsonPieces&)>;
  ChoicesAnswer(Heading heading, std::string object, std::string chunk_object,
                std::vector<std::unique_ptr<Choice>> choices, More more = {});

  std::string piece(int index, std::string_view text,
                    const std::vector<TokenDetails>& details) override;
  std::string ending(int index, const Ending& ending) override;
  std::string closing(const Usage& usage) override;
  JsonPieces whole(const Usage& usage) override;

 private:
  Json head(const std::string& object) const;
  std::string events(std::vector<Json> choices) const;

  const Heading heading_;
  const std::string object_, chunk_object_;
  const std::vector<std::unique_ptr<Choice>> choices_;
  const More more_;
  std::string chunk_head_;       // of every chunk's event, up to the choice
  std::vector<Ending> endings_;  // of choices that have ended, where they are kept
};

}  // namespace anser::openai
