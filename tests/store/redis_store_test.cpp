// What the store in Redis does beyond what every store does (states_test.cpp): evicted and damaged
// contents, a server that is gone, full, or wants a password.
#include "store/redis_store.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "store/killed_writer.h"
#include "store/redis_client.h"
#include "store/sample_states.h"
#include "support/errors.h"

namespace anser {
namespace {

using namespace support;
using Ids = std::vector<std::string>;

class RedisStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!RedisServer::installed()) {
      GTEST_SKIP() << "redis-server is not installed: tools/setup.sh scaleout";
    }
  }
};

RedisStore open(const RedisServer& server, const RedisOptions& options = {},
                const std::string& who = "") {
  return RedisStore(parse_redis_url(server.url(who)), options);
}

std::string content_of(RedisStore& store, const std::string& id) {
  return "anser:1:content:" + store.find(id)->content;
}

TEST_F(RedisStoreTest, WhatRedisEvictedIsForgotten) {
  const RedisServer server;
  RedisStore store = open(server);
  RedisClient redis(server.url());
  const std::string gone = store.put(state_after(1), "m", "", {"main", {"t"}, ""});
  const std::string fork = store.fork(gone);
  const std::string kept = store.put(state_after(2), "m", gone);
  redis({"DEL", content_of(store, gone)});
  expect_error({"no state", gone, server.url()}, [&] { store.get(gone); });
  EXPECT_EQ(store.find(fork), std::nullopt);
  EXPECT_EQ(store.find("main"), std::nullopt);
  EXPECT_EQ(ids_of(store.list()), Ids{kept});
  EXPECT_EQ(store.find(kept)->parent, gone);
  expect_error({"no state"}, [&] { store.fork(gone); });
  expect_error({"no state"}, [&] { store.relabel(gone, {}); });
  expect_error({"no state"}, [&] { store.remove(gone); });
  store.relabel(kept, {"main", {}, ""});
  store.remove(kept);
  // Nothing of all this stays but the count.
  EXPECT_EQ(redis.keys("*"), Ids{"anser:1:numbers"});
}

// Who looks at nothing else finds them as new states come.
TEST_F(RedisStoreTest, TheForgottenDoNotPileUp) {
  const RedisServer server;
  RedisStore store = open(server);
  RedisClient redis(server.url());
  for (uint64_t n = 0; n < 60; ++n) {
    redis({"DEL", content_of(store, store.put(state_after(n), "m"))});
  }
  EXPECT_LT(redis.keys("anser:1:state:*").size(), 30u);
}

TEST_F(RedisStoreTest, WhatIsPinnedNeverExpires) {
  const RedisServer server;
  RedisStore store = open(server, {.lifetime_days = 2});
  RedisClient redis(server.url());
  const auto seconds = [&](const std::string& id) {
    return std::stoi(redis({"TTL", content_of(store, id)}));
  };
  const int two_days = 2 * 24 * 60 * 60;
  const std::string id = store.put(state_after(1), "m");
  EXPECT_NEAR(seconds(id), two_days, 100);
  const std::string fork = store.fork(id, {"", {"t"}, ""});  // its tag holds what both share
  EXPECT_EQ(seconds(id), -1);
  store.relabel(fork, {"name", {}, ""});
  EXPECT_EQ(seconds(id), -1);
  store.relabel(fork, {});
  EXPECT_NEAR(seconds(id), two_days, 100);
  store.relabel(fork, {"name", {}, ""});
  store.remove(fork);
  EXPECT_NEAR(seconds(id), two_days, 100);
  // A use begins it anew.
  redis({"EXPIRE", content_of(store, id), "1000"});
  store.get(id);
  EXPECT_NEAR(seconds(id), two_days, 100);
  RedisStore keeper = open(server, {.lifetime_days = 0});
  EXPECT_EQ(seconds(keeper.put(state_after(2), "m")), -1);
}

TEST_F(RedisStoreTest, DamagedContentsAreErrors) {
  const RedisServer server;
  RedisStore store = open(server);
  RedisClient redis(server.url());
  const std::string a = store.put(state_after(1), "m"), b = store.put(state_after(2), "m");
  const std::string key = content_of(store, a), good = redis({"GET", key});
  std::string flipped = good;
  flipped[good.size() / 2] ^= 1;
  for (const std::string& bad : {std::string(), std::string("x"), good.substr(0, good.size() - 1),
                                 good + "x", good.substr(0, 20), flipped}) {
    redis({"SET", key, bad});
    expect_error({key}, [&] { store.get(a); });
  }
  // Undamaged, but another state's.
  redis({"SET", key, redis({"GET", content_of(store, b)})});
  expect_error({key, a, "not the content"}, [&] { store.get(a); });
  redis({"DEL", key});
  redis({"RPUSH", key, "a list"});
  expect_error({server.url(), "WRONGTYPE"}, [&] { store.get(a); });
  EXPECT_TRUE(store.get(b) == state_after(2));
}

