// Logits that stay on the device, and tokens that are drawn from them.
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "anser/error.h"
#include "anser/generate.h"
#include "cuda_sampling.h"
#include "support/compare.h"
#include "support/engines.h"
#include "support/errors.h"

namespace anser {
namespace {

using namespace support;

TEST_F(CudaSampling, DrawsWhatTheHostDraws) {
  std::vector<SamplingOptions> options = {sampling_preset("greedy"), sampling_preset("chat"),
                                          sampling_preset("creative")};
  options.resize(7);
  options[3].top_p = 1;  // all tokens are needed
  options[4].order = SamplingOptions::Order::hugging_face;
  options[4].top_k = 5;
  options[4].banned = {1, 2, 3};
  options[5].temperature = 0.7f;
  options[5].min_p = 0.05f;
  options[6].biases = {{4, 6}, {9, -3}, {2, -100}, {11, 5.5f}};
  options[6].presence = 2;
  std::vector<State> states(options.size(), model_->initial_state());
  std::vector<Sampler> samplers, host;
  for (size_t i = 0; i < options.size(); ++i) {
    options[i].seed = i;
    samplers.emplace_back(options[i]);
    host.emplace_back(options[i]);
  }
  std::vector<Draw> draws;
  for (size_t i = 0; i < states.size(); ++i) draws.push_back({&states[i], &samplers[i], Token(i)});
  states[2].logits().assign(kVocab, 0.0f);  // one that is on the host
  states[2].logits()[9] = 20;
  for (int step = 0; step < 6; ++step) {
    std::vector<Sequence> batch;
    for (size_t i = 0; i < states.size(); ++i) {
      if (step > 0 || i != 2) batch.push_back({&states[i], std::span(&draws[i].token, 1)});
    }
    engine_->forward(batch);
    engine_->sample(draws);
    for (size_t i = 0; i < states.size(); ++i) {
      EXPECT_EQ(draws[i].token, host[i].sample(std::as_const(states[i]).logits()))
          << "step " << step << " sequence " << i;
      samplers[i].accept(draws[i].token, "a");
      host[i].accept(draws[i].token, "a");
    }
  }
}

// The others of a batch are drawn from candidates, a constrained one from all logits.
TEST_F(CudaSampling, ConstrainedDrawsAreThoseOfTheHost) {
  const auto constraint = Constraint::json_schema(Tokenizer::bytes(), kVocab,
                                                  R"({"type":"string","pattern":"^[a-f]+$"})");
  for (const char* preset : {"greedy", "creative"}) {
    State state = model_->initial_state(), other = state;
    Sampler sampler(sampling_preset(preset)), free(sampling_preset("chat"));
    sampler.constrain(constraint, {});
    Sampler host = sampler;
    Draw draws[] = {{&other, &free, 5}, {&state, &sampler, 3}};
    for (int step = 0; step < 8 && !host.ended(); ++step) {
      const Sequence batch[] = {{&other, std::span(&draws[0].token, 1)},
                                {&state, std::span(&draws[1].token, 1)}};
      engine_->forward(batch);
      engine_->sample(draws);
      EXPECT_EQ(draws[1].token, host.sample(std::as_const(state).logits())) << preset << step;
      const std::string text(1, char(draws[1].token));
      sampler.accept(draws[1].token, text);
      host.accept(draws[1].token, text);
    }
  }
}

TEST_F(CudaSampling, SeveralDrawsFromOneState) {
  State state = model_->initial_state();
  const Token tokens[] = {3, 4};
  engine_->forward(state, tokens);
  Sampler sampler(sampling_preset("creative")), host = sampler;
  std::vector<Draw> draws(20, {&state, &sampler});
  engine_->sample(draws);
  for (const Draw& draw : draws) EXPECT_EQ(draw.token, host.sample(std::as_const(state).logits()));
}

TEST_F(CudaSampling, WithoutLogitsIsAnError) {
  State state = model_->initial_state();
  Sampler sampler(sampling_preset("chat"));
  expect_error({"no logits"}, [&] { engine_->sample(state, sampler); });
  SamplingOptions options;
  options.banned = {Token(kVocab)};
  Sampler outside(options);
  const Token token = 1;
  engine_->forward(state, std::span(&token, 1));
  expect_error({"outside the vocabulary"}, [&] { engine_->sample(state, outside); });
}

// generate() by hand, with a sampler that has all logits.
TEST_F(CudaSampling, GeneratesWhatTheHostDraws) {
  Shape shape = kTinyShape;
  shape.vocab = 300;
  write_gguf(dir_ / "bytes.gguf", random_model(shape), {.byte_vocabulary = true});
  const Model model = Model::open(dir_ / "bytes.gguf");
  CudaEngine engine(model, EngineOptions{.max_rows = 16});
  const std::vector<Token> prompt = as_tokens({70, 80, 90});
  GenerateOptions options;
  options.max_tokens = 12;
  options.sampling = sampling_preset("creative");
  options.sampling.banned = {0};
  options.stop = {"a stop string that does not occur"};
  State state = model.initial_state(), by_hand = state;
  engine.forward(state, prompt);
  const Generated generated = generate(engine, state, options);

  std::vector<Token> expected;
  Sampler sampler(options.sampling);
  engine.forward(by_hand, prompt);
  for (int i = 0; i < options.max_tokens; ++i) {
    expected.push_back(sampler.sample(std::as_const(by_hand).logits()));
    sampler.accept(expected.back(), model.tokenizer().bytes_of(expected.back()));
    engine.forward(by_hand, std::span(&expected.back(), 1));
  }
  EXPECT_EQ(generated.tokens, expected);
  EXPECT_TRUE(state == by_hand);
}

// More sequences than the head's products take at once, in recorded steps.
TEST_F(CudaSampling, LargeBatches) {
  CudaEngine engine(*model_, EngineOptions{.max_rows = 80});
  State alone = model_->initial_state();
  std::vector<State> states(70, alone);
  for (int step = 0; step < 4; ++step) {
    const Token token = 5 + step;
    std::vector<Sequence> batch;
    for (State& state : states) batch.push_back({&state, std::span(&token, 1)});
    engine.forward(batch);
  }
  for (const State& state : states) {
    EXPECT_TRUE(std::equal(state.data().begin(), state.data().end(), states[0].data().begin()));
  }
  // 64 rows go through one product, the others through another, and both to where they belong.
  for (int i = 0; i < 64; ++i) EXPECT_TRUE(states[size_t(i)] == states[0]) << i;
  for (int i = 64; i < 70; ++i) EXPECT_TRUE(states[size_t(i)] == states[64]) << i;
  for (int step = 0; step < 4; ++step) {
    const Token token = 5 + step;
    engine.forward(alone, std::span(&token, 1));
  }
  const std::vector<double> expected(alone.logits().begin(), alone.logits().end());
  for (const size_t i : {0u, 69u}) {
    expect_close(states[i].logits(), expected, 0.02 * largest(expected), "logits");
  }
}

// Nobody waits between these steps: what a step reads must not be overtaken by the next one's.
TEST_F(CudaSampling, StepsThatNobodyWaitsFor) {
  const std::vector<Token> tokens = as_tokens(random_tokens(9, kVocab));
  State state = model_->initial_state(), waited = state;
  for (const Token token : tokens) {
    State stranger = model_->initial_state();  // its block is free again after the step
    const Sequence batch[] = {{&state, std::span(&token, 1)}, {&stranger, std::span(&token, 1)}};
    engine_->forward(batch);
  }
  for (const Token token : tokens) {
    engine_->forward(waited, std::span(&token, 1));
    engine_->wait();
  }
  EXPECT_TRUE(state == waited);
}

TEST_F(CudaSampling, StatesOutliveTheirEngine) {
  State state = model_->initial_state(), expected = state;
  const Token token = 4;
  engine_->forward(expected, std::span(&token, 1));
  expected.data(), expected.logits();  // fetched
  engine_->forward(state, std::span(&token, 1));
  engine_ = nullptr;  // with a step that nobody has waited for
  const State copy = state;
  EXPECT_TRUE(state == expected);
  EXPECT_TRUE(copy == expected);
}

// A weight that is not a number shows at the first call that waits.
TEST(CudaErrors, ResultsThatAreNotFinite) {
  TempDir dir;
  RandomModel random = random_model(kTinyShape);
  random["blocks.1.ffn.key.weight"].values[70] = std::nan("");
  write_safetensors(dir / "m", random);
  const Model model = Model::open(dir / "m");
  CudaEngine engine(model, EngineOptions{.max_rows = 8});
  const State fresh = model.initial_state();
  const Token token = 1;
  const std::vector<std::string> words = {"blocks.1.ffn.key.weight", "NaN at [2, 6]"};
  Sampler sampler(sampling_preset("chat"));
  const auto step = [&](State& state) {
    state = fresh;
    engine.forward(state, std::span(&token, 1));
  };
  State state, other;
  step(state);
  expect_error(words, [&] { engine.wait(); });
  engine.wait();  // said once
  step(state);
  expect_error(words, [&] { engine.sample(state, sampler); });
  step(state);
  expect_error(words, [&] { state.logits(); });
  step(state);
  expect_error(words, [&] { state.data(); });
  step(state);
  expect_error(words, [&] { other = state; });
  step(state);
  expect_error(words, [&] {
    for (int i = 0; i < 2; ++i) engine.forward(state, std::span(&token, 1));
  });
  std::vector<float> all(kTinyShape.vocab);
  state = fresh;
  const Sequence every{&state, std::span(&token, 1), LogitsFor::all, all.data()};
  expect_error(words, [&] { engine.forward(std::span(&every, 1)); });
}

}  // namespace
}  // namespace anser
