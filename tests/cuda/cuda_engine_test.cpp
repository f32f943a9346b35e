// Whole models on the CUDA backend, against the reference and the CPU.
#include <gtest/gtest.h>

#include "anser/error.h"
#include "cuda/cuda_backend.h"
#include "emulator/emulated_device.h"
#include "engine/backend_engine.h"
#include "support/compare.h"
#include "support/engines.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

using CudaEngine = BackendEngine<CudaBackend>;
static_assert(Backend<CudaBackend>);

// Rows that are computed in fp32; by tensor cores, with zeros skipped and without; by cuBLASLt.
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

INSTANTIATE_TEST_SUITE_P(Types, Cuda, testing::Values(Ggml::f16, Ggml::q8_0, Ggml::q4_0));
INSTANTIATE_TEST_SUITE_P(Types, CudaAgreement,
                         testing::Values(Ggml::f32, Ggml::f16, Ggml::bf16, Ggml::q8_0, Ggml::q4_0,
                                         Ggml::q4_1, Ggml::q5_0, Ggml::q5_1, Ggml::q4_k, Ggml::q5_k,
                                         Ggml::q6_k));

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
