// The threads on which requests are prepared: bodies are parsed, prompts tokenised, schemas
// compiled and answers to them written. HTTP's own threads do nothing that grows with what a client
// sends, so that they always have time for everybody else's bytes; what waits for a disk or for
// Redis is done by the background pool of the state service (errands.h), so that neither waits for
// the other.
//
// Large requests have a lane of their own, with one thread of low priority: however many there are,
// a small request waits for none of them, and the engine's threads lose no step to them.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "server/errands.h"
#include "server/http/reply.h"

namespace anser {

class Workers {
 public:
  // Hears of exceptions that are no errors of the request's, from any thread.
  using OnFault = std::function<void(const std::string& what)>;
  explicit Workers(OnFault on_fault);

  // Bodies of more bytes than this take the lane of large requests.
  static constexpr size_t kLargeBody = 256 << 10;

  using Reply = std::shared_ptr<http::Reply>;
  // Queues the first part of a request's work; `body_bytes` is the size of its body. What the work
  // throws answers the request, and nothing is done for a client that has gone meanwhile. Throws
  // ApiError (429) when too many requests are queued.
  void start(size_t body_bytes, Reply reply, std::function<void()> work);
  // The same for a later part, which is never refused, and comes before all that have not begun:
  // it holds what the first has read, which may take many times the body's bytes.
  void go_on(size_t body_bytes, Reply reply, std::function<void()> work);

  // Whether nothing is queued or running.
  bool idle() const { return small_.idle() && large_.idle(); }
  // Returns when nothing is left to do.
  void wait();

 private:
  std::function<void()> job(size_t body_bytes, Reply reply, std::function<void()> work);
  Errands& lane(size_t body_bytes) { return body_bytes > kLargeBody ? large_ : small_; }

  const OnFault on_fault_;
  Errands small_, large_;  // the last, so that they end first
};

}  // namespace anser
