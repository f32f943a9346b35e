#include "server/openai/writing.h"

#include <random>
#include <utility>

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

// Between the scheduler and its place in the answer.
class Writing::ChoiceReader final : public Reader {
 public:
  ChoiceReader(std::shared_ptr<Writing> writing, int index)
      : writing_(std::move(writing)), index_(index) {}
  bool on_text(std::string_view piece, std::vector<TokenDetails> details) override {
    return writing_->on_text(index_, piece, details);
  }
  void on_end(Finished finished) override { writing_->on_end(index_, std::move(finished)); }

 private:
  const std::shared_ptr<Writing> writing_;
  const int index_;
};

Writing::Writing(Heading heading, std::string object, std::string chunk_object,
                 std::shared_ptr<http::Reply> reply, Scheduler& scheduler)
    : heading_(std::move(heading)),
      object_(std::move(object)),
      chunk_object_(std::move(chunk_object)),
      reply_(std::move(reply)),
      scheduler_(scheduler) {}

void Writing::start(std::vector<Order> orders, std::vector<std::unique_ptr<Choice>> choices,
                    size_t prompt_tokens) {
  {
    const std::lock_guard lock(mutex_);
    choices_ = std::move(choices);
    whole_.resize(choices_.size());
    left_ = choices_.size();
    prompt_tokens_ = prompt_tokens;
    // The lock is held: nothing of an answer may go out before all have a place in the queue.
    for (size_t i = 0; i < orders.size(); ++i) {
      const Scheduler::Id id = scheduler_.submit(
          std::move(orders[i]), std::make_shared<ChoiceReader>(shared_from_this(), int(i)));
      if (id == 0) {
        failed_ = true;
        const ApiError busy = ApiError::busy("too many requests are waiting; try again later");
        reply_->send(busy.status(), "application/json", busy.body(), {{"Retry-After", "1"}});
        break;
      }
      ids_.push_back(id);
    }
    if (failed_) {
      for (const Scheduler::Id id : ids_) scheduler_.cancel(id);
      return;
    }
    if (heading_.stream) {
      begun_ = true;
      reply_->begin(200, "text/event-stream", {{"Cache-Control", "no-cache"}});
    }
  }
  reply_->on_close([weak = weak_from_this()] {
    if (const auto writing = weak.lock()) writing->cancel_all();
  });
}

void Writing::cancel_all() {
  const std::lock_guard lock(mutex_);
  failed_ = true;
  for (const Scheduler::Id id : ids_) scheduler_.cancel(id);
}

bool Writing::on_text(int index, std::string_view piece, const std::vector<TokenDetails>& details) {
  const std::lock_guard lock(mutex_);
  if (failed_) return false;
  const std::vector<Json> chunks = choices_[size_t(index)]->chunks(piece, details);
  if (heading_.stream) send(chunks);
  return !failed_;
}

void Writing::on_end(int index, Finished finished) {
  const std::lock_guard lock(mutex_);
  --left_;
  cached_tokens_ = std::max(cached_tokens_, finished.cached_tokens);
  written_tokens_ += finished.tokens.size();
  if (failed_) return;
  if (!finished.error.empty()) {
    failed_ = true;
    for (const Scheduler::Id id : ids_) scheduler_.cancel(id);
    const ApiError error = finished.overdue ? ApiError::unavailable(finished.error)
                                            : ApiError(500, "server_error", finished.error);
    http::Headers headers;
    if (finished.overdue) headers.add("Retry-After", "1");
    if (!begun_) return reply_->send(error.status(), "application/json", error.body(), headers);
    reply_->write("data: " + error.body() + "\n\n");
    return reply_->end();
  }
  Choice& choice = *choices_[size_t(index)];
  if (heading_.stream) {
    send(choice.last_chunks(finished.reason));
  } else {
    whole_[size_t(index)] = choice.whole(finished.reason);
  }
  if (left_ == 0) complete();
}

void Writing::complete() {
  if (failed_) return;
  if (!heading_.stream) {
    Json body = head(object_);
    body["choices"] = std::move(whole_);
    body["usage"] = usage();
    return reply_->send(200, "application/json",
                        body.dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  if (heading_.include_usage) {
    Json chunk = head(chunk_object_);
    chunk["choices"] = Json::array();
    chunk["usage"] = usage();
    reply_->write("data: " + chunk.dump() + "\n\n");
  }
  reply_->write("data: [DONE]\n\n");
  reply_->end();
}

// One for every token of every stream: what all chunks begin with is written once.
void Writing::send(const std::vector<Json>& choices) {
  if (chunk_head_.empty()) {
    chunk_head_ =
        "data: " + head(chunk_object_).dump(-1, ' ', false, Json::error_handler_t::replace);
    chunk_head_.back() = ',';  // for the brace
    chunk_head_ += "\"choices\":[";
  }
  for (const Json& choice : choices) {
    std::string text = chunk_head_ + choice.dump(-1, ' ', false, Json::error_handler_t::replace);
    text += heading_.include_usage ? "],\"usage\":null}\n\n" : "]}\n\n";
    if (!reply_->write(text)) failed_ = true;
  }
}

Json Writing::head(const std::string& object) const {
  return {{"id", heading_.id},
          {"object", object},
          {"created", heading_.created},
          {"model", heading_.model}};
}

Json Writing::usage() const {
  return {{"prompt_tokens", prompt_tokens_},
          {"completion_tokens", written_tokens_},
          {"total_tokens", prompt_tokens_ + written_tokens_},
          {"prompt_tokens_details", {{"cached_tokens", cached_tokens_}}}};
}

}  // namespace anser::openai
