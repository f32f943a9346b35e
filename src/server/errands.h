// A background pool: threads for what takes time and nobody may wait for. States are compressed,
// written and read on one, requests are prepared on others (workers.h).
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace anser {

class Errands {
 public:
  // `begin` is called first on each thread.
  Errands(int threads, size_t many, const std::function<void()>& begin = {});
  // Runs all that was added, also what that adds.
  ~Errands();
  Errands(const Errands&) = delete;
  Errands& operator=(const Errands&) = delete;

  // Never waits, and never refuses: what is already done must not be lost. The errand must not
  // throw. It may run at the same time as others, and after those that were added later. What it
  // asks a store for is asked on behalf of a request that came when it was added (store/arrival.h).
  void add(std::function<void()> errand);
  // The same before all that wait: for what has begun, and holds what it has read.
  void add_first(std::function<void()> errand);
  // More than `many` wait: who can still be told to come again shall be.
  bool busy() const;
  size_t waiting() const;
  // Nothing waits, and nothing runs.
  bool idle() const;
  // Returns when nothing is left to do.
  void wait();

 private:
  void run();
  void end();

  const size_t many_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  struct Errand {
    std::chrono::steady_clock::time_point came;
    std::function<void()> run;
  };
  std::deque<Errand> waiting_;
  size_t running_ = 0;
  bool ending_ = false;
  std::vector<std::jthread> threads_;  // the last, so that they end before the rest does
};

}  // namespace anser
