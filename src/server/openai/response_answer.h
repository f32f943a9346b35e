// The answer of /v1/responses: a response object, or the events in which it comes to be.
#pragma once

#include <string>
#include <vector>

#include "anser/tokenizer.h"
#include "server/openai/answer_stream.h"
#include "server/openai/logprob_list.h"
#include "server/openai/response_request.h"
#include "server/openai/writing.h"

namespace anser::openai {

// Thoughts become an item of type reasoning, calls of tools items of type function_call, and the
// rest is one message. Where logprobs are wanted the message has those of all tokens, also of what
// came before it. A whole answer has all of them. Of a stream each delta brings what is new, and
// the events that repeat a text have the list as long as it has kMostRepeated bytes at the most.
class ResponseAnswer final : public Answer {
 public:
  struct Heading {
    std::string id;  // "resp_..."
    std::string model;
    int64_t created = 0;  // Unix seconds
    bool store = false;
  };
  // `form`, `opening` and `tools` as AnswerStream has them.
  ResponseAnswer(Heading heading, const ResponseRequest& request, const ChatTemplate& form,
                 const std::string& opening, std::vector<Tool> tools, Tokenizer tokenizer);

  std::string opening() override;
  std::string piece(int index, std::string_view text,
                    const std::vector<TokenDetails>& details) override;
  // Bytes of what the request said that are kept for events to repeat, kMostRepeated at the most.
  static constexpr size_t kMostRepeated = 256 << 10;
  size_t kept_bytes() const { return fixed_.size(); }
  // What a later GET gives back goes into the note: without the tools and the format of the
  // request, and without what would be too long for it.
  StateLabels labels(StopReason reason, const Usage& usage, StateLabels given) override;
  std::string ending(int index, const Ending& ending) override;
  std::string closing(const Usage& usage) override;
  JsonPieces whole(const Usage& usage) override;
  std::string failure(const ApiError& error) override;

 private:
  using Kind = AnswerStream::Part::Kind;
  // Each returns the events of what it does.
  std::string event(const char* type, Json data);
  std::string add(const AnswerStream::Part& part);
  std::string open_item(Kind kind);
  std::string close_item(const char* status);
  std::string add_call(const AnswerStream::Part& part);
  std::string end_text(StopReason reason);
  Json part_place() const;
  // "msg_STATE_0": it names the response, so that the store can find the item.
  std::string next_item_id(const char* kind) const;
  Json object(const char* status, const Usage* usage) const;
  // As text, with the fields that do not change behind its own; logprobs_mark() stands where the
  // message's logprobs belong.
  std::string with_fixed(const Json& object) const;
  std::string logprobs_mark() const;
  Json logprobs_place() const;
  // The list in place of the mark, or an empty one where it would be long.
  std::string with_logprobs(std::string text) const;
  Json new_logprobs();
  std::string response_event(const char* type, const std::string& response);

  const Heading heading_;
  // The fields that do not change, as a note has them, and as they are sent: a text, for as JSON in
  // memory they take many times as much, as long as the request waits and is at work.
  Json fixed_of_note_;
  std::string fixed_;  // "," and the members, and "}"
  const std::vector<Tool> tools_;
  const Tokenizer tokenizer_;
  const bool logprobs_;          // are wanted
  const bool streams_logprobs_;  // and in events
  LogprobList details_;
  size_t details_given_ = 0;  // with deltas
  AnswerStream stream_;
  int sequence_ = 0;
  Json output_ = Json::array();  // items that are complete
  // The item that is being written.
  bool open_ = false;
  Kind kind_ = Kind::content;
  std::string item_id_, text_;
  size_t reasoning_tokens_ = 0;
  bool ended_ = false;
  const char* status_ = "in_progress";
  std::string last_events_;
  Ending ending_{};
};

}  // namespace anser::openai
