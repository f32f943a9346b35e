#include "server/openai/writing.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <random>
#include <utility>

#include "anser/error.h"
#include "server/answering.h"
#include "server/openai/sentence_reader.h"
#include "server/send_pieces.h"

namespace anser::openai {

const char* finish_reason(StopReason reason) {
  switch (reason) {
    case StopReason::length:
      return "length";
    case StopReason::stop_token:
    case StopReason::stop_text:
    case StopReason::complete:
      return "stop";
    case StopReason::cancelled:
      return "cancelled";
  }
  return "?";
}

std::string new_id(const std::string& prefix) {
  constexpr std::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  std::random_device random;
  std::string id = prefix;
  for (int i = 0; i < 24; ++i) id += kLetters[random() % kLetters.size()];
  return id;
}

int64_t unix_seconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

std::string event_text(const Json& data) {
  return "data: " + dumped(data) + "\n\n";
}

ApiError error_of(const Finished& finished, const std::string& schema_field) {
  if (finished.ambiguous) return {400, "invalid_request_error", finished.error, schema_field};
  if (finished.no_memory) return ApiError::unavailable(kNoMemory);
  return finished.overdue ? ApiError::unavailable(finished.error)
                          : ApiError(500, "server_error", finished.error);
}

// Between the scheduler and its place in the answer.
class Writing::TextReader final : public Reader {
 public:
  TextReader(std::shared_ptr<Writing> writing, int index)
      : writing_(std::move(writing)), index_(index) {}
  bool on_text(std::string_view piece, std::vector<TokenDetails> details) override {
    return writing_->on_text(index_, piece, std::move(details));
  }
  void on_end(Finished finished) override {
    try {
      if (!renew_memory_reserve()) throw std::bad_alloc();
      writing_->on_end(index_, std::move(finished));
    } catch (const std::exception&) {  // for want of memory
      writing_->give_up();
    }
  }

 private:
  const std::shared_ptr<Writing> writing_;
  const int index_;
};

// Of what is read in place of a text. If that fails, the text's own state will do.
class Writing::InsteadReader final : public Reader {
 public:
  InsteadReader(std::shared_ptr<Writing> writing, int index, StopReason reason,
                std::shared_ptr<const State> otherwise)
      : writing_(std::move(writing)),
        index_(index),
        reason_(reason),
        otherwise_(std::move(otherwise)) {}
  bool on_text(std::string_view, std::vector<TokenDetails>) override { return true; }
  void on_end(Finished finished) override {
    const bool read = finished.error.empty() && finished.reason == StopReason::length;
    writing_->save_later(
        index_, reason_,
        read ? std::make_shared<const State>(std::move(finished.state)) : otherwise_);
  }

