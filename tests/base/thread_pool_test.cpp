#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cfloat>
#include <chrono>
#include <numeric>
#include <vector>

namespace anser {
namespace {

TEST(PartOf, CoversEverythingOnceInMultiplesOfTheGrain) {
  for (const int64_t count : {0, 1, 5, 16, 17, 100, 257}) {
    for (const int workers : {1, 2, 3, 7, 64}) {
      for (const int64_t grain : {1, 4, 16}) {
        int64_t next = 0;
        for (int worker = 0; worker < workers; ++worker) {
          const Part part = part_of(count, worker, workers, grain);
          EXPECT_EQ(part.begin, next);
          EXPECT_LE(part.begin, part.end);
          EXPECT_TRUE(part.end == count || part.end % grain == 0);
          next = part.end;
        }
        EXPECT_EQ(next, count) << count << " over " << workers;
      }
    }
  }
}

TEST(ThreadPool, RunsEveryWorkerOnceAndWaitsForAll) {
  for (const int threads : {1, 2, 5, 16}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.size(), threads);
    std::vector<int> calls(threads);
    for (int round = 0; round < 2000; ++round) {
      pool.run([&](int worker) { ++calls[worker]; });  // no atomics: run() must order the rounds
    }
    for (const int n : calls) EXPECT_EQ(n, 2000);
  }
}

TEST(ThreadPool, WakesWorkersThatHaveGoneToSleep) {
  ThreadPool pool(3);
  std::atomic<int> calls = 0;
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // far longer than they spin
    pool.run([&](int) { ++calls; });
  }
  EXPECT_EQ(calls, 15);
}

TEST(ThreadPool, WorkersFlushDenormals) {
  ThreadPool pool(2);
  std::vector<float> halves(2);
  volatile float smallest = FLT_MIN;
  const FlushDenormals flush;  // the caller's part, as an engine does
  pool.run([&](int worker) {
    const float half = smallest * 0.5f;
    halves[worker] = half;
  });
#if defined(__x86_64__) || defined(__aarch64__)
  EXPECT_EQ(halves[0], 0.0f);
  EXPECT_EQ(halves[1], 0.0f);
#endif
}

TEST(FlushDenormals, EndsWithItsScope) {
  volatile float smallest = FLT_MIN;
  { const FlushDenormals flush; }
  const float half = smallest * 0.5f;
  EXPECT_GT(half, 0.0f);
}

TEST(UsableCores, IsAtLeastOne) {
  EXPECT_GE(usable_cores(), 1);
}

}  // namespace
}  // namespace anser
