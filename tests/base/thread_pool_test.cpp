#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cfloat>
#include <chrono>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
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

TEST(ThreadPool, EachPieceOfWorkIsDoneOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    std::vector<int> scratch(size_t(threads), 0);
    for (const size_t count : {0, 1, 2, 7, 300}) {
      std::vector<int> calls(count, 0);
      std::fill(scratch.begin(), scratch.end(), 0);
      pool.for_each(count, [&](size_t i, int worker) {
        ++calls[i];
        ++scratch[size_t(worker)];  // no atomic: it is this worker's
      });
      EXPECT_EQ(calls, std::vector<int>(count, 1));
      EXPECT_EQ(std::accumulate(scratch.begin(), scratch.end(), size_t{0}), count);
    }
  }
}

TEST(ThreadPool, TheFirstFailureIsThrownWhenAllIsDone) {
  ThreadPool pool(3);
  std::atomic<int> calls = 0;
  const auto work = [&](size_t i, int) {
    ++calls;
    if (i % 10 == 7) throw std::runtime_error(std::to_string(i));
  };
  for (int round = 0; round < 50; ++round) {
    try {
      pool.for_each(40, work);
      FAIL();
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "7");
    }
  }
  EXPECT_EQ(calls, 50 * 40);
}

TEST(ThreadPool, PiecesOfWorkKeepDenormals) {
  ThreadPool pool(2);
  volatile float smallest = FLT_MIN;
  const FlushDenormals flush;
  std::vector<float> halves(64);
  pool.for_each(halves.size(), [&](size_t i, int) { halves[i] = smallest * 0.5f; });
  const KeepDenormals keep;
  for (const float half : halves) EXPECT_GT(half, 0.0f);
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