 private:
  const std::shared_ptr<Writing> writing_;
  const int index_;
  const StopReason reason_;
  const std::shared_ptr<const State> otherwise_;
};

Writing::Writing(std::unique_ptr<Answer> answer, Delivery delivery,
                 std::shared_ptr<http::Reply> reply, Scheduler& scheduler)
    : delivery_(delivery),
      reply_(std::move(reply)),
      scheduler_(scheduler),
      answer_(std::move(answer)) {}

void Writing::start(std::vector<Order> orders, size_t prompt_tokens, size_t state_tokens) try {
  std::vector<std::shared_ptr<Reader>> readers;
  for (size_t i = 0; i < orders.size(); ++i) {
    orders[i].keep_state = saving_.has_value();
    readers.push_back(std::make_shared<TextReader>(shared_from_this(), int(i)));
    if (sentences_ && orders[i].generation.constraint == nullptr) {
      readers.back() = std::make_shared<SentenceReader>(
          std::move(readers.back()), sentences_->decode(orders[i].prompt),
          orders[i].generation.max_tokens, orders[i].generation.min_tokens);
    }
  }
  {
    const std::lock_guard lock(mutex_);
    left_ = orders.size();
    texts_.resize(orders.size());
    unsent_.resize(orders.size());
    usage_.prompt_tokens = prompt_tokens + state_tokens;
    usage_.cached_tokens = state_tokens_ = state_tokens;
    // Whatever can fail comes before all have a place in the queue, or none; and the lock is held,
    // so that nothing of an answer goes out before its opening.
    const std::string opening = delivery_.stream ? answer_->opening() : "";
    ids_ = scheduler_.submit(std::move(orders), std::move(readers));
    if (ids_.empty()) return fail(ApiError::busy("too many requests are waiting; try again later"));
    if (delivery_.stream) {
      begun_ = true;
      reply_->begin(200, "text/event-stream", {{"Cache-Control", "no-cache"}});
      send(opening);
    }
  }
  reply_->on_close([weak = weak_from_this()] {
    if (const auto writing = weak.lock()) writing->cancel_all();
  });
} catch (const std::exception&) {
  cancel_all();  // whoever called answers in place of the texts
  throw;
}

// There is no memory for the answer, nor may the scheduler's thread hear of it.
void Writing::give_up() noexcept {
  try {
    cancel_all();
    reply_->error(503, kNoMemory, {{"Retry-After", "1"}});
  } catch (const std::exception&) {
    // The reply tells the client that nobody has answered, when it goes.
  }
}

void Writing::cancel_all() {
  const std::lock_guard lock(mutex_);
  failed_ = true;
  for (const Scheduler::Id id : ids_) scheduler_.cancel(id);
}

bool Writing::on_text(int index, std::string_view piece, std::vector<TokenDetails> details) {
  const std::lock_guard lock(mutex_);
  if (failed_) return false;
  if (saving_ && saving_->instead) texts_[size_t(index)] += piece;
  Unsent& unsent = unsent_[size_t(index)];
  unsent.text += piece;
  std::ranges::move(details, std::back_inserter(unsent.details));
  if (is_due(index)) send_unsent(index);
  return !failed_;
}

// An event a token would cost as much as the token does with a small model: JSON, a system call, a
// thread to wake. Time has the same ticks for all texts, so that all are sent after one step, and
// the engine has its cores to itself in between. What is not streamed comes at the end; but tokens'
// details take much room as they come from the scheduler, and the answer keeps them in less.
bool Writing::is_due(int index) {
  if (!delivery_.stream) return !unsent_[size_t(index)].details.empty();
  if (delivery_.interval.count() == 0) return true;
  const int64_t tick = std::chrono::steady_clock::now().time_since_epoch() / delivery_.interval;
  return tick != std::exchange(unsent_[size_t(index)].tick, tick);
}

void Writing::send_unsent(int index) {
  Unsent& unsent = unsent_[size_t(index)];
  if (unsent.text.empty() && unsent.details.empty()) return;
  send(answer_->piece(index, unsent.text, unsent.details));
  unsent.text.clear();
  unsent.details.clear();
}

void Writing::on_end(int index, Finished finished) {
  const std::lock_guard lock(mutex_);
  usage_.cached_tokens = std::max(usage_.cached_tokens, state_tokens_ + finished.cached_tokens);
  usage_.written_tokens += finished.drawn_tokens;
  if (failed_) return;
  if (!finished.error.empty()) return fail(error_of(finished, schema_field_));
  // Nobody but the scheduler's own end cancels what has not failed.
  if (finished.reason == StopReason::cancelled) {
    return fail(ApiError::unavailable("the server is ending; ask again"));
  }
  send_unsent(index);
  if (!saving_) return end_text(index, {.reason = finished.reason});
  auto state = std::make_shared<const State>(std::move(finished.state));
  if (!saving_->instead) return save_later(index, finished.reason, std::move(state));
  saving_->desk->rendering().add(
      [self = shared_from_this(), index, reason = finished.reason, state = std::move(state)] {
        self->or_fail([&] { self->read_instead(index, reason, state); });
      });
}

void Writing::read_instead(int index, StopReason reason, std::shared_ptr<const State> state) {
  const std::lock_guard lock(mutex_);
  if (failed_) return;
  try {
    std::optional<Order> order = saving_->instead(texts_[size_t(index)], reason);
    if (order) {
      order->generation.max_tokens = 0;
      order->keep_state = true;
      ids_.reserve(ids_.size() + 1);
      const Scheduler::Id id = scheduler_.submit(
          *std::move(order),
          std::make_shared<InsteadReader>(shared_from_this(), index, reason, state));
      if (id != 0) return ids_.push_back(id);
    }
  } catch (const Error&) {
    // There is nothing to be read, for one: the text's own state will do.
  }
  save_later(index, reason, std::move(state));
}

// Not on the scheduler's thread, which all texts wait for.
void Writing::save_later(int index, StopReason reason, std::shared_ptr<const State> state) {
  saving_->desk->errands().add(
      [self = shared_from_this(), index, reason, state = std::move(state)] {
        self->or_fail([&] { self->save(index, reason, *state); });
      });
}

// An answer is not lost with its state.
void Writing::save(int index, StopReason reason, const State& state) {
  Ending ending{.reason = reason, .saving = true};
  StateLabels labels;
  {
    const std::lock_guard lock(mutex_);
    if (failed_) return;
    labels = answer_->labels(reason, usage_, saving_->labels);
  }
  try {
    ending.state = saving_->desk->save(state, saving_->parent, labels, saving_->id).id;
  } catch (const ApiError& error) {
    ending.state_error = error.what();
    ending.state_error_code = error.code();
  } catch (const std::exception&) {
    ending.state_error = kInternalError;
  }
  const std::lock_guard lock(mutex_);
  if (!failed_) end_text(index, ending);
}

// An errand must not throw, and the client waits for an answer.
void Writing::or_fail(const std::function<void()>& errand) {
  try {
    errand();
  } catch (const std::exception&) {
    const std::lock_guard lock(mutex_);
    if (!failed_) fail(ApiError(500, "server_error", kInternalError));
  }
}

void Writing::end_text(int index, const Ending& ending) {
  send(answer_->ending(index, ending));
  if (--left_ == 0 && !failed_) complete();
}

void Writing::fail(const ApiError& error) {
  failed_ = true;
  for (const Scheduler::Id id : ids_) scheduler_.cancel(id);
  if (!begun_) return send_error(*reply_, error);
  for (size_t i = 0; i < unsent_.size(); ++i) send_unsent(int(i));
  reply_->write(answer_->failure(error));
  reply_->end();
}

void Writing::complete() {
  if (!delivery_.stream) return send_whole();
  reply_->write(answer_->closing(usage_));
  reply_->end();
}

// At once if it is short, and not on the scheduler's thread if it is not.
void Writing::send_whole() {
  auto pieces = std::make_shared<JsonPieces>(answer_->whole(usage_));
  std::string body = pieces->next(), more = pieces->next();
  if (!more.empty() && delivery_.senders != nullptr) {
    return delivery_.senders->add([self = shared_from_this(), pieces, body = body + more] {
      send_json_pieces(
          self->reply_, body, [self, pieces] { return pieces->next(); }, *self->delivery_.senders);
    });
  }
  reply_->send(200, kJsonType, body + more + pieces->rest());
}

void Writing::send(const std::string& events) {
  if (!delivery_.stream || events.empty()) return;
  if (!reply_->write(events)) failed_ = true;
}

}  // namespace anser::openai