TEST_F(RedisStoreTest, DamagedRecordsAreErrors) {
  const RedisServer server;
  RedisStore store = open(server);
  RedisClient redis(server.url());
  const std::string a = store.put(state_after(1), "m"), b = store.put(state_after(2), "m");
  const std::string key = "anser:1:state:" + a, good = redis({"HGET", key, "record"});
  const std::string wrong_json = "{\"anser_state\": 1}";
  for (const std::string& bad : {std::string(), std::string("{"), wrong_json, good + " ",
                                 good.substr(1), good.substr(0, good.size() / 2)}) {
    redis({"HSET", key, "record", bad});
    expect_error({server.url(), "record"}, [&] { store.get(a); });
    expect_error({server.url(), "record"}, [&] { store.find(a); });
    expect_error({server.url(), "record"}, [&] { store.fork(a); });
    expect_error({server.url(), "record"}, [&] { store.relabel(a, {}); });
    EXPECT_EQ(ids_of(store.list()), Ids{b});
  }
  redis({"HSET", key, "record", redis({"HGET", "anser:1:state:" + b, "record"})});
  expect_error({a, b, "another state"}, [&] { store.get(a); });
  EXPECT_EQ(ids_of(store.list()), Ids{b});
  redis({"HDEL", key, "record"});
  expect_error({"record"}, [&] { store.get(a); });
  redis({"HSET", key, "record", good, "used", "nan"});
  EXPECT_EQ(store.find(a)->last_used, store.find(a)->created);
  redis({"HSET", key, "used", "long ago"});
  EXPECT_TRUE(store.get(a) == state_after(1));
  // What cannot be read can be removed.
  redis({"HSET", key, "record", "{"});
  store.remove(a);
  EXPECT_EQ(store.find(a), std::nullopt);
  redis({"SET", key, "no hash"});
  expect_error({"WRONGTYPE"}, [&] { store.get(a); });
  redis({"HSET", "anser:1:names", "main", "nobody"});
  EXPECT_EQ(store.find("main"), std::nullopt);
  store.relabel(b, {"main", {}, ""});
  redis({"ZADD", "anser:1:order", "7", "nobody", "8", ""});
  EXPECT_EQ(ids_of(store.list()), Ids{b});
}

TEST_F(RedisStoreTest, ListsAllOfMany) {
  const RedisServer server;
  RedisStore store = open(server);
  const std::string root = store.put(state_after(1), "m");
  Ids ids = {root};
  for (int i = 0; i < 450; ++i) ids.push_back(store.fork(root));
  EXPECT_EQ(ids_of(store.list()), ids);
  StateFilter filter;
  filter.parent = root;
  EXPECT_EQ(store.list(filter).size(), 450u);
}

