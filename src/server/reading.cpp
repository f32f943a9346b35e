#include "server/reading.h"

#include <utility>

#include "server/answering.h"
#include "server/openai/writing.h"

namespace anser {

using openai::ApiError;

namespace {

class PromptReader final : public Reader {
 public:
  PromptReader(std::shared_ptr<http::Reply> reply, std::function<void(const State&)> then,
               StateDesk& desk)
      : reply_(std::move(reply)), then_(std::move(then)), desk_(desk) {}

  bool on_text(std::string_view, std::vector<TokenDetails>) override { return true; }

  void on_end(Finished finished) override {
    if (reply_->closed()) return;
    if (!finished.error.empty()) return send_error(*reply_, openai::error_of(finished));
    if (finished.reason == StopReason::cancelled) {
      return send_error(*reply_, ApiError::unavailable("the server is ending; ask again"));
    }
    desk_.run(reply_, [then = std::move(then_), state = std::make_shared<const State>(
                                                    std::move(finished.state))] { then(*state); });
  }

 private:
  const std::shared_ptr<http::Reply> reply_;
  std::function<void(const State&)> then_;
  StateDesk& desk_;
};

}  // namespace

void read_prompt(Scheduler& scheduler, Order order, std::shared_ptr<http::Reply> reply,
                 std::function<void(const State&)> then, StateDesk& desk) {
  order.generation.max_tokens = 0;
  order.keep_state = true;
  const Scheduler::Id id = scheduler.submit(
      std::move(order), std::make_shared<PromptReader>(reply, std::move(then), desk));
  if (id == 0) throw ApiError::busy("too many requests are waiting; try again later");
  reply->on_close([&scheduler, id] { scheduler.cancel(id); });
}

}  // namespace anser
