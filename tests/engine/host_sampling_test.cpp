// Draws on the host, many at once: the tokens that a sampler finds in all logits.
#include "engine/host_sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <random>
#include <utility>

#include "anser/error.h"
#include "support/engines.h"
#include "support/errors.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;
using Order = SamplingOptions::Order;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class HostSamplingTest : public testing::Test {
 protected:
  HostSamplingTest() {
    write_gguf(dir_ / "m.gguf",
               random_model({.vocab = kVocab, .width = 64, .layers = 1, .ffn = 64}));
    model_ = std::make_unique<Model>(Model::open(dir_ / "m.gguf"));
    const Token token = 1;
    engine_ = Engine::create(*model_, {.device = Device::cpu, .threads = 1});
    state_ = model_->initial_state();
    engine_->forward(state_, std::span(&token, 1));
  }
  static constexpr int kVocab = 700;
  TempDir dir_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
  State state_;  // with logits
};

TEST_F(HostSamplingTest, DrawsWhatAllLogitsSay) {
  std::mt19937 random(3);
  const auto pick = [&](std::initializer_list<float> values) {
    return values.begin()[random() % values.size()];
  };
  ThreadPool one(1), three(3);
  HostSampling sampling;
  for (int round = 0; round < 150; ++round) {
    const size_t count = 1 + random() % 9;
    std::vector<State> states(count, state_);
    std::vector<Sampler> samplers, alone;
    for (State& state : states) {
      std::normal_distribution<float> normal(0, pick({0, 0.1f, 1, 3, 20}));
      for (float& logit : state.logits()) logit = normal(random);
      if (random() % 3 == 0) {
        for (float& logit : state.logits()) logit = std::round(logit);  // ties
      }
      if (random() % 4 == 0) {
        for (int n = 0; n < 300; ++n) state.logits()[random() % kVocab] = -kInfinity;
      }
      SamplingOptions options;
      options.order = random() % 2 ? Order::blinkdl : Order::hugging_face;
      options.temperature = pick({0, 0.01f, 0.6f, 1, 1, 1.7f, 50});
      options.top_p = pick({0, 1e-6f, 0.3f, 0.8f, 0.85f, 0.95f, 0.999f, 1, 1});
      options.top_k = int(pick({0, 0, 0, 1, 40, 500}));
      options.min_p = pick({0, 0, 0.001f, 0.05f, 0.9f});
      options.presence = pick({0, 0.5f, 2, -1});
      options.seed = random();
      options.biases = {{Token(random() % kVocab), pick({-5, 3, 100})}};
      options.banned = {Token(random() % kVocab)};
      samplers.emplace_back(options);
      alone.emplace_back(options);
    }
    std::vector<Draw> draws;
    for (size_t i = 0; i < count; ++i) draws.push_back({&states[i], &samplers[i]});
    for (int step = 0; step < 5; ++step) {
      sampling.sample(draws, round % 2 ? one : three);
      for (size_t i = 0; i < count; ++i) {
        const SamplingOptions& options = alone[i].options();
        ASSERT_EQ(draws[i].token, alone[i].sample(std::as_const(states[i]).logits()))
            << "round " << round << " order " << int(options.order) << " T " << options.temperature
            << " p " << options.top_p << " k " << options.top_k << " min " << options.min_p;
        samplers[i].accept(draws[i].token, "a");
        alone[i].accept(draws[i].token, "a");
      }
    }
  }
}

// What the presets ask for is found without the exponentials of all tokens.
TEST_F(HostSamplingTest, CandidatesAreEnoughForThePresets) {
  std::mt19937 random(4);
  RowSampling finder(choose_kernels());
  for (const char* preset : {"chat", "creative", "greedy"}) {
    Sampler sampler(sampling_preset(preset));
    std::vector<float> logits(4096);
    for (size_t i = 0; i < logits.size(); ++i) logits[i] = -1.5f * std::log(float(i + 1));
    for (int i = 0; i < 30; ++i) {
      std::shuffle(logits.begin(), logits.end(), random);
      const std::optional<Candidates> found = finder.find(logits, sampler);
      ASSERT_TRUE(found.has_value());
      EXPECT_LT(found->above.size(), 130u);
      EXPECT_TRUE(sampler.sample(*found).has_value()) << preset;
    }
  }
}

// Where a nucleus is thousands of tokens, or nothing is cut at all.
TEST_F(HostSamplingTest, FlatDistributionsAreDrawnFromInAFewPasses) {
  std::mt19937 random(5);
  RowSampling rows(choose_kernels());
  int draws = 0, undecided = 0;
  for (const size_t vocab : {511, 512, 20'000}) {
    for (const float spread : {0.0f, 0.1f, 1.0f, 4.0f}) {
      std::vector<float> logits(vocab);
      std::normal_distribution<float> normal(0, spread);
      for (float& logit : logits) logit = normal(random);
      if (spread == 1) {
        for (float& logit : logits) logit = std::round(logit * 64) / 64;  // ties
      }
      logits[random() % vocab] = -kInfinity;
      for (const Order order : {Order::blinkdl, Order::hugging_face}) {
        for (const float temperature : {0.6f, 1.0f, 3.0f}) {
          for (const auto& [top_p, min_p] : {std::pair{0.3f, 0.0f},
                                             {0.85f, 0.0f},
                                             {0.999f, 0.01f},
                                             {1.0f, 0.0f},
                                             {1.0f, 0.2f}}) {
            SamplingOptions options;
            options.order = order;
            options.temperature = temperature;
            options.top_p = top_p;
            options.min_p = min_p;
            options.seed = random();
            options.biases = {{Token(random() % vocab), 2}};
            Sampler sampler(options), alone(options);
            for (int i = 0; i < 4; ++i) {
              const Token expected = alone.sample(logits);
              const std::optional<Token> found = rows.draw_from_all(logits, sampler);
              ++draws;
              undecided += found ? 0 : 1;
              ASSERT_EQ(found.value_or(expected), expected)
                  << "V " << vocab << " spread " << spread << " order " << int(order) << " T "
                  << temperature << " p " << top_p << " min " << min_p;
              if (!found) sampler = alone;
            }
          }
        }
      }
    }
  }
  EXPECT_LT(undecided, draws / 20);  // those where all tokens weigh the same

  // What cannot be told changes nothing.
  SamplingOptions options;
  options.top_k = 3;
  Sampler sampler(options), alone = sampler;
  std::vector<float> logits(1000, 0.5f);
  EXPECT_FALSE(rows.draw_from_all(logits, sampler).has_value());
  EXPECT_EQ(sampler.sample(logits), alone.sample(logits));
}

TEST_F(HostSamplingTest, OneSamplerDrawsInOrderAndErrorsComeBack) {
  ThreadPool pool(3);
  HostSampling sampling;
  Sampler sampler(sampling_preset("creative")), alone = sampler;
  std::vector<Draw> draws(20, {&state_, &sampler});
  sampling.sample(draws, pool);
  for (const Draw& draw : draws) {
    EXPECT_EQ(draw.token, alone.sample(std::as_const(state_).logits()));
  }
  State broken = state_;
  broken.logits()[7] = std::nanf("");
  Sampler other = sampler, third = sampler;
  Draw mixed[] = {{&state_, &sampler}, {&broken, &other}, {&state_, &third}};
  expect_error({"token 7"}, [&] { sampling.sample(mixed, pool); });
  const State empty = model_->initial_state();
  Draw none{&empty, &sampler};
  expect_error({"no logits"}, [&] { sampling.sample(std::span(&none, 1), pool); });
}

}  // namespace
}  // namespace anser
