// Whole models on the CUDA backend, against the reference and the CPU.
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "anser/error.h"
#include "anser/generate.h"
#include "cuda/cuda_backend.h"
#include "emulator/emulated_device.h"
#include "engine/backend_engine.h"
#include "support/compare.h"
#include "support/engines.h"
#include "support/errors.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

using CudaEngine = BackendEngine<CudaBackend>;
static_assert(Backend<CudaBackend>);

// Rows that are computed in fp32; by tensor cores, with zeros skipped and without; by cuBLASLt, or
// where weights are quantised in integers.
constexpr int kFew = 4, kSparse = 7, kSome = 19, kMany = 67, kMaxRows = 96;

// As small as the type allows: an emulated token takes a tenth of a second.
Shape shape_for(Ggml type) {
  const bool k_type = type == Ggml::q4_k || type == Ggml::q5_k || type == Ggml::q6_k;
  const int width = k_type ? 256 : 64;
  return {.vocab = 50, .width = width, .layers = 2, .ffn = 2 * width};
}

class CudaAgreement : public testing::TestWithParam<Ggml> {
 protected:
  void SetUp() override {
    shape_ = shape_for(GetParam());
    model_ = random_model(shape_);
    write_gguf(dir_ / "m.gguf", model_, {.type = GetParam()});
    opened_ = std::make_unique<Model>(Model::open(dir_ / "m.gguf"));
    cpu_ = Engine::create(*opened_, {.device = Device::cpu, .threads = 2});
    cuda_ = std::make_unique<CudaEngine>(*opened_, EngineOptions{.max_rows = kMaxRows});
    ids_ = random_tokens(kMany, shape_.vocab);
    tokens_ = as_tokens(ids_);
  }
  std::span<const Token> part(int begin, int end) const {
    return std::span(tokens_).subspan(size_t(begin), size_t(end - begin));
  }
  // Where many rows go through GEMMs activations are rounded to 16 bits, where weights are
  // quantised the CPU rounds them to 8: the CPU's bound for 8 bits covers all.
  void expect_agreement(int count) {
    const std::vector<int> ids(ids_.begin(), ids_.begin() + count);
    const auto expected = all_logits(*cpu_, ids), actual = all_logits(*cuda_, ids);
    for (size_t t = 0; t < ids.size(); ++t) {
      const std::vector<double> row(expected[t].begin(), expected[t].end());
      expect_close(actual[t], row, quantised_tolerance(shape_, largest(row)),
                   "token " + std::to_string(t));
      EXPECT_LT(kl_divergence(row, actual[t]), 1e-3);
    }
  }

  Shape shape_;
  TempDir dir_;
  RandomModel model_;
  std::unique_ptr<Model> opened_;
  std::unique_ptr<Engine> cpu_, cuda_;
  std::vector<int> ids_;
  std::vector<Token> tokens_;
};

TEST_P(CudaAgreement, FewRows) {
  expect_agreement(kFew);
}
TEST_P(CudaAgreement, RowsOfWhichZerosAreSkipped) {
  expect_agreement(kSparse);
}
TEST_P(CudaAgreement, SomeRows) {
  expect_agreement(kSome);
}
TEST_P(CudaAgreement, ManyRows) {
  expect_agreement(kMany);
}

// Products of integers are the CPU's own arithmetic; the matrices of layer 0's states, where k and
// v meet, show it best. Inputs of low-rank pairs are f16, off by 2^-12 at the most: so is the
// state.
//
// K types have scales rounded to f16, so codes of activations differ where such a difference
// crosses a boundary: with a probability of 2^-12 / step, by a step (quantised_tolerance() has it),
// which makes sqrt(2^-12 step). Twice that, of k, v, the removal key and its strength together.
// (With activations in f16 the difference is 7e-3, whatever the type: the CPU's own rounding.)
class CudaIntegers : public CudaAgreement {};

TEST_P(CudaIntegers, AreTheCpusArithmetic) {
  State on_cpu = opened_->initial_state(), on_cuda = on_cpu;
  cpu_->forward(on_cpu, part(0, kMany));
  cuda_->forward(on_cuda, part(0, kMany));
  const std::span<const float> expected = std::as_const(on_cpu).data(),
                               actual = std::as_const(on_cuda).data();
  double squares = 0, errors = 0;
  for (size_t i = 2 * size_t(shape_.width); i < expected.size() / size_t(shape_.layers); ++i) {
    squares += double(expected[i]) * expected[i];
    errors += std::pow(double(actual[i]) - expected[i], 2.0);
  }
  const bool k_type = shape_.width == 256;
  EXPECT_LE(std::sqrt(errors / squares), k_type ? 2 * std::sqrt(0x1p-12 * 2.5 / 127) : 0x1p-12);
  EXPECT_GT(squares, 0);
}

