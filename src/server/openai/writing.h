// The answers to one request while they are being written: from the scheduler's readers to one JSON
// body, or to a stream of server-sent events.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "anser/scheduler.h"
#include "server/http/reply.h"
#include "server/openai/answer_stream.h"
#include "server/openai/api_error.h"

namespace anser::openai {

// What all answers to one request share.
struct Heading {
  std::string id;       // "chatcmpl-..."
  std::string model;    // its name, as /v1/models has it
  int64_t created = 0;  // Unix seconds
  bool stream = false, include_usage = false, logprobs = false;
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
  // prompts.
  void start(std::vector<Order> orders, std::vector<std::unique_ptr<Choice>> choices,
             size_t prompt_tokens);

 private:
  class ChoiceReader;

  bool on_text(int index, std::string_view piece, const std::vector<TokenDetails>& details);
  void on_end(int index, Finished finished);
  void cancel_all();
  void complete();
  void send(const std::vector<Json>& choices);
  Json head(const std::string& object) const;
  Json usage() const;

  const Heading heading_;
  const std::string object_, chunk_object_;
  const std::shared_ptr<http::Reply> reply_;
  Scheduler& scheduler_;

  std::mutex mutex_;  // of all that follows
  std::vector<std::unique_ptr<Choice>> choices_;
  std::vector<Json> whole_;  // of choices that have ended
  std::string chunk_head_;   // up to the choice; made for the first chunk
  std::vector<Scheduler::Id> ids_;
  size_t left_ = 0;  // choices that have not ended
  size_t prompt_tokens_ = 0, cached_tokens_ = 0, written_tokens_ = 0;
  bool begun_ = false;   // the stream's head has been sent
  bool failed_ = false;  // the client has been told of an error, or needs no answer any more
};

// "stop", "length", or what the client never sees.
const char* finish_reason(StopReason reason);

// The ids of answers: a prefix and 24 letters and digits, of which none has been given out before.
std::string new_id(const std::string& prefix);

}  // namespace anser::openai
