// The sampler against a slow one that sorts everything in double precision.
#include "anser/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "anser/error.h"

namespace anser {
namespace {

using Order = SamplingOptions::Order;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Weight {
  Token id;
  double logit;
  double p;
};

// Not divided by their sum yet: n equal logits have weights of exactly 1, so that half of them are
// exactly half of the sum, whatever the way of adding up.
void weigh(std::vector<Weight>& weights, double temperature) {
  for (Weight& w : weights) w.p = std::exp((w.logit - weights[0].logit) / temperature);
}

double sum_of(const std::vector<Weight>& weights) {
  double sum = 0;
  for (const Weight& w : weights) sum += w.p;
  return sum;
}

void cut_top_p(std::vector<Weight>& weights, const SamplingOptions& options) {
  if (options.top_p >= 1) return;
  const double wanted = options.top_p * sum_of(weights);
  double sum = 0;
  size_t kept = 0;
  while (kept < weights.size() && sum < wanted) sum += weights[kept++].p;
  if (options.order == Order::blinkdl) {
    const double cutoff = weights[kept - 1].logit;
    while (kept < weights.size() && weights[kept].logit == cutoff) ++kept;
  }
  weights.resize(kept);
}

void cut_top_k(std::vector<Weight>& weights, const SamplingOptions& options) {
  if (options.top_k > 0) weights.resize(std::min(weights.size(), size_t(options.top_k)));
}

void cut_min_p(std::vector<Weight>& weights, const SamplingOptions& options) {
  const double least = options.min_p * weights[0].p;
  std::erase_if(weights, [&](const Weight& w) { return w.p < least; });
}

// The definition, step by step, for logits without penalties; the result in order of ids.
std::vector<Weight> obvious(const std::vector<float>& logits, const SamplingOptions& options) {
  std::vector<Weight> weights;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > -kInfinity) weights.push_back({Token(i), logits[i], 0});
  }
  std::stable_sort(weights.begin(), weights.end(),
                   [](const Weight& a, const Weight& b) { return a.logit > b.logit; });
  if (options.temperature == 0 || options.top_p == 0) {
    weights.resize(1);
    weights[0].p = 1;
    return weights;
  }
  if (options.order == Order::blinkdl) {
    weigh(weights, 1.0);
    cut_top_p(weights, options);
    cut_top_k(weights, options);
    cut_min_p(weights, options);
  } else {
    cut_top_k(weights, options);
    weigh(weights, options.temperature);
    cut_top_p(weights, options);
    cut_min_p(weights, options);
  }
  weigh(weights, options.temperature);
  const double sum = sum_of(weights);
  for (Weight& w : weights) w.p /= sum;
  std::sort(weights.begin(), weights.end(),
            [](const Weight& a, const Weight& b) { return a.id < b.id; });
  return weights;
}

std::vector<float> random_logits(std::mt19937& random, size_t size, float deviation, bool ties) {
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = ties ? std::round(normal(random)) : normal(random);
  return logits;
}

void expect_same(std::span<const Candidate> actual, const std::vector<Weight>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  double sum = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(actual[i].id, expected[i].id);
    // Both are doubles: a sum of n terms in another order differs by less than n 2^-53 relative,
    // n <= 5000, and exp by a unit in the last place.
    ASSERT_NEAR(actual[i].p, expected[i].p, 1e-12 * expected[i].p + 1e-300);
    sum += actual[i].p;
  }
  EXPECT_NEAR(sum, 1.0, 1e-12);
}

