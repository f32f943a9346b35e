// The answers to one request while they are being written: from the scheduler's readers to one JSON
// body, or to a stream of server-sent events.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "anser/scheduler.h"
#include "server/http/reply.h"
#include "server/openai/answer_stream.h"
#include "server/openai/api_error.h"
#include "server/state_desk.h"

namespace anser::openai {

// What all answers to one request share.
struct Heading {
  std::string id;       // "chatcmpl-..."
  std::string model;    // its name, as /v1/models has it
  int64_t created = 0;  // Unix seconds
  bool stream = false, include_usage = false, logprobs = false;
};

// The state at the end of each answer is stored, and the answer has its id.
struct Saving {
  StateDesk* desk;
  std::string parent;  // an id, or empty
  StateLabels labels;
};

// One answer: text goes in, what a client shall see of it comes out. One for each choice, used by
// the scheduler's thread alone.
class Choice {
 public:
  virtual ~Choice() = default;
  // What goes into a chunk's "choices" for this piece of text; there may be none.
  virtual std::vector<Json> chunks(std::string_view piece,
                                   const std::vector<TokenDetails>& details) = 0;
  // The last of them, with the finish_reason. Called once, after the last piece.
  virtual std::vector<Json> last_chunks(StopReason reason) = 0;
  // The whole entry of "choices", if the answer is not streamed. In place of last_chunks().
  virtual Json whole(StopReason reason) = 0;
};

// Lives as long as somebody writes for it. All functions may be called from any thread.
class Writing : public std::enable_shared_from_this<Writing> {
 public:
  // `object` and `chunk_object` are the "object" of a whole answer and of a chunk.
  Writing(Heading heading, std::string object, std::string chunk_object,
          std::shared_ptr<http::Reply> reply, Scheduler& scheduler);

  // Hands everything to the scheduler, order i being written as choice i; if its queue is full, all
  // are taken back, and the client is told to come again. `prompt_tokens`: of all different
  // prompts, and before them `state_tokens` that stored states have read.
  void start(std::vector<Order> orders, std::vector<std::unique_ptr<Choice>> choices,
             size_t prompt_tokens, size_t state_tokens);

  // Before start().
  void save_states(Saving saving) { saving_ = std::move(saving); }

 private:
  class ChoiceReader;

  bool on_text(int index, std::string_view piece, const std::vector<TokenDetails>& details);
  void on_end(int index, Finished finished);
  void save(int index, StopReason reason, const State& state);
  // With mutex_ held. `more` goes into the last entry of "choices".
  void end_choice(int index, StopReason reason, const Json& more);
  void cancel_all();
  void complete();
  void send(const std::vector<Json>& choices);
  Json head(const std::string& object) const;
  Json usage() const;

  const Heading heading_;
  const std::string object_, chunk_object_;
  const std::shared_ptr<http::Reply> reply_;
  Scheduler& scheduler_;
  std::optional<Saving> saving_;

  std::mutex mutex_;  // of all that follows
  std::vector<std::unique_ptr<Choice>> choices_;
  std::vector<Json> whole_;  // of choices that have ended
  std::vector<Scheduler::Id> ids_;
  size_t left_ = 0;  // choices that have not ended
  size_t prompt_tokens_ = 0, state_tokens_ = 0, cached_tokens_ = 0, written_tokens_ = 0;
  bool begun_ = false;   // the stream's head has been sent
  bool failed_ = false;  // the client has been told of an error, or needs no answer any more
};

// "stop", "length", or what the client never sees.
const char* finish_reason(StopReason reason);

// The ids of answers: a prefix and 24 letters and digits, of which none has been given out before.
std::string new_id(const std::string& prefix);

}  // namespace anser::openai
