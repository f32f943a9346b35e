// When the request came for which this thread calls a store. Time that it has waited in a queue is
// part of the time that it may wait for a server that keeps silent.
#pragma once

#include <chrono>
#include <optional>

namespace anser {

class Arrival {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Of what this thread does as long as the object lives. They may be nested.
  explicit Arrival(Time when) : before_(current_) { current_ = when; }
  ~Arrival() { current_ = before_; }
  Arrival(const Arrival&) = delete;
  Arrival& operator=(const Arrival&) = delete;

  static std::optional<Time> of_this_thread() { return current_; }

 private:
  static inline thread_local std::optional<Time> current_;
  const std::optional<Time> before_;
};

}  // namespace anser