TEST(Sampler, KeepsWhatTheDefinitionKeeps) {
  std::mt19937 random(5);
  for (int round = 0; round < 3000; ++round) {
    const auto pick = [&](std::initializer_list<float> values) {
      return values.begin()[random() % values.size()];
    };
    const size_t size = round % 10 == 0 ? 5000 : 1 + random() % 60;
    const bool ties = random() % 3 == 0;
    std::vector<float> logits = random_logits(random, size, pick({0.1f, 1, 3, 20}), ties);
    SamplingOptions options;
    options.order = random() % 2 ? Order::blinkdl : Order::hugging_face;
    options.temperature = pick({0, 0.01f, 0.6f, 1, 1, 1.7f, 50});
    options.top_p = pick({0, 1e-6f, 0.3f, 0.5f, 0.85f, 0.999f, 1, 1});
    options.top_k = int(pick({0, 0, 1, 2, 7, 40, 100000}));
    options.min_p = pick({0, 0, 0.05f, 0.9f});
    for (size_t n = random() % 3; n-- > 0 && size > 3;) {
      const Token banned = Token(random() % size);
      if (random() % 2) {
        options.banned.push_back(banned);
      } else {
        logits[size_t(banned)] = -kInfinity;
      }
    }
    std::vector<float> allowed = logits;
    for (size_t n = random() % 4; n > 0; --n) {
      const SamplingOptions::Bias entry{Token(random() % size), pick({-100, -7.5f, 0.25f, 3, 100})};
      const auto same = [&](const auto& other) { return other.id == entry.id; };
      if (std::ranges::any_of(options.biases, same)) continue;
      options.biases.push_back(entry);
      allowed[size_t(entry.id)] += entry.bias;
    }
    for (const Token id : options.banned) allowed[size_t(id)] = -kInfinity;

    Sampler sampler(options);
    SCOPED_TRACE(testing::Message() << "order " << int(options.order) << " T "
                                    << options.temperature << " p " << options.top_p << " k "
                                    << options.top_k << " min " << options.min_p << " V " << size);
    expect_same(sampler.distribution(logits), obvious(allowed, options));
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Sampler, BiasesAreAddedToPenaltiesAndToEachOther) {
  SamplingOptions options;
  options.temperature = 0;
  options.presence = 5;
  options.biases = {{2, 1.5f}, {2, 1.5f}, {1, 2.5f}};
  const std::vector<float> logits = {2, 0, 0};
  Sampler sampler(options);
  EXPECT_EQ(sampler.sample(logits), 2);
  sampler.accept(2, "a");  // 3 - 5
  EXPECT_EQ(sampler.sample(logits), 1);
  sampler.accept(1, "b");
  EXPECT_EQ(sampler.sample(logits), 0);
}

// A generator of its own, to know which numbers the sampler draws.
struct Xoshiro {
  uint64_t s[4];
  explicit Xoshiro(uint64_t seed) {
    for (uint64_t& word : s) {
      seed += 0x9e3779b97f4a7c15ull;
      uint64_t z = seed;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
      z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
      word = z ^ (z >> 31);
    }
  }
  double next() {
    const auto rotate = [](uint64_t x, int k) { return (x << k) | (x >> (64 - k)); };
    const uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3], s[2] ^= t, s[3] = rotate(s[3], 45);
    return double(result >> 11) / 9007199254740992.0;
  }
};

// The published first output of splitmix64 for seed 0 pins the test's own generator.
TEST(Sampler, TheTestsGeneratorIsTheKnownOne) {
  EXPECT_EQ(Xoshiro(0).s[0], 0xe220a8397b1dcdafull);
}

TEST(Sampler, DrawsByTheCumulativeSumInOrderOfIds) {
  std::mt19937 random(6);
  for (const uint64_t seed : {uint64_t{0}, uint64_t{42}, ~uint64_t{0}}) {
    SamplingOptions options;
    options.seed = seed;
    options.temperature = 1.3f;
    options.top_p = 0.95f;
    Sampler sampler(options);
    Xoshiro draws(seed);
    for (int i = 0; i < 500; ++i) {
      const std::vector<float> logits = random_logits(random, 200, 2, false);
      const std::vector<Weight> expected = obvious(logits, options);
      const double draw = draws.next();
      double sum = 0;
      Token token = expected.back().id;
      for (const Weight& w : expected) {
        sum += w.p;
        if (sum > draw) {
          token = w.id;
          break;
        }
      }
      ASSERT_EQ(sampler.sample(logits), token);
    }
  }
}

TEST(Sampler, FrequenciesAreTheProbabilities) {
  SamplingOptions options;
  options.top_p = 1;
  options.seed = 7;
  Sampler sampler(options);
  const std::vector<double> p = {0.5, 0.25, 0.125, 0.0625, 0.03125, 0.03125};
  std::vector<float> logits;
  for (const double value : p) logits.push_back(float(std::log(value)));
  std::vector<int> counts(p.size());
  constexpr int kDraws = 200000;
  for (int i = 0; i < kDraws; ++i) ++counts[size_t(sampler.sample(logits))];
  double chi_square = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    chi_square += std::pow(counts[i] - kDraws * p[i], 2) / (kDraws * p[i]);
  }
  // 5 degrees of freedom: above 20.5 with probability 0.001. The seed is fixed, so it is no
  // lottery.
  EXPECT_LT(chi_square, 20.5);
}