TEST_F(RedisStoreTest, KillingAReplicaLosesNothingThatWasReturned) {
  const RedisServer server;
  RedisStore store = open(server);
  RedisClient redis(server.url());
  std::map<std::string, uint64_t> told;
  uint64_t delay = 1;
  for (int round = 0; round < 30; ++round) {
    KilledWriter writer(server.url(), uint64_t(round) * 1000);
    told.merge(writer.kill_after(std::chrono::microseconds(splitmix64(delay) % 10'000)));
  }
  EXPECT_GE(told.size(), 60u);
  // Until Redis has read all that the writers have sent: then it knows of their ends.
  while (redis({"INFO", "clients"}).find("connected_clients:2\r") == std::string::npos) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  for (const auto& [id, number] : told) EXPECT_TRUE(store.get(id) == state_after(number)) << id;
  std::set<std::string> contents;
  for (const StateInfo& info : store.list()) {
    EXPECT_TRUE(store.get(info.id) == state_after(info.tokens)) << info.id;
    contents.insert("anser:1:content:" + info.content);
  }
  // Bytes that nobody finished go by themselves.
  for (const std::string& key : redis.keys("anser:1:content:*")) {
    if (contents.contains(key)) continue;
    const int seconds = std::stoi(redis({"TTL", key}));
    EXPECT_TRUE(0 < seconds && seconds <= 600) << key << ' ' << seconds;
  }
  EXPECT_EQ(redis.keys("anser:1:state:*").size(), store.list().size());
}

TEST_F(RedisStoreTest, GoesOnWhenTheServerIsBack) {
  RedisServer server;
  RedisStore store = open(server, {.timeout_s = 20});
  const std::string id = store.put(state_after(1), "m");
  server.stop();
  for (int i = 0; i < 2; ++i) {
    expect_error({server.url(), "is Redis running there?"}, [&] { store.get(id); });
    expect_error({server.url()}, [&] { store.put(state_after(2), "m"); });
    expect_error({server.url()}, [&] { store.list(); });
  }
  expect_error({server.url(), "connect"}, [&] { open(server); });
  server.start();  // as empty as one without persistence is
  expect_error({"no state", id}, [&] { store.get(id); });
  EXPECT_TRUE(store.get(store.put(state_after(3), "m")) == state_after(3));
}

TEST_F(RedisStoreTest, DoesNotWaitForEver) {
  RedisServer server;
  RedisStore store = open(server, {.timeout_s = 1});
  const std::string id = open(server, {.timeout_s = 60}).put(state_after(1), "m");
  server.freeze();
  expect_error({server.url(), "silent for 1 s"}, [&] { store.get(id); });
  expect_error({server.url(), "silent for 1 s"}, [&] { store.get(id); });  // a new connection
  // What lies in the buffers and is answered later meets no connection that is used again.
  server.thaw();
  for (int i = 0; i < 100; ++i) {
    try {
      EXPECT_TRUE(store.get(id) == state_after(1));
      return;
    } catch (const Error&) {  // it wakes up
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
  ADD_FAILURE() << "the store does not come back";
}

TEST_F(RedisStoreTest, WantsTheRightPasswordAndTellsItToNobody) {
  const RedisServer server({"--requirepass", "secret"});
  RedisStore store = open(server, {}, "default:secret@");
  EXPECT_TRUE(store.get(store.put(state_after(1), "m")) == state_after(1));
  EXPECT_EQ(open(server, {}, ":secret@").list().size(), 1u);
  expect_error({server.url(), "NOAUTH", "user:password"}, [&] { open(server); });
  for (const char* who : {":sEcret@", "anna:sEcret@", "secret:sEcret@"}) {
    const std::string error = error_of([&] { open(server, {}, who); });
    EXPECT_NE(error.find("WRONGPASS"), std::string::npos) << error;
    EXPECT_EQ(error.find("ecret"), std::string::npos) << error;
  }
  const RedisServer without;
  const std::string error = error_of([&] { open(without, {}, "anna:sEcret@"); });
  EXPECT_EQ(error.find("sEcret"), std::string::npos) << error;
}

TEST_F(RedisStoreTest, DatabasesAreApart) {
  const RedisServer server;
  RedisStore zero = open(server);
  RedisStore three(parse_redis_url(server.url() + "/3"), {});
  three.put(state_after(1), "m");
  EXPECT_EQ(zero.list().size(), 0u);
  EXPECT_EQ(three.list().size(), 1u);
  expect_error({"/999", "DB index"},
               [&] { RedisStore(parse_redis_url(server.url() + "/999"), {}); });
}

// Numbers that do not compress, so that a few states fill a server.
State large_state(uint64_t n) {
  State state({.layers = 4, .width = 256, .heads = 4, .head_size = 64}, kFingerprint);
  uint64_t random = n;
  for (size_t i = 0; i < state.shape().floats(); ++i) {
    state.att_shift(0)[i] = float(int64_t(splitmix64(random))) * 0x1p-63f;
  }
  state.advance(n);
  return state;
}

TEST_F(RedisStoreTest, AFullServerRefusesAndLosesNothing) {
  const RedisServer server({"--maxmemory", "4mb", "--maxmemory-policy", "noeviction"});
  RedisStore store = open(server);
  EXPECT_TRUE(store.problems().empty());
  Ids ids;
  try {
    for (uint64_t n = 0; n < 100; ++n) ids.push_back(store.put(large_state(n), "m"));
    ADD_FAILURE() << "100 states fit";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("it is full"), std::string::npos) << error.what();
  }
  ASSERT_GE(ids.size(), 2u);
  EXPECT_EQ(ids_of(store.list()), ids);
  EXPECT_TRUE(store.get(ids[0]) == large_state(0));
  store.remove(ids[0]);
  store.remove(ids[1]);
  const std::string id = store.put(large_state(1000), "m");
  EXPECT_TRUE(store.get(id) == large_state(1000));
}

TEST_F(RedisStoreTest, RedisEvictsWhatIsNotPinned) {
  const RedisServer server({"--maxmemory", "5mb", "--maxmemory-policy", "volatile-lru"});
  RedisStore store = open(server);
  EXPECT_TRUE(store.problems().empty());
  const std::string named = store.put(large_state(1000), "m", "", {"main", {}, ""});
  const std::string tagged = store.put(large_state(1001), "m", "", {"", {"t"}, ""});
  std::string last;
  for (uint64_t n = 0; n < 30; ++n) last = store.put(large_state(n), "m");
  EXPECT_TRUE(store.get(last) == large_state(29));
  EXPECT_TRUE(store.get(named) == large_state(1000));
  EXPECT_TRUE(store.get(tagged) == large_state(1001));
  // What is listed is there.
  const std::vector<StateInfo> list = store.list();
  EXPECT_LT(list.size(), 20u);
  for (const StateInfo& info : list) store.get(info.id);
}

TEST_F(RedisStoreTest, WarnsOfAServerThatEvictsAnything) {
  const RedisServer server({"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"});
  const std::vector<std::string> problems = open(server).problems();
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_NE(problems[0].find("volatile-lru"), std::string::npos);
}

TEST_F(RedisStoreTest, AFailedPutLeavesNoBytes) {
  const RedisServer server;
  RedisStore store = open(server);
  RedisClient redis(server.url());
  // The script that would finish it fails half way.
  redis({"SET", "anser:1:order", "no sorted set"});
  expect_error({"WRONGTYPE"}, [&] { store.put(state_after(1), "m"); });
  EXPECT_TRUE(redis.keys("anser:1:content:*").empty());
  redis({"DEL", "anser:1:order"});
  EXPECT_TRUE(store.list().empty());
}

}  // namespace
}  // namespace anser
