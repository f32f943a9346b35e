#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>

#include "base/check.h"
#include "base/start_threads.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace anser {
namespace {

// Longer than what lies between two steps (a token is sampled and printed), for waking a thread
// takes a hundredth of a small model's step; far shorter than what a person would notice as a busy
// core.
constexpr auto kSpin = std::chrono::microseconds(300);

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Returns once `value` differs from `old`.
void wait_for_change(const std::atomic<uint32_t>& value, uint32_t old) {
  using Clock = std::chrono::steady_clock;
  constexpr int kPauses = 100;  // most waits end within these, before the clock is asked at all
  Clock::time_point end;
  do {
    for (int i = 0; i < kPauses; ++i) {
      if (value.load(std::memory_order_acquire) != old) return;
      relax();
    }
    if (end == Clock::time_point()) end = Clock::now() + kSpin;
    // Costs nothing that can be measured where cores are free; where they are not, what is waited
    // for may need this one. Two threads on one core decode 50 times as fast with it.
    std::this_thread::yield();
  } while (Clock::now() < end);
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

Part part_of(int64_t count, int worker, int workers, int64_t grain) {
  const int64_t grains = (count + grain - 1) / grain;
  const int64_t begin = grains * worker / workers * grain;
  const int64_t end = grains * (worker + 1) / workers * grain;
  return {std::min(begin, count), std::min(end, count)};
}

int usable_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, int(std::thread::hardware_concurrency()));
}

namespace {

// The floating-point unit's control word of this thread, and the bits in it that flush denormals.
#if defined(__x86_64__)
constexpr uint64_t kFlushBits = 0x8000 | 0x0040;  // results to zero, operands as zero
uint64_t control_word() {
  return _mm_getcsr();
}
void set_control_word(uint64_t word) {
  _mm_setcsr(unsigned(word));
}
#elif defined(__aarch64__)
constexpr uint64_t kFlushBits = uint64_t(1) << 24;
uint64_t control_word() {
  uint64_t word;
  asm volatile("mrs %0, fpcr" : "=r"(word));
  return word;
}
void set_control_word(uint64_t word) {
  asm volatile("msr fpcr, %0" ::"r"(word));
}
#else
constexpr uint64_t kFlushBits = 0;
uint64_t control_word() {
  return 0;
}
void set_control_word(uint64_t) {}
#endif

}  // namespace

FlushDenormals::FlushDenormals() : before_(control_word()) {
  set_control_word(before_ | kFlushBits);
}
FlushDenormals::~FlushDenormals() {
  set_control_word(before_);
}
KeepDenormals::KeepDenormals() : before_(control_word()) {
  set_control_word(before_ & ~kFlushBits);
}
KeepDenormals::~KeepDenormals() {
  set_control_word(before_);
}

ThreadPool::ThreadPool(int threads) : taken_(size_t(std::max(threads, 1))) {
  ANSER_CHECK(threads >= 1);
  start_threads(
      workers_, threads - 1, [this](int i) { serve(i + 1); }, [this] { stop(); });
}

ThreadPool::~ThreadPool() {
  stop();
}

void ThreadPool::stop() {
  stop_ = true;
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
}

bool ThreadPool::take(int worker, uint32_t round) {
  uint32_t before = round - 1;
  return taken_[size_t(worker)].round.compare_exchange_strong(before, round,
                                                              std::memory_order_acq_rel);
}

void ThreadPool::run_erased(Call call, void* work) {
  if (workers_.empty()) return call(work, 0);
  call_ = call;
  work_ = work;
  finished_.store(0, std::memory_order_relaxed);
  const uint32_t round = round_.fetch_add(1, std::memory_order_release) + 1;
  round_.notify_all();
  call(work, 0);

  uint32_t others = uint32_t(workers_.size());
  for (int worker = 1; worker < size(); ++worker) {
    if (!take(worker, round)) continue;
    call(work, worker);
    --others;
  }
  for (uint32_t done; (done = finished_.load(std::memory_order_acquire)) != others;) {
    wait_for_change(finished_, done);
  }
}

void ThreadPool::for_each(size_t count, const std::function<void(size_t, int)>& work) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failure;
  size_t failed = count;
  const auto take_all = [&](int worker) {
    const KeepDenormals keep;
    for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
      try {
        work(i, worker);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (i < failed) failure = std::current_exception();
        failed = std::min(failed, i);
      }
    }
  };
  if (count > 1) {
    run(take_all);
  } else {
    take_all(0);  // nobody needs to be woken
  }
  if (failure) std::rethrow_exception(failure);
}

void ThreadPool::serve(int worker) {
  const FlushDenormals flush;
  for (uint32_t seen = 0;;) {
    wait_for_change(round_, seen);
    seen = round_.load(std::memory_order_acquire);
    if (stop_) return;
    // Too late, and the caller did it: it may be at a later round by now.
    if (!take(worker, seen)) continue;
    call_(work_, worker);
    finished_.fetch_add(1, std::memory_order_release);
    finished_.notify_one();
  }
}

}  // namespace anser
