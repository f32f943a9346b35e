// One context, cut and batched in every way: the same bits. Every kernel table: the reference's
// numbers.
#include <gtest/gtest.h>

#include "anser/error.h"
#include "model/trace.h"
#include "support/compare.h"
#include "support/engines.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

constexpr int kTokens = 23;

// The types that take different ways through the kernels.
class Forward : public testing::TestWithParam<Ggml> {
 protected:
  void SetUp() override {
    model_ = random_model({.vocab = 200, .width = 256, .layers = 3, .ffn = 512});
    write_gguf(dir_ / "m.gguf", model_, {.type = GetParam()});
    opened_ = std::make_unique<Model>(Model::open(dir_ / "m.gguf"));
    engine_ = Engine::create(*opened_, {.device = Device::cpu, .threads = 2});
    tokens_ = as_tokens(random_tokens(kTokens, model_.shape.vocab));
    whole_ = opened_->initial_state();
    engine_->forward(whole_, tokens_);
  }

  std::span<const Token> part(int begin, int end) const {
    return std::span(tokens_).subspan(begin, end - begin);
  }

  TempDir dir_;
  RandomModel model_;
  std::unique_ptr<Model> opened_;
  std::unique_ptr<Engine> engine_;
  std::vector<Token> tokens_;
  State whole_;  // after all tokens in one call
};

TEST_P(Forward, CutAtEveryPosition) {
  for (int cut = 1; cut < kTokens; ++cut) {
    State state = opened_->initial_state();
    engine_->forward(state, part(0, cut));
    engine_->forward(state, part(cut, kTokens));
    EXPECT_TRUE(state == whole_) << "cut at " << cut;
  }
}

TEST_P(Forward, TokenByToken) {
  State state = opened_->initial_state();
  for (int i = 0; i < kTokens; ++i) engine_->forward(state, part(i, i + 1));
  EXPECT_TRUE(state == whole_);
}

TEST_P(Forward, BatchedWithStrangersOfOtherLengths) {
  State state = opened_->initial_state(), a = state, b = state, c = state;
  const auto ta = as_tokens(random_tokens(1, 200, 5)), tb = as_tokens(random_tokens(70, 200, 6));
  engine_->forward(c, as_tokens(random_tokens(3, 200, 7)));  // one that is under way
  const Sequence batch[] = {{&a, ta}, {&state, tokens_}, {&b, tb}, {&c, ta}};
  engine_->forward(batch);
  EXPECT_TRUE(state == whole_);

  State alone = opened_->initial_state();
  engine_->forward(alone, tb);
  EXPECT_TRUE(b == alone);
}

TEST_P(Forward, DecodedInABatch) {
  State states[5];
  std::vector<Sequence> batch;
  for (State& state : states) state = opened_->initial_state();
  for (int i = 0; i < kTokens; ++i) {
    batch.clear();
    for (int s = 0; s < 5; ++s)
      batch.push_back({&states[s], part((i + s) % kTokens, (i + s) % kTokens + 1)});
    engine_->forward(batch);
  }
  EXPECT_TRUE(states[0] == whole_);
}

TEST_P(Forward, RestoredFromASavedState) {
  State state = opened_->initial_state();
  engine_->forward(state, part(0, 9));
  state.save(dir_ / "state");
  State restored = opened_->load_state(dir_ / "state");
  EXPECT_TRUE(restored == state);
  engine_->forward(restored, part(9, kTokens));
  EXPECT_TRUE(restored == whole_);
}

TEST_P(Forward, ForkedAndTakenBack) {
  State state = opened_->initial_state();
  engine_->forward(state, part(0, 9));
  const State kept = state;
  engine_->forward(state, as_tokens(random_tokens(11, 200, 8)));
  EXPECT_FALSE(state == kept);
  state = kept;
  engine_->forward(state, part(9, kTokens));
  EXPECT_TRUE(state == whole_);
}

TEST_P(Forward, OtherThreadsAndOtherPieces) {
  for (const EngineOptions options :
       {EngineOptions{.device = Device::cpu, .threads = 1},
        EngineOptions{.device = Device::cpu, .threads = 3},
        EngineOptions{.device = Device::cpu, .threads = 2, .max_rows = 1},
        EngineOptions{.device = Device::cpu, .threads = 2, .max_rows = 7}}) {
    const auto other = Engine::create(*opened_, options);
    State state = opened_->initial_state();
    other->forward(state, tokens_);
    EXPECT_TRUE(state == whole_) << options.threads << " threads, " << options.max_rows << " rows";
  }
}

TEST_P(Forward, LogitsOfChosenRows) {
  const size_t V = 200;
  std::vector<float> all(kTokens * V);
  State state = opened_->initial_state(), silent = state;
  const Sequence batch[] = {{&silent, tokens_, LogitsFor::none},
                            {&state, tokens_, LogitsFor::all, all.data()}};
  engine_->forward(batch);
  EXPECT_TRUE(state == whole_);
  EXPECT_TRUE(silent.logits().empty());
  EXPECT_TRUE(std::equal(silent.data().begin(), silent.data().end(), whole_.data().begin()));

  State step = opened_->initial_state();
  for (int i = 0; i < kTokens; ++i) {
    engine_->forward(step, part(i, i + 1));
    EXPECT_TRUE(std::equal(step.logits().begin(), step.logits().end(), all.begin() + i * V)) << i;
  }
}

