// Whole models on the CUDA backend, against the reference and the CPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "anser/generate.h"
#include "anser/state_trace.h"
#include "cuda/cuda_backend.h"
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

// A table that holds what ln0 makes of it, and no ln0.
TEST(CudaWithoutEmbeddingNorm, GivesTheCpusNumbers) {
  const TempDir dir;
  const Shape shape = shape_for(Ggml::f32);
  RandomModel model = random_model(shape);
  std::erase_if(model.tensors, [](const Tensor& tensor) {
    return tensor.name.find(".ln0.") != std::string::npos;
  });
  write_hf_folder(dir / "hf", model,
                  {.layout = HfLayout::rwkv7, .config = R"({"embedding_layer_norm_fused": true})"});
  const Model opened = Model::open(dir / "hf");
  const auto cpu = Engine::create(opened, {.device = Device::cpu, .threads = 2});
  CudaEngine cuda(opened, EngineOptions{.max_rows = kMaxRows});
  const std::vector<int> ids = random_tokens(kFew, shape.vocab);
  const auto expected = all_logits(*cpu, ids), actual = all_logits(cuda, ids);
  for (size_t t = 0; t < ids.size(); ++t) {
    const std::vector<double> row(expected[t].begin(), expected[t].end());
    expect_close(actual[t], row, 2 * float_tolerance(shape, largest(row)),
                 "token " + std::to_string(t));
  }
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

TEST_P(Cuda, RowsDoNotDependOnTheirCompany) {
  constexpr int kMost = kFew;
  std::vector<State> alone(kMost, opened_->initial_state()), together = alone;
  for (int i = 0; i < kMost; ++i) cuda_->forward(alone[size_t(i)], part(i, i + 1));
  for (int count = 2; count <= kMost; count += count < 5 ? 1 : 3) {
    std::vector<State> states(size_t(count), opened_->initial_state());
    std::vector<Sequence> batch;
    for (int i = 0; i < count; ++i) batch.push_back({&states[size_t(i)], part(i, i + 1)});
    cuda_->forward(batch);
    for (int i = 0; i < count; ++i) {
      EXPECT_TRUE(states[size_t(i)] == alone[size_t(i)]) << i << " of " << count;
    }
  }
}

TEST_P(Cuda, ReplayedStepsGiveTheBitsOfPlainOnes) {
  CudaBackend recording(*opened_, EngineOptions{.max_rows = 8}),
      plain(*opened_, EngineOptions{.max_rows = 8});
  plain.view("x", 1);  // from here on it records nothing
  State a = opened_->initial_state(), b = a;
  std::vector<float> of_a(size_t(shape_.vocab)), of_b = of_a;
  for (int i = 0; i < kSparse; ++i) {
    const auto step = [&](CudaBackend& backend, State& state, std::vector<float>& logits) {
      const anser::Run run = {&state, 0, 1, state.tokens()};
      const LogitRow wanted = {0, logits.data()};
      forward(backend, Rows{part(i, i + 1), {&run, 1}, {&wanted, 1}});
    };
    step(recording, a, of_a);
    step(plain, b, of_b);
    EXPECT_EQ(of_a, of_b) << "token " << i;
  }
  EXPECT_TRUE(a == b);
}

TEST_P(Cuda, GreedyChoicesAreThoseOfTheCpu) {
  State on_cpu = opened_->initial_state(), on_cuda = on_cpu;
  Token token = tokens_[0];
  for (int i = 0; i < 2 * kSparse; ++i) {
    cpu_->forward(on_cpu, {&token, 1});
    cuda_->forward(on_cuda, {&token, 1});
    const std::vector<float>&cpu = on_cpu.logits(), &cuda = on_cuda.logits();
    const auto best = [](const std::vector<float>& logits) {
      return Token(std::max_element(logits.begin(), logits.end()) - logits.begin());
    };
    token = best(cpu);
    // Another choice is right only where both are as good as equal.
    const double tolerance = quantised_tolerance(shape_, std::fabs(cpu[size_t(token)]));
    EXPECT_LE(cpu[size_t(token)] - cpu[size_t(best(cuda))], tolerance) << "token " << i;
    if (GetParam() == Ggml::f16) {
      EXPECT_EQ(best(cuda), token) << "token " << i;
    }
  }
}

TEST_P(Cuda, GoesOnFromAStateOfTheCpu) {
  State state = opened_->initial_state();
  cpu_->forward(state, part(0, 3));
  state.save(dir_ / "state");
  State restored = opened_->load_state(dir_ / "state");
  cuda_->forward(restored, part(3, 5));
  restored.save(dir_ / "state");
  State back = opened_->load_state(dir_ / "state");
  cpu_->forward(state, part(3, 5));
  const std::vector<double> expected(state.logits().begin(), state.logits().end());
  expect_close(back.logits(), expected, quantised_tolerance(shape_, largest(expected)), "logits");
  cpu_->forward(state, part(5, 6));
  cpu_->forward(back, part(5, 6));
  const std::vector<double> next(state.logits().begin(), state.logits().end());
  expect_close(back.logits(), next, quantised_tolerance(shape_, largest(next)), "next logits");
}

// Said before anything has happened, rather than a trace that stays empty.
TEST_P(CudaAgreement, TracesAreRefused) {
  State state = opened_->initial_state();
  StateTrace trace;
  const Sequence one{&state, tokens_, LogitsFor::last, nullptr, &trace};
  expect_error({"on the CPU only"}, [&] { cuda_->forward(std::span(&one, 1)); });
  EXPECT_EQ(state.tokens(), 0u);
}

TEST(CudaPhases, AreTimedAndCountedOnce) {
  TempDir dir;
  write_gguf(dir / "m.gguf", random_model(kTinyShape), {.type = Ggml::f16});
  const Model model = Model::open(dir / "m.gguf");
  CudaEngine engine(model, EngineOptions{.max_rows = 32});
  const std::vector<Token> tokens = as_tokens(random_tokens(9, kTinyShape.vocab));
  State expected = model.initial_state();
  engine.forward(expected, tokens);
  for (const size_t count : {size_t{2}, tokens.size()}) {  // few rows and many
    std::vector<State> states(count, model.initial_state());
    std::vector<Sequence> batch;
    for (size_t i = 0; i < count; ++i)
      batch.push_back({&states[i], std::span(tokens).subspan(i, 1)});
    engine.forward(batch);
    const double zeros = engine.zero_share();
    const std::vector<PhaseTime> times = engine.phase_times(batch);
    ASSERT_EQ(times.size(), size_t(kPhases));
    for (const PhaseTime& time : times) EXPECT_GT(time.seconds, 0) << time.name;
    // A phase that is repeated counts its zeros every time; the share stays that of h.
    EXPECT_GT(engine.zero_share(), 0.2);
    if (count > 2) {
      EXPECT_EQ(engine.zero_share(), zeros);
    }
    // Nothing of it is left in what is computed afterwards.
    State after = model.initial_state();
    engine.forward(after, tokens);
    EXPECT_TRUE(after == expected);
  }
}

TEST(CudaText, TheEmbeddedModelWritesWhatItWritesOnTheCpu) {
  const Model model = Model::embedded();
  const auto cpu = Engine::create(model, {.device = Device::cpu, .threads = 2});
  CudaEngine on_cuda(model, EngineOptions{.max_rows = 64});
  std::string why;
  // A second a token there.
  const bool emulated = cuda::usable_devices(why).front().name == "emulator";
  const int length = emulated ? 5 : 100;
  const auto write = [&](Engine& engine) {
    State state = model.initial_state();
    engine.forward(state, model.tokenizer().encode("Once upon a time"));
    return generate(engine, state, {.max_tokens = length, .sampling = sampling_preset("greedy")})
        .text;
  };
  const std::string expected = write(*cpu);
  EXPECT_GT(expected.size(), 10u);
  EXPECT_EQ(write(on_cuda), expected);
}

INSTANTIATE_TEST_SUITE_P(Types, Cuda, testing::Values(Ggml::f16, Ggml::q8_0, Ggml::q4_0));
INSTANTIATE_TEST_SUITE_P(Types, CudaAgreement,
                         testing::Values(Ggml::f32, Ggml::f16, Ggml::bf16, Ggml::q8_0, Ggml::q4_0,
                                         Ggml::q4_1, Ggml::q5_0, Ggml::q5_1, Ggml::q4_k, Ggml::q5_k,
                                         Ggml::q6_k));

// Steps that are filled up to a number of rows for which they are recorded.
TEST(CudaBatches, SharedRecordingsAndStrangers) {
  TempDir dir;
  write_gguf(dir / "m.gguf", random_model(kTinyShape), {.type = Ggml::f16});
  const Model model = Model::open(dir / "m.gguf");
  CudaEngine engine(model, EngineOptions{.max_rows = 20});
  const auto states_after = [&](std::vector<int> sizes) {
    std::vector<State> states(20, model.initial_state());
    for (const int size : sizes) {
      std::vector<Token> tokens;
      for (int i = 0; i < size; ++i) tokens.push_back(Token(3 + i % 7));
      std::vector<Sequence> batch;
      for (int i = 0; i < size; ++i) batch.push_back({&states[size_t(i)], {&tokens[size_t(i)], 1}});
      engine.forward(batch);
    }
    return states;
  };
  // All of them are steps of 16 rows: the first is computed plainly, the second recorded; 17 to 20
  // are 20, as many as there can be.
  const std::vector<State> some = states_after({9, 13, 16, 9, 9, 11}),
                           more = states_after({9, 9, 9, 9, 9, 9});
  for (int i = 0; i < 9; ++i) EXPECT_TRUE(some[size_t(i)] == more[size_t(i)]) << i;
  const std::vector<State> all = states_after({17, 20, 20, 18}),
                           few = states_after({17, 17, 18, 19});
  for (int i = 0; i < 17; ++i) EXPECT_TRUE(all[size_t(i)] == few[size_t(i)]) << i;
}

// Halves of a large step, of which the second runs behind, against steps that are not divided.
TEST(CudaBatches, HalvesAreTheWhole) {
  const Shape shape = {.vocab = 20, .width = 16, .layers = 3, .head_size = 16, .ffn = 32};
  TempDir dir;
  write_gguf(dir / "m.gguf", random_model(shape), {.type = Ggml::f16});
  const Model model = Model::open(dir / "m.gguf");
  CudaEngine engine(model, EngineOptions{.max_rows = 600});
  constexpr int kSequences = 520;  // filled up to 600, the most
  std::vector<State> halved(kSequences, model.initial_state()), whole = halved;
  const auto step = [&](std::vector<State>& states, int first, int count, int t) {
    std::vector<Token> tokens;
    for (int i = first; i < first + count; ++i) tokens.push_back(Token((i + 3 * t) % shape.vocab));
    std::vector<Sequence> batch;
    for (int i = 0; i < count; ++i) {
      batch.push_back({&states[size_t(first + i)], {&tokens[size_t(i)], 1}});
    }
    engine.forward(batch);
  };
  for (int t = 0; t < 3; ++t) {  // plain, recorded, replayed
    step(halved, 0, kSequences, t);
    for (int first = 0; first < kSequences; first += 130) step(whole, first, 130, t);
  }
  int different = 0;
  for (int i = 0; i < kSequences; ++i) different += !(halved[size_t(i)] == whole[size_t(i)]);
  EXPECT_EQ(different, 0);

  // Prompts of several lengths: runs that do not divide evenly.
  std::vector<State> together(4, model.initial_state()), alone = together;
  std::vector<Token> tokens = as_tokens(random_tokens(600, shape.vocab));
  const int begins[] = {0, 100, 250, 430, 600};
  std::vector<Sequence> batch;
  for (size_t i = 0; i < 4; ++i) {
    const auto part =
        std::span(tokens).subspan(size_t(begins[i]), size_t(begins[i + 1] - begins[i]));
    batch.push_back({&together[i], part});
    engine.forward(alone[i], part);
  }
  engine.forward(batch);
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(together[i] == alone[i]) << i;
}

}  // namespace
}  // namespace anser
