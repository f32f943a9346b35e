// Continuous batching: many texts written at once on one engine, each as if it were alone.
//
// A text joins the batch between two steps and leaves it as soon as it ends. Long prompts are read
// in pieces beside the texts that are being written, so that nobody waits longer than a piece for
// the next token. On a CPU, and on a GPU with EngineOptions::invariant, every text is bit for bit
// what generate() writes, whoever else is in the batch.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "anser/engine.h"
#include "anser/generate.h"
#include "anser/state_trace.h"

namespace anser {

struct SchedulerOptions {
  // Requests that take part in one step. Clients (Order::client) share these places, and the time
  // that prompts have, equally; what one does not need is for the others. Where requests of one
  // client wait, its shortest and its oldest prompts come first, in turn. A request that has to
  // give up its place to another client is paused between two tokens, its state kept; up to four
  // times `max_batch` have a state.
  int max_batch = 32;
  // That may wait without a state; more are refused, but those of a client that has fewer waiting
  // than its equal share.
  int max_queue = 256;
  // The longest that the prompts of others may hold up a text that is being written, in seconds: a
  // step reads so much of all prompts as takes this long here (never less than 16 tokens).
  double piece_seconds = 0.05;
  // The longest that a text may wait, and that it may be in work, in seconds; 0: as long as it
  // takes. Who has waited too long, or whose prompt has not been read by then, fails; a text that
  // is being written ends as if its length had been reached. Looked at between steps.
  double max_wait_seconds = 0, max_seconds = 0;
  // What states after beginnings of texts may take, so that no beginning is read twice; 0: none are
  // kept. One takes what Model::initial_state() and a row of logits take.
  size_t cache_bytes = size_t(256) << 20;
  // One client's cached states serve others, too. If not, no client can find out from times and
  // from Finished::cached_tokens what others have asked.
  bool shared_cache = true;
  // What the prompts of all that wait may take; one alone always may. Beyond it more are refused,
  // as beyond max_queue. A token takes 8 bytes.
  uint64_t queue_bytes = uint64_t(1) << 30;
};

// What a token was drawn from, before penalties and biases, at temperature 1.
struct TokenLogprob {
  Token token;
  float logprob;
};
struct TokenDetails {
  TokenLogprob drawn;
  std::vector<TokenLogprob> top;  // the most probable, in falling order
  int rank = 0;  // of `drawn`: 1 more than there are more probable ones; 0 where none is known
};

// A text to be written.
struct Order {
  State state;                // where it begins; may have logits to go on from
  std::vector<Token> prompt;  // read first; may be empty if the state has logits
  GenerateOptions generation = {};
  // < 0: no details of tokens are wanted; else how many of the most probable come with each.
  int top_logprobs = -1;
  // The same of the prompt's tokens: their details come first, with pieces of no text. The first
  // token has none (NaN, no top) unless `state` has logits. The whole prompt is read, whatever the
  // cache has of it.
  int prompt_logprobs = -1;
  // Details of the generated tokens are wanted, if only which they are: without top_logprobs they
  // have no logprob (NaN, no top).
  bool token_ids = false;
  // The state is wanted at the end. It costs one more token to be read where the length ended it.
  bool keep_state = false;
  // What every token that is read does to the state is wanted at the end; on the CPU only. Nothing
  // comes from the cache then.
  bool trace = false;

