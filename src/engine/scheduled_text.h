// A text in the scheduler's queue or in its batch: what was ordered, how far it has come, and whom
// it is written for.
#pragma once

#include <chrono>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "anser/scheduler.h"
#include "engine/continuation.h"
#include "engine/logprobs.h"
#include "scheduler/plan.h"

namespace anser {

// Throws Error for an order that the engine would refuse.
void check_order(const Order& order, const Model& model);

// Who has requests here; the scheduler's thread alone looks at its turns.
struct ScheduledClient {
  std::string name;
  scheduling::Client turns;
  uint64_t seen = 0;  // the step that it was last part of
  size_t index = 0;   // in that step's plan
};

struct ScheduledText {
  using Clock = std::chrono::steady_clock;
  // States are kept after 256, 512, 1024 ... tokens of a prompt.
  static constexpr size_t kFirstStride = 256;

  ScheduledText(Order&& order, const Tokenizer& tokenizer, std::shared_ptr<Reader> to,
                bool may_be_cached);

  // What a small request has at most, prompt and answer together (scheduling::Running).
  static constexpr size_t kSmall = 256;

  Scheduler::Id id = 0;
  const std::shared_ptr<Reader> reader;
  Continuation continuation;
  State state, marked;
  StateTrace trace;
  bool from_the_beginning = false;  // `state` is the model's initial one, made when work begins
  std::vector<Token> pending;       // to be read by the model, from `fed` on
  size_t fed = 0;
  bool writing = false;           // the prompt has been read
  std::optional<StopReason> end;  // it ends once `pending` has been read
  const int top_logprobs, prompt_logprobs;
  const bool token_ids;
  const uint64_t kept_bytes;
  const bool keep_state, traced, small;
  const bool cached;
  const std::string origin;  // as the cache knows it
  std::vector<Token> prompt;
  std::set<size_t> checkpoints;  // numbers of tokens of the prompt
  size_t cached_tokens = 0;
  // Another text is reading the same beginning: this one waits until so much of it has been read.
  Scheduler::Id leader = 0;
  size_t shared = 0;
  std::vector<TokenDetails> details;  // not given to the reader yet
  size_t drawn_tokens = 0;

  Clock::time_point submitted = Clock::now(), begun = submitted, written = submitted;

  bool overdue = false, ambiguous = false;
  bool no_memory = false;  // while its token was taken
  bool told = false;       // the reader has been told of the end, or is being told

  // What may come next, of a text with a constraint: nobody looks for it, it is being prepared
  // (engine/mask_preparation.h), or it is at hand.
  enum class Mask { unknown, in_preparation, ready };
  Mask mask = Mask::unknown;
  bool waited_for_mask = false;  // since its last token
  Clock::time_point last_token;  // when it was drawn; at first when the prompt had been read

  std::shared_ptr<ScheduledClient> client;  // set when it is submitted
  uint64_t last_turn = 0;                   // scheduling::Running

  // Rows of others' prompts that one of its own takes as long as. Three is what a traced row costs
  // with the embedded model; where products are larger, a trace's share is smaller.
  size_t row_cost() const { return traced ? 3 : 1; }

  // What its prompt takes while it waits, and what is kept of its request.
  uint64_t prompt_bytes() const {
    return (prompt.size() + pending.size()) * sizeof(Token) + kept_bytes;
  }

  size_t left() const { return pending.size() - fed; }
  // Reading, or waiting for one that reads the same.
  bool in_prompt() const { return !writing && left() > 0; }
  bool wants_all_logits() const { return prompt_logprobs >= 0 && !writing; }
  std::span<const Token> read_so_far() const { return std::span(prompt).first(fed); }

  // To `details`, of the prompt's token `at`, which these logits came before; of its first there
  // may be none.
  void describe_prompt(size_t at, std::span<const float> logits) {
    if (at >= prompt.size()) return;
    if (logits.empty()) {
      describe_by_id(prompt[at]);
    } else {
      details.push_back(token_details(logits, prompt[at], prompt_logprobs));
    }
  }
  // Nothing is known of the token but which it is.
  void describe_by_id(Token token) {
    details.push_back({{token, std::numeric_limits<float>::quiet_NaN()}, {}});
  }

  // False: the reader wants no more.
  bool give(std::string_view piece) {
    if (piece.empty() && details.empty()) return true;
    return reader->on_text(piece, std::exchange(details, {}));
  }
};

}  // namespace anser