// Tables with fused multiply-add compute in the same order whatever their registers' width.
TEST_P(Forward, FusedTablesAgreeBitForBit) {
  std::unique_ptr<State> first;
  for (const Kernels* kernels : supported_kernels()) {
    if (!kernels->fused_multiply_add) continue;
    CpuEngine engine(*opened_, 2, 256, *kernels);
    State state = opened_->initial_state();
    engine.forward(state, tokens_);
    if (!first) first = std::make_unique<State>(state);
    EXPECT_TRUE(state == *first) << kernels->name;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Forward,
                         testing::Values(Ggml::f32, Ggml::f16, Ggml::bf16, Ggml::q8_0, Ggml::q4_k),
                         [](const auto& info) { return std::string(ggml_name(info.param)); });

// Phase by phase, so that a difference has a name.
TEST(Phases, EveryTableFollowsTheReference) {
  TempDir dir;
  const RandomModel random =
      random_model({.vocab = 60, .width = 144, .layers = 3, .head_size = 48, .ffn = 300});
  write_safetensors(dir / "m", random);
  const Model model = Model::open(dir / "m");
  const std::vector<int> ids = random_tokens(12, 60);
  const auto tokens = as_tokens(ids);

  for (const Kernels* kernels : supported_kernels()) {
    SCOPED_TRACE(kernels->name);
    CpuBackend backend(model, 2, 16, *kernels);
    Trace trace(backend);
    State state = model.initial_state();
    std::vector<float> logits(60);
    const anser::Run run = {&state, 0, int(tokens.size()), 0};
    const LogitRow wanted = {int(tokens.size()) - 1, logits.data()};
    forward(trace, Rows{tokens, {&run, 1}, {&wanted, 1}});

    const reference::Model m = random.reference();
    reference::State s(m);
    for (size_t t = 0; t < ids.size(); ++t) {
      reference::Trace expected;
      const reference::Vec end = reference::step(m, s, ids[t], &expected);
      ASSERT_FALSE(expected.empty());
      for (const auto& [phase, values] : expected) {
        const auto& rows = trace.recorded().at(phase);
        const size_t width = values.size();
        const std::vector<float> row(rows.begin() + t * width, rows.begin() + (t + 1) * width);
        expect_close(row, values, float_tolerance(random.shape, std::max(1.0, largest(values))),
                     phase + " of token " + std::to_string(t));
      }
      if (t + 1 == ids.size()) {
        expect_close(logits, end, float_tolerance(random.shape, largest(end)), "logits");
      }
    }
    for (int l = 0; l < 3; ++l) {
      const std::vector<float> wkv(state.wkv(l), state.wkv(l) + s.wkv[l].size());
      expect_close(wkv, s.wkv[l], float_tolerance(random.shape, std::max(1.0, largest(s.wkv[l]))),
                   "state of layer " + std::to_string(l));
      const std::vector<float> shift(state.att_shift(l), state.att_shift(l) + 144);
      expect_close(shift, s.att_shift[l], float_tolerance(random.shape, largest(s.att_shift[l])),
                   "attention shift");
    }
  }
}

class Mistakes : public testing::Test {
 protected:
  void SetUp() override {
    write_safetensors(dir_ / "m", random_model({.vocab = 50, .width = 64, .layers = 2, .ffn = 64}));
    model_ = std::make_unique<Model>(Model::open(dir_ / "m"));
    engine_ = Engine::create(*model_, {.device = Device::cpu, .threads = 1});
    state_ = model_->initial_state();
  }
  void expect_error(std::span<const Sequence> batch, const std::string& words) {
    const State before = state_;
    try {
      engine_->forward(batch);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
    EXPECT_TRUE(state_ == before);
  }
  TempDir dir_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
  State state_;
};

TEST_F(Mistakes, AreErrorsThatChangeNothing) {
  const Token good[] = {1}, large[] = {1, 50}, negative[] = {-1};
  expect_error(std::vector<Sequence>{{&state_, large}},
               "token 50 is outside the vocabulary, 0 to 49");
  expect_error(std::vector<Sequence>{{&state_, negative}}, "token -1");
  expect_error(std::vector<Sequence>{{&state_, {}}}, "no tokens");
  expect_error(std::vector<Sequence>{{nullptr, good}}, "no state");
  expect_error(std::vector<Sequence>{{&state_, good}, {&state_, good}}, "share one state");
  expect_error(std::vector<Sequence>{{&state_, good, LogitsFor::all, nullptr}}, "nowhere");
  State empty;
  expect_error(std::vector<Sequence>{{&state_, good}, {&empty, good}}, "sequence 1: the state");
  if (cuda_devices().usable.empty()) {
    EXPECT_THROW(Engine::create(*model_, {.device = Device::cuda}), Error);
    EXPECT_EQ(Engine::create(*model_)->device(), Device::cpu);
  }
  EXPECT_THROW(Engine::create(*model_, {.device = Device::cpu, .threads = -1}), Error);
  EXPECT_THROW(Engine::create(*model_, {.max_rows = -1}), Error);
}

}  // namespace
}  // namespace anser