TEST(Sampler, GreedyTakesTheLowestIdOfATie) {
  for (const bool by_temperature : {true, false}) {
    SamplingOptions options;
    (by_temperature ? options.temperature : options.top_p) = 0;
    Sampler sampler(options);
    EXPECT_EQ(sampler.sample(std::vector<float>{1, 3, -2, 3, 3}), 1);
    EXPECT_EQ(sampler.sample(std::vector<float>{-5}), 0);
    std::vector<float> long_row(1000, -1.0f);
    long_row[998] = long_row[537] = 4.0f;  // also outside whole vectors
    EXPECT_EQ(sampler.sample(long_row), 537);
  }
}

TEST(Sampler, TiesAtTheCut) {
  const std::vector<float> logits = {0, 1, 0, 0, 1};
  SamplingOptions options;
  options.top_p = 0.9f;  // e/(2e+3) = 0.322, 1/(2e+3) = 0.118: all but one are needed
  // BlinkDL's cutoff is a probability, so all that have it survive; the other order counts tokens.
  EXPECT_EQ(Sampler(options).distribution(logits).size(), 5u);
  options.top_p = 0.5f;
  EXPECT_EQ(Sampler(options).distribution(logits).size(), 2u);
  options.top_p = 0.7f;
  options.order = Order::hugging_face;
  Sampler sampler(options);
  const auto kept = sampler.distribution(logits);
  ASSERT_EQ(kept.size(), 3u);
  EXPECT_EQ(kept[0].id, 0);
  EXPECT_EQ(kept[1].id, 1);
  EXPECT_EQ(kept[2].id, 4);
  // Equal logits have weight exactly 1, so half of ten are exactly five.
  options.top_p = 0.5f;
  EXPECT_EQ(Sampler(options).distribution(std::vector<float>(10, -3.0f)).size(), 5u);
  options.top_p = 1;
  options.top_k = 4;
  Sampler of_four(options);
  const auto first_four = of_four.distribution(std::vector<float>(10, -3.0f));
  ASSERT_EQ(first_four.size(), 4u);
  EXPECT_EQ(first_four[3].id, 3);
}

// RWKV's order cuts the model's own distribution; the other one cuts what the temperature made of
// it.
TEST(Sampler, TheTwoOrdersDiffer) {
  const std::vector<float> logits = {2, 1, 0, -1};
  SamplingOptions options;
  options.temperature = 5;
  options.top_p = 0.6f;  // softmax: 0.644 0.237 0.087 0.032
  EXPECT_EQ(Sampler(options).distribution(logits).size(), 1u);
  options.order = Order::hugging_face;  // at T = 5: 0.330 0.270 0.221 0.181
  EXPECT_EQ(Sampler(options).distribution(logits).size(), 3u);
}

TEST(Sampler, PenaltiesAreBlinkDls) {
  SamplingOptions options;
  options.top_p = 1;
  options.presence = 2;
  options.frequency = 0.5f;
  options.penalty_decay = 0.5f;
  Sampler sampler(options);
  const std::vector<float> logits(8, 10.0f);
  sampler.accept(3, "a");   // 3: 1
  sampler.accept(3, "a");   // 3: 0.5 + 1
  sampler.accept(5, "bc");  // 3: 0.75, 5: 1
  sampler.accept(6, "12");  // 3: 0.375, 5: 0.5, 6: an entry of 0
  const auto kept = sampler.distribution(logits);
  const float expected[] = {10, 10, 10, 10 - 2 - 0.1875f, 10, 10 - 2 - 0.25f, 10 - 2, 10};
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(kept[i].logit, expected[i]) << i;
}

TEST(Sampler, ExemptsNumbersAndIndentationAsBlinkDlDoes) {
  const auto count_of = [](const char* text) {
    SamplingOptions options;
    options.top_p = 1;
    options.presence = 1;
    options.frequency = 100;
    Sampler sampler(options);
    sampler.accept(0, text);
    return (-1 - sampler.distribution(std::vector<float>{0, 0})[0].logit) / 100;
  };
  // What occurs in the string " \t0123456789", and nothing else.
  for (const char* exempt : {"", " ", "\t", " \t", "0", "7", "12", "0123456789", "\t0"}) {
    EXPECT_EQ(count_of(exempt), 0) << '"' << exempt << '"';
  }
  for (const char* counted : {"42", "11", "  ", "\n", "a", " 1", "90", "\xff"}) {
    EXPECT_EQ(count_of(counted), 1) << '"' << counted << '"';
  }
}

