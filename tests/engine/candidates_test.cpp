// Drawing from a few candidates against drawing from all logits.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "anser/error.h"
#include "anser/sampling.h"

namespace anser {
namespace {

using Order = SamplingOptions::Order;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr double kRestError = 3e-5;

// An engine's answer, made slowly. The weight of the rest is as wrong as it may be: by `wrong`, -1
// to 1, of what is allowed.
struct Answer {
  std::vector<Candidates::Entry> above;
  Candidates candidates;

  Answer(std::vector<float> logits, const CandidateQuery& query, double wrong) {
    for (const LogitChange& change : query.changes) logits[size_t(change.id)] -= change.minus;
    std::vector<float> falling = logits;
    std::sort(falling.begin(), falling.end(), std::greater<>());
    // The first that there is no room for, with all its like.
    const size_t most = size_t(query.most);
    const float threshold = most < falling.size() ? falling[most] : -kInfinity;
    candidates.max = falling.front();
    candidates.best =
        Token(std::find(logits.begin(), logits.end(), falling.front()) - logits.begin());
    candidates.all = true;
    for (size_t id = 0; id < logits.size(); ++id) {
      if (logits[id] > threshold) {
        above.push_back({Token(id), logits[id]});
      } else if (logits[id] > -kInfinity) {
        candidates.all = false;
        candidates.rest += std::exp((double(logits[id]) - candidates.max) / query.temperature);
      }
    }
    candidates.above = above;
    candidates.rest *= 1 + wrong * kRestError;
    candidates.rest_error = kRestError;
    candidates.vocab = logits.size();
  }
};

// The token that two equal samplers draw, one from the candidates and one from all logits; whether
// the candidates were enough goes to `enough`.
Token draw_twice(Sampler& few, Sampler& all, const std::vector<float>& logits, double wrong,
                 bool& enough) {
  const Answer answer(logits, few.query(logits.size()), wrong);
  const std::optional<Token> token = few.sample(answer.candidates);
  const Token expected = all.sample(logits);
  enough = token.has_value();
  // Where they were not, nothing has been drawn.
  EXPECT_EQ(enough ? *token : few.sample(logits), expected);
  return expected;
}

// How a vocabulary's logits may look.
std::vector<float> some_logits(std::mt19937& random, size_t size) {
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> logits(size);
  const auto kind = random() % 6;
  const float deviation = std::vector<float>{0, 0.1f, 1, 3, 20, 5}[kind];
  for (float& logit : logits) logit = deviation * normal(random);
  // Zipf's law, as words have it.
  if (kind == 5) {
    for (size_t i = 0; i < size; ++i) logits[i] = -1.3f * std::log(float(i + 1)) + 0.1f * logits[i];
    std::shuffle(logits.begin(), logits.end(), random);
  }
  if (random() % 3 == 0) {
    for (float& logit : logits) logit = std::round(logit);  // ties, 0 and -0 among them
  }
  if (random() % 4 == 0) {
    for (size_t n = random() % size; n > 0; --n) logits[random() % size] = -kInfinity;
    logits[random() % size] = 1;  // one is possible
  }
  return logits;
}

TEST(FromCandidates, TheSameTokensAsFromAllLogits) {
  std::mt19937 random(11);
  int enough = 0, not_enough = 0;
  for (int round = 0; round < 2000; ++round) {
    const auto pick = [&](std::initializer_list<float> values) {
      return values.begin()[random() % values.size()];
    };
    const size_t size = round % 4 == 0 ? 3000 : 20 + random() % 900;
    SamplingOptions options;
    options.order = random() % 2 ? Order::blinkdl : Order::hugging_face;
    options.temperature = pick({0, 0.01f, 0.6f, 1, 1, 1.7f, 50});
    options.top_p = pick({0, 1e-6f, 0.3f, 0.5f, 0.85f, 0.95f, 0.999f, 1, 1});
    options.top_k = int(pick({0, 0, 0, 1, 2, 40, 300, 500, 100000}));
    options.min_p = pick({0, 0, 0.001f, 0.05f, 0.9f});
    options.presence = pick({0, 0.5f, 2, -1});
    options.frequency = pick({0, 0.1f, 1, -0.3f});
    options.seed = random();
    for (size_t n = random() % 4; n > 0; --n)
      options.banned.push_back(Token(random() % (size / 2)));
    for (size_t n = random() % 4; n > 0; --n)
      options.biases.push_back({Token(random() % size), pick({-100, -2.5f, 1, 7, 100})});
    Sampler few(options), all(options);
    const double wrong = double(pick({-1, -0.5f, 0, 0.7f, 1}));
    std::vector<float> logits = some_logits(random, size);
    logits[size - 1] = 0.5f;  // not banned
    for (int i = 0; i < 6; ++i) {
      SCOPED_TRACE(testing::Message()
                   << "round " << round << " order " << int(options.order) << " T "
                   << options.temperature << " p " << options.top_p << " k " << options.top_k
                   << " min " << options.min_p << " V " << size);
      bool was_enough;
      const Token token = draw_twice(few, all, logits, wrong, was_enough);
      if (testing::Test::HasFailure()) return;
      ++(was_enough ? enough : not_enough);
      // The penalties move what was drawn, and a few that were not.
      for (const Token accepted : {token, Token(random() % size)}) {
        few.accept(accepted, i % 2 ? "a" : "7");
        all.accept(accepted, i % 2 ? "a" : "7");
      }
    }
  }
  // Both ways were taken often.
  EXPECT_GT(enough, 6000);
  EXPECT_GT(not_enough, 1000);
}

// What the presets ask for lies within the candidates, or nothing would be gained.
TEST(FromCandidates, AreEnoughForThePresets) {
  std::mt19937 random(12);
  for (const char* preset : {"chat", "creative", "greedy"}) {
    SamplingOptions options = sampling_preset(preset);
    Sampler few(options), all(options);
    std::vector<float> logits(20000);
    for (size_t i = 0; i < logits.size(); ++i) logits[i] = -1.5f * std::log(float(i + 1));
    for (int i = 0; i < 50; ++i) {
      std::shuffle(logits.begin(), logits.end(), random);
      bool enough;
      const Token token = draw_twice(few, all, logits, i % 3 - 1, enough);
      EXPECT_TRUE(enough) << preset;
      few.accept(token, "a");
      all.accept(token, "a");
    }
  }
}

TEST(FromCandidates, AreNotEnoughForFlatDistributions) {
  const std::vector<float> flat(1000, 2.0f);
  bool enough;
  {
    Sampler few(sampling_preset("chat")), all = few;
    draw_twice(few, all, flat, 0, enough);
    EXPECT_FALSE(enough);
  }
  {
    Sampler few(sampling_preset("greedy")), all = few;
    EXPECT_EQ(draw_twice(few, all, flat, 0, enough), 0);
    EXPECT_TRUE(enough);
  }
  // All of 1000 different tokens are kept.
  SamplingOptions options;
  options.top_p = 1;
  std::vector<float> different;
  for (int i = 0; i < 1000; ++i) different.push_back(float(i) / 1000);
  Sampler few(options), all = few;
  draw_twice(few, all, different, 0, enough);
  EXPECT_FALSE(enough);
}

// 400 tokens of weight 1, and 600 that together weigh 2, as exactly as a logit can say: half of all
// is 201, and whether that takes 201 tokens or 202 depends on the last digits of the rest.
TEST(FromCandidates, ACutThatTheRestCouldMoveIsNotGuessed) {
  SamplingOptions options;
  options.top_p = 0.5f;
  options.order = Order::hugging_face;
  std::vector<float> logits(1000, float(std::log(2.0 / 600)));
  for (int i = 0; i < 400; ++i) logits[size_t(7 * i % 1000)] = 0;
  for (const double wrong : {-1.0, 0.0, 1.0}) {
    Sampler few(options), all = few;
    bool enough;
    draw_twice(few, all, logits, wrong, enough);
    // At its limits the error may happen to say which.
    if (wrong == 0) {
      EXPECT_FALSE(enough);
    }
  }
  // Away from the border it is known.
  options.top_p = 0.4987f;
  Sampler few(options), all = few;
  bool enough;
  draw_twice(few, all, logits, 1, enough);
  EXPECT_TRUE(enough);
}

TEST(FromCandidates, WhatIsWrongIsLeftToAllLogits) {
  Sampler sampler{SamplingOptions{}};
  Candidates broken;
  broken.well_formed = false;
  EXPECT_FALSE(sampler.sample(broken).has_value());
  Candidates impossible;
  impossible.max = -kInfinity;
  impossible.all = true;
  EXPECT_FALSE(sampler.sample(impossible).has_value());
}

TEST(FromCandidates, QueriesListEveryChangeOnce) {
  SamplingOptions options;
  options.presence = 2;
  options.frequency = 0.5f;
  options.penalty_decay = 1;
  options.banned = {9, 3, 9, 5};
  options.biases = {{7, 4}, {6, -1.5f}, {3, 100}, {1, 0.25f}, {6, 1}};
  Sampler sampler(options);
  for (const Token token : {7, 5, 7, 1}) sampler.accept(token, "a");
  const CandidateQuery query = sampler.query(10);
  const std::vector<std::pair<Token, float>> expected = {
      {1, 2.25f}, {3, kInfinity}, {5, kInfinity}, {6, 0.5f}, {7, -1.0f}, {9, kInfinity}};
  ASSERT_EQ(query.changes.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(query.changes[i].id, expected[i].first);
    EXPECT_EQ(query.changes[i].minus, expected[i].second);
  }
  EXPECT_EQ(query.temperature, 1.0);
  EXPECT_GE(query.most, 512);
  EXPECT_THROW(sampler.query(9), Error);

  options.order = Order::hugging_face;
  options.temperature = 0.5f;
  options.top_k = 1;
  EXPECT_EQ(Sampler(options).query(10).temperature, 0.5);
  EXPECT_LT(Sampler(options).query(10).most, 64);
  options.temperature = 0;
  EXPECT_EQ(Sampler(options).query(10).most, 0);
}

}  // namespace
}  // namespace anser
