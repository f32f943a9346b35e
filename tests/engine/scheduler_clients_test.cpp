// Who is let in, and what clients have of each other: places, the queue, the cache.
#include <thread>

#include "anser/error.h"
#include "engine/scheduler_fixture.h"

namespace anser {
namespace {

TEST_F(SchedulerTest, TheQueueIsBoundedAndOrderly) {
  SchedulerOptions options;
  options.max_batch = 1;
  options.max_queue = 2;
  Scheduler scheduler(*engine_, options);
  const auto first = std::make_shared<Listener>();
  const Scheduler::Id id = scheduler.submit(order(1, 1'000'000, 1), first);
  first->wait_for_pieces(1);
  std::vector<std::shared_ptr<Listener>> waiting;
  for (int i = 0; i < 2; ++i) {
    waiting.push_back(std::make_shared<Listener>());
    EXPECT_NE(scheduler.submit(order(3, 5, 2), waiting.back()), 0u);
  }
  EXPECT_EQ(scheduler.submit(order(3, 5, 3), std::make_shared<Listener>()), 0u);
  EXPECT_EQ(scheduler.stats().refused, 1u);
  EXPECT_EQ(scheduler.stats().queued, 2);
  EXPECT_FALSE(scheduler.drain(0.01));
  EXPECT_FALSE(waiting[0]->ended());
  scheduler.cancel(id);
  waiting[1]->wait();
  EXPECT_TRUE(waiting[0]->ended());  // who came first was served first
  EXPECT_TRUE(scheduler.drain(60));
  EXPECT_EQ(scheduler.submit(order(3, 5, 4), std::make_shared<Listener>()), 0u);  // no more
}

// Of several orders at once none is accepted if one is bad or there is no room for all.
TEST_F(SchedulerTest, SeveralOrdersAreAcceptedTogetherOrNotAtAll) {
  SchedulerOptions options;
  options.max_batch = 1;
  options.max_queue = 2;
  Scheduler scheduler(*engine_, options);
  const auto listeners = [](size_t count) {
    std::vector<std::shared_ptr<Reader>> all;
    for (size_t i = 0; i < count; ++i) all.push_back(std::make_shared<Listener>());
    return all;
  };
  Order bad = order(3, 5, 1);
  bad.prompt.clear();
  const auto heard = listeners(2);
  EXPECT_THROW(scheduler.submit({order(1, 5, 1), bad}, heard), Error);
  EXPECT_EQ(scheduler.stats().running + scheduler.stats().queued, 0);
  EXPECT_TRUE(
      scheduler.submit({order(1, 5, 1), order(1, 5, 1), order(1, 5, 1)}, listeners(3)).empty());
  EXPECT_EQ(scheduler.stats().refused, 3u);
  EXPECT_EQ(scheduler.submit({order(1, 5, 1), order(1, 5, 1)}, listeners(2)).size(), 2u);
  EXPECT_TRUE(scheduler.drain(60));
  EXPECT_EQ(scheduler.stats().finished, 2u);  // of the refused nothing runs on
  for (const auto& each : heard) EXPECT_FALSE(std::static_pointer_cast<Listener>(each)->ended());
}

// Long prompts of one client hold all places, and more of them wait: a token of another client and
// one of the same are there long before the first of these has been read.
TEST_F(SchedulerTest, AShortRequestDoesNotWaitForLongPrompts) {
  SchedulerOptions options;
  options.max_batch = 4;
  options.piece_seconds = 1e-9;  // 16 tokens a step
  Scheduler scheduler(*engine_, options);
  std::vector<std::shared_ptr<Listener>> many;
  std::vector<Scheduler::Id> ids;
  for (uint64_t i = 0; i < 12; ++i) {
    many.push_back(std::make_shared<Listener>());
    Order wanted = order(200'000, 3, i);
    wanted.client = "one";
    ids.push_back(scheduler.submit(std::move(wanted), many.back()));
  }
  while (scheduler.stats().prompt_tokens < 500) std::this_thread::yield();
  for (const char* client : {"another", "one"}) {
    const auto listener = std::make_shared<Listener>();
    Order wanted = order(1, 1, 99);
    wanted.client = client;
    const auto [text, state] = expected(wanted);
    scheduler.submit(wanted, listener);
    EXPECT_EQ(listener->wait().tokens, text.tokens);
    for (const auto& each : many) EXPECT_FALSE(each->ended());
  }
  for (const Scheduler::Id id : ids) scheduler.cancel(id);
}

// Endless streams of the same client hold all places, and more of them wait.
TEST_F(SchedulerTest, AFewTokensDoNotWaitForLongTexts) {
  SchedulerOptions options;
  options.max_batch = 8;
  Scheduler scheduler(*engine_, options);
  std::vector<std::shared_ptr<Listener>> many;
  for (uint64_t i = 0; i < 12; ++i) {
    many.push_back(std::make_shared<Listener>());
    scheduler.submit(order(5, 1'000'000'000, i), many.back());
  }
  for (int i = 0; i < 8; ++i) many[size_t(i)]->wait_for_pieces(3);
  const Order wanted = order(20, 4, 99);
  const auto listener = std::make_shared<Listener>();
  scheduler.submit(wanted, listener);
  EXPECT_EQ(listener->wait().tokens, expected(wanted).first.tokens);
  for (const auto& each : many) EXPECT_FALSE(each->ended());
}

// Streams that have to give up their places to another client are paused, and go on with the same
// text.
TEST_F(SchedulerTest, APausedTextIsTheSame) {
  SchedulerOptions options;
  options.max_batch = 2;
  Scheduler scheduler(*engine_, options);
  std::vector<Order> orders;
  std::vector<std::shared_ptr<Listener>> listeners;
  for (uint64_t i = 0; i < 8; ++i) {
    orders.push_back(order(20, 150, i));
    orders.back().client = std::string(1, char('a' + i % 4));
    listeners.push_back(std::make_shared<Listener>());
    scheduler.submit(orders.back(), listeners.back());
    if (i % 4 == 0) listeners.back()->wait_for_pieces(3);
  }
  for (size_t i = 0; i < orders.size(); ++i) {
    const Finished& finished = listeners[i]->wait();
    const auto [text, state] = expected(orders[i]);
    EXPECT_EQ(listeners[i]->text(), text.text);
    EXPECT_TRUE(finished.state == state);
  }
}

TEST_F(SchedulerTest, OneClientDoesNotFillTheQueueForOthers) {
  SchedulerOptions options;
  options.max_batch = 1;
  options.max_queue = 8;
  Scheduler scheduler(*engine_, options);
  const auto submit = [&](const char* client) {
    Order wanted = order(1, 1'000'000'000, 1);
    wanted.client = client;
    return scheduler.submit(std::move(wanted), std::make_shared<Listener>()) != 0;
  };
  EXPECT_TRUE(submit("one"));
  while (scheduler.stats().running == 0) std::this_thread::yield();
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(submit("one"));
  EXPECT_FALSE(submit("one"));
  // The first of another begins at once; then it has half of the queue.
  EXPECT_TRUE(submit("two"));
  while (scheduler.stats().running < 2) std::this_thread::yield();
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(submit("two"));
  EXPECT_FALSE(submit("two"));
  EXPECT_FALSE(submit("one"));
  EXPECT_TRUE(submit("three"));
}

// Neither numbers nor times tell a client what another has asked, unless the cache is shared:
// nothing is known of another's prompt, nor is one waited for that is being read.
TEST_F(SchedulerTest, TheCacheIsSharedOnlyWithinAClient) {
  for (const bool shared : {true, false}) {
    SchedulerOptions options;
    options.shared_cache = shared;
    Scheduler scheduler(*engine_, options);
    const auto write = [&](const std::vector<const char*>& clients, const std::string& origin) {
      std::vector<std::shared_ptr<Listener>> listeners;
      std::vector<Order> orders;
      const uint64_t before = scheduler.stats().prompt_tokens;
      for (const char* client : clients) {
        orders.push_back(order(600, 2, 7));
        orders.back().client = client;
        orders.back().origin = origin;
        listeners.push_back(std::make_shared<Listener>());
        scheduler.submit(orders.back(), listeners.back());
      }
      for (const auto& each : listeners) each->wait();
      return scheduler.stats().prompt_tokens - before;
    };
    EXPECT_EQ(write({"one", "two"}, ""), shared ? 600u : 1200u);  // at the same time
    EXPECT_EQ(write({"three"}, ""), shared ? 0u : 600u);
    EXPECT_EQ(write({"one"}, ""), 0u);
    EXPECT_EQ(write({"one", "one"}, "a state"), 600u);
    EXPECT_EQ(write({"two"}, "a state"), shared ? 0u : 600u);
    // Names that together with an origin read alike.
    EXPECT_EQ(write({"a"}, "b"), 600u);
    EXPECT_EQ(write({"ab"}, ""), shared ? 0u : 600u);
  }
}

TEST_F(SchedulerTest, PromptsThatWaitAreBoundedInBytes) {
  SchedulerOptions options;
  options.max_batch = 1;
  options.queue_bytes = 1000;
  Scheduler scheduler(*engine_, options);
  const auto first = std::make_shared<Listener>(), long_one = std::make_shared<Listener>();
  const Scheduler::Id id = scheduler.submit(order(1, 1'000'000, 1), first);
  first->wait_for_pieces(1);
  EXPECT_NE(scheduler.submit(order(200, 1, 2), long_one), 0u);  // alone one may always wait
  EXPECT_EQ(scheduler.stats().queued_bytes, 1600u);
  EXPECT_EQ(scheduler.submit(order(1, 1, 3), std::make_shared<Listener>()), 0u);
  EXPECT_EQ(scheduler.stats().refused, 1u);
  scheduler.cancel(id);
  long_one->wait();
  EXPECT_EQ(scheduler.stats().queued_bytes, 0u);
  EXPECT_NE(scheduler.submit(order(1, 1, 4), std::make_shared<Listener>()), 0u);
}

}  // namespace
}  // namespace anser