TEST(Sampler, PresenceLastsForever) {
  SamplingOptions options;
  options.top_p = 1;
  options.presence = 3;
  options.frequency = 1;
  options.penalty_decay = 0.1f;
  Sampler sampler(options);
  sampler.accept(1, "a");
  for (int i = 0; i < 1000; ++i) sampler.accept(0, "b");
  EXPECT_EQ(sampler.distribution(std::vector<float>{0, 0, 0})[1].logit, -3);
}

TEST(Sampler, ACopyGoesOnAlike) {
  SamplingOptions options;
  options.presence = 1;
  options.temperature = 2;
  std::mt19937 random(8);
  Sampler one(options);
  const std::vector<float> logits = random_logits(random, 100, 1, false);
  for (int i = 0; i < 10; ++i) one.accept(one.sample(logits), "x");
  Sampler two = one;
  for (int i = 0; i < 50; ++i) {
    const Token token = one.sample(logits);
    ASSERT_EQ(two.sample(logits), token);
    one.accept(token, "x");
    two.accept(token, "x");
  }
  options.seed = 1;
  Sampler other(options), first(SamplingOptions{});
  int same = 0;
  for (int i = 0; i < 50; ++i) same += other.sample(logits) == first.sample(logits);
  EXPECT_LT(same, 25);
}

TEST(Sampler, DoesNotChangeTheLogits) {
  SamplingOptions options;
  options.banned = {0};
  options.presence = 1;
  Sampler sampler(options);
  sampler.accept(1, "a");
  const std::vector<float> logits = {1, 2, 3}, before = logits;
  sampler.sample(logits);
  EXPECT_EQ(logits, before);
}

TEST(Sampler, BannedTokensAreNeverSampled) {
  SamplingOptions options;
  options.temperature = 0;
  options.banned = {2, 0};
  Sampler sampler(options);
  EXPECT_EQ(sampler.sample(std::vector<float>{5, 1, 9}), 1);
}

TEST(Sampler, ErrorsInsteadOfNonsense) {
  for (const float temperature : {0.0f, 1.0f}) {
    SamplingOptions options;
    options.temperature = temperature;
    Sampler sampler(options);
    EXPECT_THROW(sampler.sample(std::vector<float>{}), Error);
    EXPECT_THROW(sampler.sample(std::vector<float>{1, kNan, 2}), Error);
    EXPECT_THROW(sampler.sample(std::vector<float>{1, kInfinity}), Error);
    EXPECT_THROW(sampler.sample(std::vector<float>{-kInfinity, -kInfinity}), Error);
    // In every place of a vector, and behind the last whole one.
    for (size_t i = 0; i < 37; ++i) {
      std::vector<float> logits(37, 1.0f);
      logits[i] = kNan;
      EXPECT_THROW(sampler.sample(logits), Error) << i;
    }
    options.banned = {0, 1};
    EXPECT_THROW(Sampler(options).sample(std::vector<float>{1, 2}), Error);
    EXPECT_EQ(Sampler(options).sample(std::vector<float>{1, 2, -1}), 2);
    // A ban does not hide a broken model.
    EXPECT_THROW(Sampler(options).sample(std::vector<float>{kNan, 1, 2}), Error);
    options.banned = {3};
    EXPECT_THROW(Sampler(options).sample(std::vector<float>{1, 2, 3}), Error);
  }
  SamplingOptions options;
  options.presence = 1;
  Sampler sampler(options);
  EXPECT_THROW(sampler.accept(-1, "a"), Error);
  sampler.accept(2, "a");  // penalised, where there is no such token
  EXPECT_THROW(sampler.sample(std::vector<float>{1, 2}), Error);
}

TEST(Sampler, ExtremeLogitsAndTemperatures) {
  constexpr float kMax = std::numeric_limits<float>::max();
  for (const float temperature : {1e-40f, 1e-3f, 1.0f, 1e30f}) {
    for (const Order order : {Order::blinkdl, Order::hugging_face}) {
      SamplingOptions options;
      options.order = order;
      options.temperature = temperature;
      Sampler sampler(options);
      EXPECT_EQ(sampler.sample(std::vector<float>{-kMax, kMax, -kMax}), 1);
      double sum = 0;
      for (const Candidate& c : sampler.distribution(std::vector<float>{-kMax, kMax, 0, 1})) {
        sum += c.p;
      }
      EXPECT_NEAR(sum, 1, 1e-12);
    }
  }
}

}  // namespace
}  // namespace anser
