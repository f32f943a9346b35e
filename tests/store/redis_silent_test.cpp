// A Redis that keeps silent: nobody waits behind others for it.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "store/arrival.h"
#include "store/redis_client.h"
#include "store/redis_store.h"
#include "store/sample_states.h"
#include "store/silent_server.h"
#include "support/errors.h"

namespace anser {
namespace {

using namespace support;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// 40 requests that came at once, on two threads as a server has them. How many have failed because
// the store is not to be reached.
template <class Call>
int ask_40_times(Call call) {
  const auto came = Clock::now();
  std::atomic<int> next = 0, unavailable = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      while (next++ < 40) {
        const Arrival arrival(came);
        try {
          call();
        } catch (const StatesUnavailable&) {
          ++unavailable;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return unavailable;
}

TEST(RedisSilent, WhoWaitsForAServerThatNeverAnswersWaitsOnce) {
  const SilentServer server;
  RedisPool redis(parse_redis_url(server.url()), /*timeout_s=*/1);
  const std::string_view words[] = {"PING"};
  const auto begin = Clock::now();
  EXPECT_EQ(ask_40_times([&] { redis.command(words); }), 40);
  // One after the other they would take 20 s.
  EXPECT_LT(seconds_since(begin), 10);
  expect_error({server.url(), "silent for 1 s"}, [&] { redis.command(words); });
}

// Who is given up with another one has heard nothing, and lets nobody through: each would wait
// anew.
TEST(RedisSilent, WhoIsGivenUpWithAnotherLetsNobodyThrough) {
  const SilentServer server;
  RedisPool redis(parse_redis_url(server.url()), /*timeout_s=*/1);
  const std::string_view words[] = {"PING"};
  std::thread first([&] { EXPECT_THROW(redis.command(words), RedisSilent); });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_THROW(redis.command(words), RedisGivenUp);
  first.join();
  expect_error({server.url(), "it is asked again within a second"}, [&] { redis.command(words); });
}

// Each byte would begin a time-out of hiredis anew: 100 of them, ten minutes for 40 requests.
TEST(RedisSilent, BytesThatComeOneByOneAreNoAnswer) {
  const SilentServer server("+" + std::string(100, 'x'), /*pause_ms=*/300);
  RedisPool redis(parse_redis_url(server.url()), /*timeout_s=*/1);
  const std::string_view words[] = {"PING"};
  const auto begin = Clock::now();
  EXPECT_EQ(ask_40_times([&] { redis.command(words); }), 40);
  EXPECT_LT(seconds_since(begin), 10);
}

TEST(RedisSilent, AServerThatCannotBeOpenedIsNotWaitedForLong) {
  const SilentServer server;
  const auto begin = Clock::now();
  expect_error({server.url(), "silent"},
               [&] { RedisStore(parse_redis_url(server.url()), {.timeout_s = 0.5}); });
  EXPECT_LT(seconds_since(begin), 10);
}

TEST(RedisSilent, AStoppedServerIsFoundAgain) {
  if (!RedisServer::installed()) GTEST_SKIP() << "no redis-server: tools/setup.sh scaleout";
  RedisServer server;
  RedisStore store(parse_redis_url(server.url()), {.timeout_s = 1});
  const std::string id = store.put(state_after(1), "m");
  server.freeze();
  const auto begin = Clock::now();
  EXPECT_EQ(ask_40_times([&] { store.get(id); }), 40);
  EXPECT_EQ(ask_40_times([&] { store.put(state_after(2), "m"); }), 40);
  EXPECT_LT(seconds_since(begin), 20);
  server.thaw();
  for (int i = 0; i < 200; ++i) {
    try {
      EXPECT_TRUE(store.get(id) == state_after(1));
      return;
    } catch (const StatesUnavailable&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
  ADD_FAILURE() << "the store does not come back";
}

// A request that has waited in the queue is still asked for, if Redis is well.
TEST(RedisSilent, ALateRequestIsServedByAServerThatIsWell) {
  if (!RedisServer::installed()) GTEST_SKIP() << "no redis-server: tools/setup.sh scaleout";
  RedisServer server;
  RedisStore store(parse_redis_url(server.url()), {.timeout_s = 5});
  const Arrival arrival(Clock::now() - std::chrono::seconds(100));
  EXPECT_TRUE(store.get(store.put(state_after(1), "m")) == state_after(1));
}

TEST(RedisSilent, KeysOfOtherTypesAreTheStoresFault) {
  if (!RedisServer::installed()) GTEST_SKIP() << "no redis-server: tools/setup.sh scaleout";
  RedisServer server;
  RedisStore store(parse_redis_url(server.url()), {});
  RedisClient redis(server.url());
  const std::string id = store.put(state_after(1), "m", "", {"main", {}, ""});
  for (const char* kind : {"state:", "content:", "pins:"}) {
    const std::string key = std::string("anser:1:") + kind + id;
    redis({"RENAME", key, "aside"});
    redis({std::string(kind) == "content:" ? "RPUSH" : "SET", key, "another type"});
    EXPECT_THROW(store.get(id), StoreFailed) << kind;
    redis({"DEL", key});
    redis({"RENAME", "aside", key});
    EXPECT_TRUE(store.get(id) == state_after(1));
  }
}

}  // namespace
}  // namespace anser
