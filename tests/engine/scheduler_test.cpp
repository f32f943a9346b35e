// Many texts at once: each as if it were alone, whatever the others do.
#include "anser/scheduler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <thread>

#include "anser/error.h"
#include "engine/logprobs.h"
#include "engine/scheduler_fixture.h"

namespace anser {
namespace {

TEST_F(SchedulerTest, EveryTextIsAsIfItWereAloneInRandomSchedules) {
  std::mt19937 random(1);
  const auto below = [&](int n) { return int(random() % unsigned(n)); };
  for (int round = 0; round < 6; ++round) {
    SchedulerOptions options;
    options.max_batch = 1 + below(7);
    options.piece_seconds = below(2) == 0 ? 1e-9 : 0.05;  // pieces of 16 tokens, or longer ones
    // No cache, one of a few states, or a roomy one.
    options.cache_bytes = std::vector<size_t>{0, 300'000, 1 << 30}[size_t(below(3))];
    options.shared_cache = below(2) == 0;
    const std::vector<Token> beginning = prompt(100, random());
    Scheduler scheduler(*engine_, options);
    std::vector<Order> orders;
    std::vector<std::shared_ptr<Listener>> listeners;
    for (int i = 0; i < 24; ++i) {
      Order next = order(1 + below(120), below(40), random());
      if (below(2) == 0) {  // the beginning of others
        const auto end = beginning.begin() + 1 + below(100);
        next.prompt.insert(next.prompt.begin(), beginning.begin(), end);
        if (below(3) == 0) next.prompt.assign(beginning.begin(), end);
        next.checkpoints = {size_t(1 + below(50))};
      }
      GenerateOptions& generation = next.generation;
      generation.sampling.temperature = 0.5f * float(below(4));
      generation.sampling.top_p = below(2) == 0 ? 1.0f : 0.8f;
      generation.sampling.presence = 0.3f * float(below(3));
      // Single bytes are frequent, and two of them happen to be held back and let go.
      if (below(2) == 0) generation.stop = {std::string(1, char('a' + below(26))) + "e", "t"};
      if (below(3) == 0) generation.stop_tokens = {Token(below(256)), Token(below(256))};
      if (below(3) == 0) generation.min_tokens = below(20);
      if (below(3) == 0) generation.stop_after = {std::string(1, char('a' + below(26)))};
      generation.include_stop_tokens = below(2) == 0;
      next.token_ids = below(2) == 0;
      next.client = std::string(1, char('a' + below(4)));
      if (below(3) == 0) {  // from a state with a past
        alone_->forward(next.state, prompt(1 + below(20), random()));
        if (below(2) == 0) next.prompt.clear();
      }
      orders.push_back(next);
      listeners.push_back(std::make_shared<Listener>());
      const Scheduler::Id id = scheduler.submit(std::move(next), listeners.back());
      ASSERT_NE(id, 0u);
      if (below(5) == 0) scheduler.cancel(id);
      if (below(3) == 0) std::this_thread::sleep_for(std::chrono::microseconds(below(3000)));
    }
    for (size_t i = 0; i < orders.size(); ++i) {
      SCOPED_TRACE(testing::Message() << "round " << round << ", text " << i);
      const Finished& finished = listeners[i]->wait();
      EXPECT_EQ(finished.error, "");
      const auto [text, state] = expected(orders[i]);
      if (finished.reason == StopReason::cancelled) {
        // As far as it came it is the same text.
        EXPECT_EQ(text.text.substr(0, listeners[i]->text().size()), listeners[i]->text());
        continue;
      }
      EXPECT_EQ(listeners[i]->text(), text.text);
      EXPECT_EQ(finished.tokens, text.tokens);
      EXPECT_EQ(finished.reason, text.reason);
      EXPECT_TRUE(finished.state == state);
      EXPECT_EQ(finished.state.logits(), state.logits());
    }
  }
}

TEST_F(SchedulerTest, NoBeginningIsReadTwice) {
  SchedulerOptions options;
  options.max_batch = 16;
  Scheduler scheduler(*engine_, options);
  const auto write = [&](const std::vector<Order>& orders) {
    std::vector<std::shared_ptr<Listener>> listeners;
    const uint64_t before = scheduler.stats().prompt_tokens;
    for (const Order& each : orders) {
      listeners.push_back(std::make_shared<Listener>());
      scheduler.submit(each, listeners.back());
    }
    for (size_t i = 0; i < orders.size(); ++i) {
      listeners[i]->wait();
      const auto [text, state] = expected(orders[i]);
      EXPECT_EQ(listeners[i]->text(), text.text);
      EXPECT_TRUE(listeners[i]->wait().state == state);
    }
    return int(scheduler.stats().prompt_tokens - before);
  };
  const Order first = order(1000, 10, 1);
  // Eight at once, with one prompt: the first reads it, the others wait for it.
  std::vector<Order> same(8, first);
  for (size_t i = 0; i < same.size(); ++i) same[i].generation.sampling.seed = i;
  EXPECT_EQ(write(same), 1000);
  EXPECT_EQ(write({first}), 0);
  // Goes on behind the prompt.
  Order longer = first;
  const std::vector<Token> more = prompt(50, 9);
  longer.prompt.insert(longer.prompt.end(), more.begin(), more.end());
  EXPECT_EQ(write({longer}), 50);
  // Parts from it at 700, where nobody had foreseen it: read from 512; the next time from 700.
  Order parted = first;
  std::copy(more.begin(), more.end(), parted.prompt.begin() + 700);
  EXPECT_EQ(write({parted}), 488);
  parted.prompt[710] ^= 1;
  EXPECT_EQ(write({parted}), 300);
  // Where a checkpoint was asked for.
  Order marked = order(300, 5, 2);
  marked.checkpoints = {90};
  EXPECT_EQ(write({marked}), 300);
  marked.prompt[95] ^= 1;
  EXPECT_EQ(write({marked}), 210);
  // What was written is a beginning, too.
  State state = first.state;
  alone_->forward(state, first.prompt);
  Order next = first;
  const Generated text = generate(*alone_, state, first.generation);
  next.prompt.insert(next.prompt.end(), text.tokens.begin(), text.tokens.end());
  next.prompt.insert(next.prompt.end(), more.begin(), more.end());
  EXPECT_EQ(write({next}), 50);
  // Other states have other beginnings, unless they have one name.
  Order other = first;
  alone_->forward(other.state, more);
  EXPECT_EQ(write({other}), 1000);
  EXPECT_EQ(write({other}), 1000);
  other.origin = "more";
  EXPECT_EQ(write({other}), 1000);
  EXPECT_EQ(write({other}), 0);
}

TEST_F(SchedulerTest, AReaderWhoCancelsLeavesTheStateOfWhatWasGivenOut) {
  Order wanted = order(10, 200, 5);
  Scheduler scheduler(*engine_);
  const auto listener = std::make_shared<Listener>(3);
  scheduler.submit(wanted, listener);
  const Finished& finished = listener->wait();
  EXPECT_EQ(finished.reason, StopReason::cancelled);
  int pieces = 0;
  State state = wanted.state;
  alone_->forward(state, wanted.prompt);
  const Generated text =
      generate(*alone_, state, wanted.generation, [&](std::string_view) { return ++pieces < 3; });
  EXPECT_EQ(listener->text(), text.text);
  EXPECT_EQ(finished.tokens, text.tokens);
  EXPECT_TRUE(finished.state == state);
}

TEST_F(SchedulerTest, ALongPromptHoldsUpNobodyForLongerThanAPiece) {
  SchedulerOptions options;
  options.piece_seconds = 1e-9;  // 16 tokens a step
  Scheduler scheduler(*engine_, options);
  const auto writer = std::make_shared<Listener>();
  const Scheduler::Id id = scheduler.submit(order(1, 1'000'000, 1), writer);
  writer->wait_for_pieces(1);
  const int before = writer->pieces();
  const auto late = std::make_shared<Listener>();
  scheduler.submit(order(1600, 1, 2), late);
  late->wait();
  // A token for every piece of the prompt; bytes of no character of their own make fewer pieces.
  EXPECT_GE(writer->pieces() - before, 25);
  scheduler.cancel(id);
  EXPECT_EQ(writer->wait().reason, StopReason::cancelled);
  const SchedulerStats stats = scheduler.stats();
  EXPECT_GT(stats.longest_step_s, 0);
  EXPECT_GE(stats.steps, 100u);
}

TEST_F(SchedulerTest, WhatIsLeftIsCancelledAtTheEnd) {
  const auto running = std::make_shared<Listener>(), queued = std::make_shared<Listener>();
  {
    SchedulerOptions options;
    options.max_batch = 1;
    Scheduler scheduler(*engine_, options);
    scheduler.submit(order(1, 1'000'000, 1), running);
    scheduler.submit(order(1, 1'000'000, 1), queued);
    running->wait_for_pieces(1);
  }
  EXPECT_EQ(running->wait().reason, StopReason::cancelled);
  EXPECT_EQ(queued->wait().reason, StopReason::cancelled);
}

TEST_F(SchedulerTest, NumbersOutOfRangeFailAlone) {
  Scheduler scheduler(*engine_);
  Order good = order(20, 30, 7), bad = order(20, 30, 8);
  bad.state.wkv(0)[0] = std::numeric_limits<float>::infinity();
  const auto good_one = std::make_shared<Listener>(), bad_one = std::make_shared<Listener>();
  scheduler.submit(good, good_one);
  scheduler.submit(bad, bad_one);
  EXPECT_NE(bad_one->wait().error.find("finite"), std::string::npos) << bad_one->wait().error;
  const auto [text, state] = expected(good);
  EXPECT_EQ(good_one->wait().error, "");
  EXPECT_EQ(good_one->text(), text.text);
  EXPECT_TRUE(good_one->wait().state == state);
}

TEST_F(SchedulerTest, DetailsOfTokens) {
  Scheduler scheduler(*engine_);
  Order wanted = order(5, 20, 9);
  wanted.top_logprobs = 4;
  const auto listener = std::make_shared<Listener>();
  scheduler.submit(wanted, listener);
  const Finished& finished = listener->wait();
  ASSERT_EQ(listener->details().size(), 20u);
  State state = wanted.state;
  alone_->forward(state, wanted.prompt);
  for (size_t i = 0; i < finished.tokens.size(); ++i) {
    const TokenDetails& details = listener->details()[i];
    const std::vector<float> logits = std::as_const(state).logits();
    double sum = 0;
    for (const float logit : logits) sum += std::exp(double(logit));
    const auto logprob = [&](Token token) { return logits[size_t(token)] - std::log(sum); };
    EXPECT_EQ(details.drawn.token, finished.tokens[i]);
    EXPECT_NEAR(details.drawn.logprob, logprob(finished.tokens[i]), 1e-5);
    ASSERT_EQ(details.top.size(), 4u);
    EXPECT_EQ(logits[size_t(details.top[0].token)], *std::ranges::max_element(logits));
    for (size_t k = 0; k < 4; ++k) {
      EXPECT_NEAR(details.top[k].logprob, logprob(details.top[k].token), 1e-5);
      if (k == 0) continue;
      EXPECT_GE(details.top[k - 1].logprob, details.top[k].logprob);
    }
    alone_->forward(state, std::span(&finished.tokens[i], 1));
  }
}

// Bit for bit what the logits of every position say, whether the cache knows the prompt or not, in
// pieces and beside others.
TEST_F(SchedulerTest, DetailsOfThePromptsTokens) {
  for (const bool with_past : {false, true}) {
    SchedulerOptions options;
    options.piece_seconds = 1e-9;  // pieces of 16 tokens, shared
    Scheduler scheduler(*engine_, options);
    Order wanted = order(70, 3, 9);
    if (with_past) alone_->forward(wanted.state, prompt(4, 5));
    wanted.top_logprobs = 2;
    std::vector<std::shared_ptr<Listener>> listeners;
    for (int i = 0; i < 4; ++i) {
      Order next = wanted;
      next.prompt_logprobs = i != 1 ? 2 : -1;
      listeners.push_back(std::make_shared<Listener>());
      scheduler.submit(std::move(next), listeners.back());
      if (i < 2) listeners.back()->wait();
    }
    State state = wanted.state;
    std::vector<TokenDetails> expected;
    for (const Token token : wanted.prompt) {
      if (state.has_logits()) {
        expected.push_back(token_details(std::as_const(state).logits(), token, 2));
      } else {
        expected.push_back({{token, std::numeric_limits<float>::quiet_NaN()}, {}});
      }
      alone_->forward(state, std::span(&token, 1));
    }
    const auto bits = [](const TokenLogprob& x) {
      return std::pair(x.token, std::bit_cast<uint32_t>(x.logprob));
    };
    const std::vector<Token> text = listeners[1]->wait().tokens;
    EXPECT_EQ(listeners[1]->details().size(), 3u);
    for (const int i : {0, 2, 3}) {
      EXPECT_EQ(listeners[size_t(i)]->wait().tokens, text);
      EXPECT_EQ(listeners[size_t(i)]->wait().cached_tokens, 0u);
      const auto& details = listeners[size_t(i)]->details();
      ASSERT_EQ(details.size(), 73u);
      for (size_t at = 0; at < expected.size(); ++at) {
        EXPECT_EQ(bits(details[at].drawn), bits(expected[at].drawn)) << at;
        EXPECT_TRUE(std::ranges::equal(details[at].top, expected[at].top, {}, bits, bits)) << at;
      }
      EXPECT_EQ(details[70].drawn.token, text[0]);
    }
  }
}

// Also the one that ended the text, which the state has not read, and those that a stop string hid.
TEST_F(SchedulerTest, EveryTokenThatIsDrawnIsCountedAndDescribed) {
  Scheduler scheduler(*engine_);
  const auto drawn_of = [&](const Order& order) {
    const auto listener = std::make_shared<Listener>();
    scheduler.submit(order, listener);
    const Finished& finished = listener->wait();
    EXPECT_EQ(listener->details().size(), finished.drawn_tokens);
    return std::pair(finished.drawn_tokens, finished.tokens.size());
  };
  Order order = this->order(5, 30, 9);
  order.top_logprobs = 1;
  EXPECT_EQ(drawn_of(order), std::pair(size_t{30}, size_t{30}));
  const std::vector<Token> text = expected(order).first.tokens;
  order.generation.stop_tokens = {text[12]};
  const size_t before = size_t(std::ranges::find(text, text[12]) - text.begin());
  EXPECT_EQ(drawn_of(order), std::pair(before + 1, before));
  order.generation.stop_tokens.clear();
  order.generation.sampling.biases = {{Token{'a'}, 100}};
  order.generation.stop = {"aaa"};
  EXPECT_EQ(drawn_of(order), std::pair(size_t{3}, size_t{0}));
}

// The state has read what was given out, and the prompt of one that comes too late is named.
TEST_F(SchedulerTest, WhoseTimeIsOverEnds) {
  SchedulerOptions options;
  options.max_seconds = 0.05;
  Scheduler scheduler(*engine_, options);
  const Order endless = order(5, 1'000'000'000, 9);
  const auto listener = std::make_shared<Listener>();
  scheduler.submit(endless, listener);
  const Finished& finished = listener->wait();
  EXPECT_EQ(finished.reason, StopReason::length);
  EXPECT_EQ(finished.error, "");
  EXPECT_TRUE(finished.overdue);
  Order same = endless;
  same.generation.max_tokens = int(finished.tokens.size());
  const auto [text, state] = expected(same);
  EXPECT_EQ(text.tokens, finished.tokens);
  EXPECT_EQ(text.text, listener->text());
  EXPECT_TRUE(state == finished.state);

  const auto reader = std::make_shared<Listener>();
  scheduler.submit(order(2'000'000, 1, 3), reader);
  EXPECT_NE(reader->wait().error.find("of its 2000000 tokens"), std::string::npos)
      << reader->wait().error;
  EXPECT_TRUE(reader->wait().overdue);
  EXPECT_EQ(scheduler.stats().overdue, 2u);
}

TEST_F(SchedulerTest, BadOrdersAreRefusedAtOnce) {
  Scheduler scheduler(*engine_);
  const auto refused = [&](Order order) {
    EXPECT_THROW(scheduler.submit(std::move(order), std::make_shared<Listener>()), Error);
  };
  Order bad = order(3, 5, 1);
  bad.prompt[1] = 256;
  refused(bad);
  bad = order(3, 5, 1);
  bad.prompt.clear();
  refused(bad);
  bad = order(3, 5, 1);
  bad.state = State();
  refused(bad);
  bad = order(3, -1, 1);
  refused(bad);
  bad = order(3, 5, 1);
  bad.generation.sampling.temperature = -1;
  refused(bad);
  EXPECT_EQ(scheduler.stats().running + scheduler.stats().queued, 0);
}

}  // namespace
}  // namespace anser
