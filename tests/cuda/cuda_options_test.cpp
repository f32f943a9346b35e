// What EngineOptions changes on a GPU: chunks or the scan, states in 16 bits.
#include <gtest/gtest.h>

#include "base/half.h"
#include "cuda/cuda_backend.h"
#include "engine/backend_engine.h"
#include "support/compare.h"
#include "support/engines.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

using CudaEngine = BackendEngine<CudaBackend>;

constexpr Shape kShape = {.vocab = 50, .width = 64, .layers = 2, .ffn = 128};

class CudaOptionsTest : public testing::TestWithParam<Ggml> {
 protected:
  void SetUp() override {
    write_gguf(dir_ / "m.gguf", random_model(kShape), {.type = GetParam()});
    model_ = std::make_unique<Model>(Model::open(dir_ / "m.gguf"));
  }
  CudaEngine make(EngineOptions options, int max_rows = 64) const {
    options.max_rows = max_rows;
    return CudaEngine(*model_, options);
  }
  // Feeds `tokens`, then what is most probable, `count` times.
  static std::vector<Token> greedy(Engine& engine, const std::vector<Token>& tokens, int count) {
    State state = engine.model().initial_state();
    engine.forward(state, tokens);
    std::vector<Token> text;
    for (int i = 0; i < count; ++i) {
      const auto& logits = state.logits();
      text.push_back(Token(std::max_element(logits.begin(), logits.end()) - logits.begin()));
      engine.forward(state, std::span(&text.back(), 1));
    }
    return text;
  }

  TempDir dir_;
  std::unique_ptr<Model> model_;
};

class CudaChunks : public CudaOptionsTest {};

TEST_P(CudaChunks, AgreeWithTheScan) {
  const std::vector<int> ids = random_tokens(53, kShape.vocab);
  CudaEngine chunks = make({}), scan = make({.invariant = true});
  const auto actual = all_logits(chunks, ids), expected = all_logits(scan, ids);
  bool any_differs = false;
  for (size_t t = 0; t < ids.size(); ++t) {
    const std::vector<double> row(expected[t].begin(), expected[t].end());
    // kernels/chunk.h has a chunk's part, of each layer; like any error it is rounded once more on
    // its way, to the 16 bits of activations.
    const double chunk = 9 * 0x1p-22 * kShape.layers * largest(row);
    const double bound = chunk + (GetParam() == Ggml::f16 ? 0x1p-11 : 0x1p-8) *
                                     std::sqrt(5.0 * kShape.layers + 1) * largest(row);
    expect_close(actual[t], row, bound, "token " + std::to_string(t));
    any_differs |= actual[t] != expected[t];
  }
  EXPECT_TRUE(any_differs) << "no chunk was computed as one";
}

TEST_P(CudaChunks, WriteTheSameText) {
  const std::vector<Token> prompt = as_tokens(random_tokens(40, kShape.vocab));
  CudaEngine chunks = make({}), scan = make({.invariant = true});
  EXPECT_EQ(greedy(chunks, prompt, 12), greedy(scan, prompt, 12));
}

INSTANTIATE_TEST_SUITE_P(Types, CudaChunks, testing::Values(Ggml::f16, Ggml::bf16));

class CudaState16 : public CudaOptionsTest {};

// Heads' matrices of a state, one layer.
std::span<const float> wkv(const State& state, int layer) {
  return {state.wkv(layer), size_t(kShape.width) * size_t(kShape.head_size)};
}

TEST_P(CudaState16, IsTheStateRounded) {
  CudaEngine full = make({}), half = make({.state16 = true});
  State a = model_->initial_state(), b = a;
  full.forward(a, as_tokens({5}));
  half.forward(b, as_tokens({5}));
  EXPECT_EQ(a.logits(), b.logits());  // of a token that began with zeros
  for (int layer = 0; layer < kShape.layers; ++layer) {
    for (int i = 0; i < kShape.width; ++i) {
      ASSERT_EQ(a.att_shift(layer)[i], b.att_shift(layer)[i]);
      ASSERT_EQ(a.ffn_shift(layer)[i], b.ffn_shift(layer)[i]);
    }
  }
  const State &expected = a, &actual = b;
  for (int layer = 0; layer < kShape.layers; ++layer) {
    for (size_t i = 0; i < wkv(expected, layer).size(); ++i) {
      ASSERT_EQ(f16_to_f32(f32_to_f16(wkv(expected, layer)[i])), wkv(actual, layer)[i]);
    }
  }
}

// Decoded token after token, when every one of them rounds the state, and in a prompt of chunks and
// a rest.
TEST_P(CudaState16, StaysNearTheFullState) {
  const std::vector<int> ids = random_tokens(52, kShape.vocab);
  CudaEngine full = make({}), half = make({.state16 = true});
  State a = model_->initial_state(), b = a;
  const auto step = [&](const std::vector<Token>& tokens) {
    full.forward(a, tokens);
    half.forward(b, tokens);
    const std::vector<double> row(a.logits().begin(), a.logits().end());
    // f16 rounds a number of S by 2^-12 of it on average and at random, and what was rounded n
    // tokens ago has faded by w^n: over the square of w, near 0.9 here, a geometric series that
    // leaves 2.3 of one rounding. A factor 2 is for tails; layers and products as elsewhere.
    const double bound = 2 * 2.3 * 0x1p-12 * std::sqrt(double(kShape.layers)) * largest(row);
    expect_close(b.logits(), row, bound, std::to_string(a.tokens()) + " tokens");
    EXPECT_LT(kl_divergence(row, b.logits()), 1e-6);
    if (a.tokens() > 40) {  // the first began with zeros
      EXPECT_NE(a.logits(), b.logits());
    }
  };
  step(as_tokens({ids.begin(), ids.begin() + 40}));
  for (size_t i = 40; i < ids.size(); ++i) step(as_tokens({ids[i]}));
}

TEST_P(CudaState16, MovesAndForksWithoutAChange) {
  CudaEngine engine = make({.state16 = true});
  State state = model_->initial_state();
  engine.forward(state, as_tokens({1, 2, 3}));
  State fork = state;  // on the device
  state.save(dir_ / "state");
  State restored = model_->load_state(dir_ / "state");
  EXPECT_TRUE(restored == state);
  engine.forward(restored, as_tokens({4, 5}));
  engine.forward(fork, as_tokens({4, 5}));
  EXPECT_TRUE(restored == fork);
}

TEST_P(CudaState16, IsCountedInAStep) {
  CudaEngine full = make({}), half = make({.state16 = true});
  const size_t matrices = size_t(kShape.layers) * kShape.width * kShape.head_size;
  // 2 bytes less for each, read and written.
  EXPECT_EQ(full.step_bytes(3) - half.step_bytes(3), 3 * 2 * 2 * matrices);
}

INSTANTIATE_TEST_SUITE_P(Types, CudaState16, testing::Values(Ggml::f32, Ggml::q8_0));

}  // namespace
}  // namespace anser
