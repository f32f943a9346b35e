// Which tokens a text is made of, and how probable those of a prompt were.
#include <algorithm>
#include <cmath>

#include "engine/logprobs.h"
#include "engine/scheduler_fixture.h"

namespace anser {
namespace {

TEST_F(SchedulerTest, TokensMayBeToldWithoutLogprobs) {
  Scheduler scheduler(*engine_);
  Order wanted = order(5, 20, 9);
  wanted.token_ids = true;
  wanted.prompt_logprobs = 1;
  const auto listener = std::make_shared<Listener>();
  scheduler.submit(wanted, listener);
  const std::vector<Token> tokens = listener->wait().tokens;
  ASSERT_EQ(listener->details().size(), 25u);
  for (size_t i = 0; i < 25; ++i) {
    const TokenDetails& details = listener->details()[i];
    EXPECT_EQ(details.drawn.token, i < 5 ? wanted.prompt[i] : tokens[i - 5]);
    EXPECT_EQ(std::isnan(details.drawn.logprob), i == 0 || i >= 5);
    EXPECT_EQ(details.top.size(), i == 0 || i >= 5 ? 0u : 1u);
    EXPECT_EQ(details.rank == 0, i == 0 || i >= 5);
  }
}

TEST_F(SchedulerTest, ATokenThatEndsATextIsTold) {
  Scheduler scheduler(*engine_);
  Order wanted = order(5, 20, 9);
  wanted.token_ids = true;
  wanted.generation.sampling.biases = {{7, 100}};
  wanted.generation.stop_tokens = {7};
  const auto listener = std::make_shared<Listener>();
  scheduler.submit(wanted, listener);
  EXPECT_EQ(listener->wait().reason, StopReason::stop_token);
  ASSERT_EQ(listener->details().size(), 1u);
  EXPECT_EQ(listener->details()[0].drawn.token, 7);
}

TEST(Logprobs, ARankCountsThoseThatAreMoreProbable) {
  const std::vector<float> logits = {1, 3, 2, 3, -1};
  const auto rank = [&](Token token) { return token_details(logits, token, 0).rank; };
  EXPECT_EQ(rank(1), 1);
  EXPECT_EQ(rank(3), 1);
  EXPECT_EQ(rank(2), 3);
  EXPECT_EQ(rank(4), 5);
}

// As many as are wanted, in any kind of sampling, in a batch as alone.
TEST_F(SchedulerTest, NoTextEndsBeforeItsLeastNumberOfTokens) {
  Scheduler scheduler(*engine_);
  std::vector<Order> orders;
  std::vector<std::shared_ptr<Listener>> listeners;
  for (int i = 0; i < 12; ++i) {
    Order next = order(5, 30, uint64_t(i) + 1);
    SamplingOptions& sampling = next.generation.sampling;
    if (i % 4 == 0) sampling.temperature = 0;
    if (i % 4 == 1) sampling.top_k = 3;
    if (i % 4 == 2) sampling.top_p = 1;
    // Whatever is likely ends it, and what no model has is no end.
    sampling.biases = {{7, 100}, {8, 90}};
    next.generation.stop_tokens = {7, 8, 5000};
    next.generation.min_tokens = i;
    orders.push_back(next);
    listeners.push_back(std::make_shared<Listener>());
    scheduler.submit(std::move(next), listeners.back());
  }
  for (size_t i = 0; i < orders.size(); ++i) {
    const Finished& finished = listeners[i]->wait();
    EXPECT_EQ(finished.error, "");
    EXPECT_EQ(finished.tokens.size(), i);
    EXPECT_EQ(finished.reason, StopReason::stop_token);
    EXPECT_EQ(std::ranges::count(finished.tokens, 7), 0);
    EXPECT_EQ(finished.tokens, expected(orders[i]).first.tokens);
  }
}

}  // namespace
}  // namespace anser
