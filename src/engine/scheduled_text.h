// A text in the scheduler's queue or in its batch: what was ordered, how far it has come, and whom
// it is written for.
#pragma once

#include <chrono>
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

namespace anser {

// Throws Error for an order that the engine would refuse.
void check_order(const Order& order, const Model& model);

struct ScheduledText {
  using Clock = std::chrono::steady_clock;
  // States are kept after 256, 512, 1024 ... tokens of a prompt.
  static constexpr size_t kFirstStride = 256;

  ScheduledText(Order&& order, const Tokenizer& tokenizer, std::shared_ptr<Reader> to,
                bool may_be_cached);

  Scheduler::Id id = 0;
  const std::shared_ptr<Reader> reader;
  Continuation continuation;
  State state, marked;
  StateTrace trace;
  std::vector<Token> pending;  // to be read by the model, from `fed` on
  size_t fed = 0;
  bool writing = false;           // the prompt has been read
  std::optional<StopReason> end;  // it ends once `pending` has been read
  const int top_logprobs;
  const bool keep_state, traced;
  const bool cached;
  const std::string origin;
  std::vector<Token> prompt;
  std::set<size_t> checkpoints;  // numbers of tokens of the prompt
  size_t cached_tokens = 0;
  // Another text is reading the same beginning: this one waits until so much of it has been read.
  Scheduler::Id leader = 0;
  size_t shared = 0;
  std::vector<TokenDetails> details;  // not given to the reader yet

  Clock::time_point submitted = Clock::now(), begun = submitted, written = submitted;

  // Rows of others' prompts that one of its own takes as long as. Three is what a traced row costs
  // with the embedded model; where products are larger, a trace's share is smaller.
  size_t row_cost() const { return traced ? 3 : 1; }

  size_t left() const { return pending.size() - fed; }
  // Reading, or waiting for one that reads the same.
  bool in_prompt() const { return !writing && left() > 0; }
  std::span<const Token> read_so_far() const { return std::span(prompt).first(fed); }

  // False: the reader wants no more.
  bool give(std::string_view piece) {
    if (piece.empty() && details.empty()) return true;
    return reader->on_text(piece, std::exchange(details, {}));
  }
};

}  // namespace anser
