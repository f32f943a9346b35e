#include "base/start_threads.h"

#include <gtest/gtest.h>

#include <atomic>

#include "base/thread_pool.h"
#include "support/failing_threads.h"

namespace anser {
namespace {

using namespace support;

TEST(StartThreads, AllRunOrNoneIsLeft) {
  if (!FailingThreads::works()) GTEST_SKIP() << "threads cannot be refused here";
  std::atomic<int> running = 0;
  const int refused = refuse_threads([&] {
    std::atomic<bool> stop = false;
    const auto work = [&](int) {
      ++running;
      while (!stop) std::this_thread::yield();
      --running;
    };
    std::vector<std::jthread> threads;
    start_threads(threads, 5, work, [&] { stop = true; });
    stop = true;
    threads.clear();
  });
  EXPECT_EQ(refused, 5);
  EXPECT_EQ(running, 0);
}

TEST(StartThreads, APoolThatLacksOneEnds) {
  if (!FailingThreads::works()) GTEST_SKIP() << "threads cannot be refused here";
  EXPECT_EQ(refuse_threads([] { ThreadPool(4).run([](int) {}); }), 3);
}

}  // namespace
}  // namespace anser
