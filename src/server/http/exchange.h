// One request's answer on its way: the handler's threads put bytes in, the connection takes them
// out.
//
// Everything may be called from any thread. Bytes are already HTTP here: head, chunks, last chunk.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/headers.h"
#include "server/http/options.h"
#include "server/http/send_budget.h"

namespace anser::http {

class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  struct Form {
    bool http11 = true;
    bool keep_alive = true;  // the connection takes another request after this
    bool head = false;       // the client wants no body
    Headers fields = {};     // Options::answer_fields
  };
  // `wake` tells the connection that there is something to take; it is called with a lock held and
  // must only queue. From `stopping` on the connection takes no other request.
  Exchange(Form form, std::shared_ptr<const Options> options,
           std::shared_ptr<const std::atomic<bool>> stopping, std::shared_ptr<SendBudget> budget,
           std::function<void()> wake);
  ~Exchange();

  // The handler's side, see reply.h.
  void send(int status, std::string_view content_type, std::string_view body, const Headers& more);
  void error(int status, const std::string& message, const Headers& more);
  void begin(int status, std::string_view content_type, const Headers& more,
             std::optional<uint64_t> length);
  bool write(std::string_view chunk);
  bool reserve(uint64_t bytes);
  void on_drained(std::function<void()> drained);
  bool wants_body() const { return !form_.head; }
  void end();
  bool closed() const;
  void on_close(std::function<void()> gone);
  uint64_t pending() const;
  // Nobody will answer any more: 500 or a cut, if the answer is not complete.
  void abandon();

  // The connection's side.
  bool cut_off() const;           // the connection has to be cut
  bool take(std::string& bytes);  // replaces `bytes` by all that wait; true if they are the last
  void sent(uint64_t bytes);      // of those taken
  // Bytes that may be sent now without changing the answer, see reply.h; none if there is no need.
  std::string probe();
  bool keep_alive() const;  // after the last bytes
  void detach();            // the connection is gone, or done with this: no wake any more

  // The budget's side.
  void cut_for_room();
  const SendBudget::Progress& progress() const { return progress_; }

 private:
  enum class State { waiting, streaming, complete };
  using Lock = std::unique_lock<std::mutex>;
  void put_head(int status, std::string_view content_type, const Headers& more,
                std::string_view framing);
  void put_whole(Lock& lock, int status, std::string_view content_type, std::string_view body,
                 const Headers& more);
  void finish(Lock& lock);
  bool is_in(State expected);
  void refuse(uint64_t bytes);
  bool needs_room(uint64_t bytes) const;
  void recount();
  template <class Put>
  void all_or_nothing(const Put& put);
  void cut();
  void wake();
  bool keeps_alive() const { return form_.keep_alive && !*stopping_; }

  const std::shared_ptr<const Options> options_;
  const std::shared_ptr<const std::atomic<bool>> stopping_;
  const std::shared_ptr<SendBudget> budget_;
  mutable std::mutex mutex_;
  Form form_;
  std::function<void()> wake_;
  std::function<void()> gone_, drained_;
  State state_ = State::waiting;
  bool closed_ = false;
  bool cut_ = false;
  bool woken_ = false;  // wake_ was called since the last take()
  uint64_t taken_ = 0;  // bytes that the connection has and the system has not
  std::string out_;
  bool chunked_ = false;
  std::optional<uint64_t> left_;  // of a stream of known length: bytes to come

  // What is counted in the budget: out_ and what the connection has taken of it and not all sent,
  // or what is reserved for that and for a stream's writer.
  std::atomic<uint64_t> held_{0};
  uint64_t taken_whole_ = 0, reserved_ = 0;
  bool entered_ = false;  // in the budget's list
  SendBudget::Progress progress_;
};

}  // namespace anser::http
