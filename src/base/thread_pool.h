// Fork-join over a fixed set of threads. The caller is worker 0.
//
// A step of a model is hundreds of short parallel regions, so a region must cost well under a
// microsecond: workers spin for a while before they sleep, and the work is divided statically,
// which also keeps results and memory placement the same from step to step. A thread may be without
// a core for milliseconds, where other programs want it, too: the caller does the parts of workers
// that have not begun when it is done with its own, and the region ends without them.
//
// One pool belongs to one engine. run() and for_each() may be called from one thread at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>
#include <type_traits>
#include <vector>

namespace anser {

// The half-open part [begin, end) of [0, count) that belongs to one worker, in multiples of
// `grain`.
struct Part {
  int64_t begin, end;
};
Part part_of(int64_t count, int worker, int workers, int64_t grain = 1);

// Cores that this process may use (its affinity mask, not the machine's).
int usable_cores();

// Makes denormal numbers zero on this thread while it lives. A state decays by design, and
// arithmetic on denormals is five to thirteen times slower.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  uint64_t before_;
};

// Makes them numbers again on this thread while it lives, for work that promises what others
// compute.
class KeepDenormals {
 public:
  KeepDenormals();
  ~KeepDenormals();
  KeepDenormals(const KeepDenormals&) = delete;
  KeepDenormals& operator=(const KeepDenormals&) = delete;

 private:
  uint64_t before_;
};

class ThreadPool {
 public:
  // >= 1, with the caller. Throws Error where the system allows fewer.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return int(workers_.size()) + 1; }

  // Calls work(worker) once for every worker in [0, size()), each on the thread of that worker or
  // on the caller's, and returns when all have returned. `work` must not throw, must not call
  // run(), and no part of it may wait for another.
  template <class Work>
  void run(Work&& work) {
    using Plain = std::remove_reference_t<Work>;
    run_erased([](void* w, int worker) { (*static_cast<Plain*>(w))(worker); },
               const_cast<void*>(static_cast<const void*>(&work)));
  }

  // Calls work(i, worker) once for every i in [0, count), for pieces of work that take longer than
  // a region and not all as long: whoever is done takes the next. No two run at once with the same
  // worker, so that it may number scratch. Denormals are numbers. `work` may throw; when all others
  // have been called too, what the lowest i threw is thrown again.
  void for_each(size_t count, const std::function<void(size_t, int)>& work);

 private:
  using Call = void (*)(void*, int);
  void run_erased(Call call, void* work);
  void serve(int worker);
  void stop();

  bool take(int worker, uint32_t round);

  // The round in which a worker's part was last taken. Every part is, in every round, by one
  // thread.
  struct alignas(64) Taken {
    std::atomic<uint32_t> round{0};
  };

  Call call_ = nullptr;  // these two may be read by whoever has taken a part of this round
  void* work_ = nullptr;
  std::atomic<bool> stop_ = false;
  // Own cache lines: the callers write one, the workers the other.
  alignas(64) std::atomic<uint32_t> round_{0};     // counts regions; workers wait for it to change
  alignas(64) std::atomic<uint32_t> finished_{0};  // parts of this round that workers have done
  std::vector<Taken> taken_;
  std::vector<std::jthread> workers_;
};

}  // namespace anser
