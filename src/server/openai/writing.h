// The texts of one request while they are being written: from the scheduler's readers to one body,
// or to a stream of server-sent events. What these look like is the Answer's affair.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "anser/scheduler.h"
#include "anser/tokenizer.h"
#include "server/errands.h"
#include "server/http/reply.h"
#include "server/openai/api_error.h"
#include "server/openai/json_pieces.h"
#include "server/state_desk.h"

namespace anser::openai {

// What shall be read in place of `text`, which has been written, for the state to be that which is
// wanted. Nothing: the state is.
using Instead = std::function<std::optional<Order>(const std::string& text, StopReason)>;

// The state at the end of each text is stored.
struct Saving {
  StateDesk* desk;
  std::string parent;  // an id, or empty
  StateLabels labels;
  std::string id = {};  // of the new state; empty: any
  Instead instead = {};
};

// Tokens of all texts together.
struct Usage {
  // What was there before the texts; of it, what did not have to be read.
  size_t prompt_tokens = 0, cached_tokens = 0;
  // Drawn: also the stop token that ended a text, and what a stop string hid. Each has an entry in
  // the lists of logprobs.
  size_t written_tokens = 0;
};

// How a text ended, and what became of its state.
struct Ending {
  StopReason reason;
  bool saving = false;                // the state was wanted; then one of these is there:
  std::string state = {};             // its id
  std::string state_error = {};       // why it is not kept
  std::string state_error_code = {};  // the same for programs: name_taken, store_full
};

// What a client sees. Called by a Writing, by one thread at a time. A stream's functions return
// events, as they are sent; for whole answers they are called, too, and whole() after them.
class Answer {
 public:
  virtual ~Answer() = default;
  virtual std::string opening() { return {}; }
  virtual std::string piece(int index, std::string_view text,
                            const std::vector<TokenDetails>& details) = 0;
  // The text has ended, and its state is about to be stored: under which labels?
  virtual StateLabels labels(StopReason, const Usage&, StateLabels given) { return given; }
  virtual std::string ending(int index, const Ending& ending) = 0;
  // After the last ending.
  virtual std::string closing(const Usage& usage) = 0;
  // Made out of this, which must live as long.
  virtual JsonPieces whole(const Usage& usage) = 0;
  // In the midst of a stream, which ends with it.
  virtual std::string failure(const ApiError& error) {
    return "data: " + escape_line_ends(error.body()) + "\n\n";
  }
};

// One body in the end, or events on the way: of each text one at the most every `interval`, with
// all that has been written since the last one; 0: one a token. The first one comes at once.
struct Delivery {
  bool stream;
  std::chrono::milliseconds interval;
  // Where large bodies are put together and sent; they must outlive the reply's connection.
  // nullptr: a body is sent at once, whatever its size.
  Errands* senders = nullptr;
};

// An event's data as it is sent.
std::string event_text(const Json& data);

// Lives as long as somebody writes for it. All functions may be called from any thread.
class Writing : public std::enable_shared_from_this<Writing> {
 public:
  Writing(std::unique_ptr<Answer> answer, Delivery delivery, std::shared_ptr<http::Reply> reply,
          Scheduler& scheduler);

  // Before start().
  void save_states(Saving saving) { saving_ = std::move(saving); }
  // Texts shall end with a sentence if they can: not those that a constraint ends. The tokenizer
  // reads the orders' prompts.
  void end_with_sentences(Tokenizer tokenizer) { sentences_ = std::move(tokenizer); }

  // Where the schema stands that the texts are held to, for errors.
  void name_schema(std::string field) { schema_field_ = std::move(field); }

  // Something that lives as long as this does.
  void hold(std::shared_ptr<void> share) { held_.push_back(std::move(share)); }

  // Hands everything to the scheduler, or nothing: if its queue has not room for all, the client is
  // told to come again; if one is refused, this throws. `prompt_tokens`: of all different prompts,
  // and before them `state_tokens` that stored states have read.
  void start(std::vector<Order> orders, size_t prompt_tokens, size_t state_tokens);

 private:
  class TextReader;
  class InsteadReader;

  bool on_text(int index, std::string_view piece, std::vector<TokenDetails> details);
  void on_end(int index, Finished finished);
  void read_instead(int index, StopReason reason, std::shared_ptr<const State> state);
  void save(int index, StopReason reason, const State& state);
  void save_later(int index, StopReason reason, std::shared_ptr<const State> state);
  void or_fail(const std::function<void()>& errand);
  void cancel_all();
  void give_up() noexcept;
  // Below: with mutex_ held.
  void end_text(int index, const Ending& ending);
  void fail(const ApiError& error);
  void complete();
  void send_whole();
  bool is_due(int index);
  void send_unsent(int index);
  void send(const std::string& events);

  // Of a text, what the answer has not been given yet, and when it was given something last.
  struct Unsent {
    std::string text;
    std::vector<TokenDetails> details;
    int64_t tick = -1;
  };

  const Delivery delivery_;
  const std::shared_ptr<http::Reply> reply_;
  Scheduler& scheduler_;
  std::optional<Saving> saving_;
  std::optional<Tokenizer> sentences_;
  std::string schema_field_;
  std::vector<std::shared_ptr<void>> held_;

  std::mutex mutex_;  // of all that follows
  std::unique_ptr<Answer> answer_;
  std::vector<Scheduler::Id> ids_;
  std::vector<std::string> texts_;  // what has been written, for Saving::instead
  std::vector<Unsent> unsent_;
  size_t left_ = 0;  // texts that have not ended
  Usage usage_;
  size_t state_tokens_ = 0;
  bool begun_ = false;   // the stream's head has been sent
  bool failed_ = false;  // the client has been told of an error, or needs no answer any more
};

// "stop", "length", or what the client never sees.
const char* finish_reason(StopReason reason);

// What a client is told of a text that has failed.
// `schema_field`: where the schema of its constraint stands in the request.
ApiError error_of(const Finished& finished, const std::string& schema_field = {});

// The ids of answers: a prefix and 24 letters and digits, of which none has been given out before.
std::string new_id(const std::string& prefix);

int64_t unix_seconds();

}  // namespace anser::openai