INSTANTIATE_TEST_SUITE_P(Types, CudaIntegers,
                         testing::Values(Ggml::q8_0, Ggml::q4_0, Ggml::q4_1, Ggml::q5_0, Ggml::q5_1,
                                         Ggml::q4_k, Ggml::q5_k, Ggml::q6_k));

// Formats of every kind of scale.
class Cuda : public CudaAgreement {};

TEST_P(Cuda, TokenByTokenIsOneCallOfFewRows) {
  State whole = opened_->initial_state(), state = whole;
  cuda_->forward(whole, part(0, kFew));
  // The first is computed plainly, the second recorded, the others are replayed.
  for (int i = 0; i < kFew; ++i) cuda_->forward(state, part(i, i + 1));
  EXPECT_TRUE(state == whole);
}

TEST_P(Cuda, BatchedWithStrangers) {
  State whole = opened_->initial_state(), state = whole, a = whole, b = whole;
  for (int i = 0; i < 4; ++i) cuda_->forward(whole, part(i, i + 1));
  for (int i = 0; i < 4; ++i) {
    const Sequence batch[] = {
        {&a, part(9 - i, 10 - i)}, {&state, part(i, i + 1)}, {&b, part(i + 3, i + 4)}};
    cuda_->forward(batch);
  }
  EXPECT_TRUE(state == whole);
}

// One way for all numbers of rows: then nothing depends on them.
TEST_P(Cuda, InvariantResultsDoNotDependOnCutsAndStrangers) {
  CudaEngine engine(*opened_, EngineOptions{.max_rows = kMaxRows, .invariant = true});
  State whole = opened_->initial_state(), state = whole;
  engine.forward(whole, part(0, kSome));
  int fed = 0;
  for (const int piece : {1, 1, 1, 5, 2, 9}) {
    std::vector<State> strangers(size_t(piece), opened_->initial_state());
    std::vector<Sequence> batch = {{&state, part(fed, fed + piece)}};
    for (State& stranger : strangers) batch.push_back({&stranger, part(piece, piece + 1)});
    engine.forward(batch);
    fed += piece;
  }
  EXPECT_EQ(fed, kSome);
  EXPECT_TRUE(state == whole);
}

TEST_P(Cuda, StatesForkAndMoveBetweenDevices) {
  State state = opened_->initial_state();
  cuda_->forward(state, part(0, 3));
  State fork = state;  // on the device
  State other = opened_->initial_state();
  cuda_->forward(fork, part(3, 5));
  EXPECT_FALSE(fork == state);

  // Through a file and the CPU's hands, without a change on the way.
  state.save(dir_ / "state");
  State restored = opened_->load_state(dir_ / "state");
  EXPECT_TRUE(restored == state);
  cuda_->forward(restored, part(3, 5));
  EXPECT_TRUE(restored == fork);

  cpu_->forward(state, part(3, 5));
  const std::vector<double> expected(fork.logits().begin(), fork.logits().end());
  expect_close(state.logits(), expected, quantised_tolerance(shape_, largest(expected)), "logits");
}

TEST_P(Cuda, LogitsOfEveryRowAndOfTheLast) {
  State state = opened_->initial_state(), silent = state, last = state;
  const size_t V = size_t(shape_.vocab);
  std::vector<float> all(3 * V);
  const Sequence batch[] = {{&silent, part(0, 3), LogitsFor::none},
                            {&state, part(0, 3), LogitsFor::all, all.data()},
                            {&last, part(0, 3), LogitsFor::last}};
  cuda_->forward(batch);
  EXPECT_FALSE(silent.has_logits());
  EXPECT_TRUE(silent.logits().empty());
  EXPECT_TRUE(std::equal(all.begin() + 2 * ptrdiff_t(V), all.end(), state.logits().begin()));
  EXPECT_TRUE(last == state);
  // What stays is forgotten when nobody wants it any more.
  const Sequence none{&last, part(3, 4), LogitsFor::none};
  cuda_->forward(std::span(&none, 1));
  EXPECT_FALSE(last.has_logits());
}

TEST_P(Cuda, LogitsThatWereChangedAreTheTruth) {
  State state = opened_->initial_state();
  cuda_->forward(state, part(0, 2));
  state.logits()[7] = 1000;
  State copy = state;
  EXPECT_EQ(std::as_const(copy).logits()[7], 1000);
  Sampler greedy(sampling_preset("greedy"));
  EXPECT_EQ(cuda_->sample(state, greedy), 7);
  EXPECT_EQ(cuda_->sample(copy, greedy), 7);
  // Until the next step.
  cuda_->forward(state, part(2, 3));
  cuda_->forward(copy, part(2, 3));
  EXPECT_TRUE(state == copy);
  EXPECT_LT(state.logits()[7], 1000);
}