  // What `state` is, by a name of the caller's: orders with the same name begin with equal states,
  // and the cache knows beginnings by it. Empty is the model's initial state; another state without
  // a name has no part in the cache.
  std::string origin = {};
  // Who asks: shares are per client. Any text.
  std::string client = {};
  // Numbers of tokens of the prompt after which others are likely to go on otherwise (where
  // messages end): states are kept there, besides those at powers of two, at the prompt's end and
  // where prompts have been seen to part.
  std::vector<size_t> checkpoints = {};
  // Of what whoever asks keeps until the end, besides the prompt; it counts in queue_bytes.
  uint64_t kept_bytes = 0;
};

struct Finished {
  StopReason reason = StopReason::length;
  std::string error;          // not empty: it failed, and nothing else here counts
  bool overdue = false;       // why it failed: SchedulerOptions::max_wait_seconds or max_seconds
  bool ambiguous = false;     // why it failed: its constraint takes too long to be followed
  bool no_memory = false;     // why it failed: there was no memory for it just then
  std::vector<Token> tokens;  // all that the state has read after the prompt
  // How many tokens were drawn: as many as there were details of the text's. More than `tokens`
  // where a stop token ended it, or where a stop string was taken out of what the state has read.
  size_t drawn_tokens = 0;
  // With Order::keep_state; empty when the text was cancelled. On the host, for any thread.
  State state;
  StateTrace trace;          // with Order::trace: of the prompt's tokens, then of those written
  size_t cached_tokens = 0;  // of the prompt, that did not have to be read
  double queued_s = 0, prompt_s = 0, generated_s = 0;
};

// Who a text is written for. The calls of one text come one after the other; those of several may
// come at the same time, from the scheduler's thread and the engine's. None may throw or wait, for
// the whole batch waits with it.
class Reader {
 public:
  virtual ~Reader() = default;
  // A piece of text, complete UTF-8 characters, may be empty with `details`: of the tokens drawn
  // since the last call, if they are wanted (a token's text may come with a later call). Return
  // false to cancel; on_end() follows.
  virtual bool on_text(std::string_view piece, std::vector<TokenDetails> details) = 0;
  // Exactly once, whatever happens.
  virtual void on_end(Finished finished) = 0;
};

struct SchedulerStats {
  int running = 0, queued = 0;
  int paused = 0;              // of those running, that had no place in the last step
  uint64_t prompt_tokens = 0;  // read; cached_tokens did not have to be
  uint64_t cached_tokens = 0, generated_tokens = 0, steps = 0;
  size_t cached_states = 0, cache_bytes = 0;
  uint64_t queued_bytes = 0;  // of the prompts of those queued
  uint64_t finished = 0, cancelled = 0, failed = 0, refused = 0;
  uint64_t overdue = 0;  // of the finished and the failed: their time was over
  // The longest time between two tokens of a text, with all that happens in between: prompts of
  // others, draws, what constraints allow. Where a text alone waited because its own constraint is
  // ambiguous, and sat out the steps of the others, that time is the second.
  double longest_step_s = 0, longest_mask_s = 0;
};

// One thread of its own, which from now on is the only one that may use the engine. All functions
// may be called from any thread.
class Scheduler {
 public:
  using Id = uint64_t;

  // The engine must outlive the scheduler.
  explicit Scheduler(Engine& engine, const SchedulerOptions& options = {});
  ~Scheduler();  // cancels whatever is left
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // 0: the queue is full, and the reader will hear nothing. Throws Error, before anything has
  // happened, for what Engine::forward and generate() would refuse: a token outside the vocabulary,
  // a state of another model, nothing to go on from, bad options.
  Id submit(Order order, std::shared_ptr<Reader> reader);
  // All of them or none: empty, and no reader will hear anything, if there is not room for all;
  // throws if one is refused. A reader for each order; the orders are of one client.
  std::vector<Id> submit(std::vector<Order> orders, std::vector<std::shared_ptr<Reader>> readers);

  // Ends it before the next step, if it has not ended. on_end() is called with what there is.
  void cancel(Id id);

  // Takes no more orders (submit gives 0) and returns when all have ended, or after so many
  // seconds: true if nothing is left.
  bool drain(double seconds);

  // Takes no more orders, and ends all before the next step: a text that is being written and keeps
  // its state ends as if its length had been reached, so that it can go on another day; the others
  // are cancelled. Returns at once; drain() waits.
  void conclude();

  SchedulerStats stats() const;

 private:
  class Work;
  std::unique_ptr<Work> work_;
};

}  // namespace anser