INSTANTIATE_TEST_SUITE_P(Types, Cuda, testing::Values(Ggml::f16, Ggml::q8_0, Ggml::q4_0));
INSTANTIATE_TEST_SUITE_P(Types, CudaAgreement,
                         testing::Values(Ggml::f32, Ggml::f16, Ggml::bf16, Ggml::q8_0, Ggml::q4_0,
                                         Ggml::q4_1, Ggml::q5_0, Ggml::q5_1, Ggml::q4_k, Ggml::q5_k,
                                         Ggml::q6_k));

// More tokens than are brought to the sampler.
class CudaSampling : public testing::Test {
 protected:
  void SetUp() override {
    Shape shape = kTinyShape;
    shape.vocab = kVocab;
    RandomModel random = random_model(shape);
    // As peaked as a trained model's.
    for (double& value : random["head.weight"].values) value *= 8;
    write_gguf(dir_ / "m.gguf", random, {});
    model_ = std::make_unique<Model>(Model::open(dir_ / "m.gguf"));
    engine_ = std::make_unique<CudaEngine>(*model_, EngineOptions{.max_rows = 32});
  }
  static constexpr int kVocab = 1500;
  TempDir dir_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(CudaSampling, DrawsWhatTheHostDraws) {
  std::vector<SamplingOptions> options = {sampling_preset("greedy"), sampling_preset("chat"),
                                          sampling_preset("creative")};
  options.resize(6);
  options[3].top_p = 1;  // all tokens are needed
  options[4].order = SamplingOptions::Order::hugging_face;
  options[4].top_k = 5;
  options[4].banned = {1, 2, 3};
  options[5].temperature = 0.7f;
  options[5].min_p = 0.05f;
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

TEST_F(CudaSampling, BringsHomeOnlyCandidates) {
  State state = model_->initial_state();
  Sampler greedy(sampling_preset("greedy")), chat(sampling_preset("chat"));
  Token token = 1;
  for (Sampler* sampler : {&greedy, &chat}) {
    for (int step = 0; step < 4; ++step) {
      const size_t before = cuda::emulator::downloaded;
      engine_->forward(state, std::span(&token, 1));
      token = engine_->sample(state, *sampler);
      const size_t bytes = cuda::emulator::downloaded - before;
      EXPECT_LE(bytes, 300 + (sampler == &greedy ? 0 : 512 * sizeof(Candidates::Entry)));
      EXPECT_LT(bytes, kVocab * sizeof(float));
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

TEST_F(CudaSampling, CopiesWithoutRoomOnTheDevice) {
  State state = model_->initial_state();
  const Token token = 4;
  engine_->forward(state, std::span(&token, 1));
  const size_t limit = std::exchange(cuda::emulator::memory_limit, cuda::emulator::memory_used);
  std::vector<State> copies(70, state);  // the pool's piece has room for 64
  cuda::emulator::memory_limit = limit;
  for (const State& copy : copies) EXPECT_TRUE(copy == state);
  EXPECT_EQ(copies.back().remote(), nullptr);
  EXPECT_EQ(copies.back().logits().size(), size_t(kVocab));
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

TEST(CudaErrors, TooLittleMemoryIsSaid) {
  TempDir dir;
  write_gguf(dir / "m.gguf", random_model(kTinyShape), {});
  const Model model = Model::open(dir / "m.gguf");
  const size_t limit =
      std::exchange(cuda::emulator::memory_limit, cuda::emulator::memory_used + 1000);
  EXPECT_THROW(CudaEngine(model, EngineOptions{.max_rows = 8}), Error);
  cuda::emulator::memory_limit = limit;
}

TEST(CudaErrors, NothingLeaks) {
  const size_t before = cuda::emulator::memory_used;
  TempDir dir;
  write_gguf(dir / "m.gguf", random_model(kTinyShape), {});
  const Model model = Model::open(dir / "m.gguf");
  State state = model.initial_state();
  {
    CudaEngine engine(model, EngineOptions{.max_rows = 8});
    engine.forward(state, as_tokens({1, 2, 3}));
  }
  EXPECT_GT(cuda::emulator::memory_used, before);  // the state outlives its engine
  EXPECT_NE(state.data()[40], 0);
  state = {};
  EXPECT_EQ(cuda::emulator::memory_used, before);
}

}  // namespace
}  // namespace anser
