// What a step must do, phase by phase, and the clock that is held against it.
#include <gtest/gtest.h>

#include <optional>

#include "anser/error.h"
#include "model/phases.h"
#include "model/weights.h"
#include "support/engines.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

class PhaseTimes : public testing::Test {
 protected:
  PhaseTimes() {
    write_gguf(dir_ / "m.gguf", random_model(shape_), {.type = Ggml::f16});
    model_.emplace(Model::open(dir_ / "m.gguf"));
  }
  std::array<PhaseWork, kPhases> work(int rows, int sequences, int wanted, double skipped) const {
    return phase_work(model_->weights(), model_->hyperparameters(), rows, sequences, wanted,
                      model_->initial_state().data().size_bytes(), skipped);
  }

  const Shape shape_ = {.vocab = 40, .width = 64, .layers = 3, .ffn = 256};
  TempDir dir_;
  std::optional<Model> model_;
};

// All bytes of the weights but the embedding, of which a row reads one line.
TEST_F(PhaseTimes, BytesAreAllWeightsAndStates) {
  struct Sum {
    size_t bytes = 0;
    void vector(const std::string&, const Vector& v, int) { bytes += v.size() * sizeof(float); }
    void low_rank(const std::string&, const Matrix& m, int, int) { bytes += m.bytes(); }
    void matrix(const std::string&, const Matrix& m, int, int) { bytes += m.bytes(); }
  } sum;
  visit_weights(model_->weights(), model_->hyperparameters(), sum);
  const Matrix& emb = model_->weights().emb;
  const size_t state = model_->initial_state().data().size_bytes();
  for (const int rows : {1, 5}) {
    const size_t expected = sum.bytes - emb.bytes() + size_t(rows) * (emb.row_bytes() + 2 * state);
    size_t bytes = 0;
    for (const PhaseWork& phase : work(rows, rows, rows, 0)) bytes += phase.bytes;
    EXPECT_EQ(bytes, expected);
    const auto engine = Engine::create(*model_, {.device = Device::cpu, .threads = 1});
    EXPECT_EQ(engine->step_bytes(rows), expected);
  }
}

TEST_F(PhaseTimes, EachHasItsOwnMatrices) {
  const size_t D = 64, F = 256, L = 3;
  const auto all = work(10, 2, 4, 0.75);
  const auto of = [&](Phase phase) { return all[size_t(phase)]; };
  const size_t shifts = 2 * L * D * 4;  // of two sequences
  EXPECT_EQ(of(Phase::output).bytes, L * D * D * 2);
  EXPECT_EQ(of(Phase::output).flops, 10 * 2.0 * L * D * D);
  EXPECT_EQ(of(Phase::expand).bytes, L * (F * D * 2 + 3 * D * 4) + shifts);
  EXPECT_EQ(of(Phase::contract).bytes, L * F * D * 2 / 4 + shifts);
  EXPECT_EQ(of(Phase::contract).flops, 10 * 2.0 * L * D * F / 4);
  EXPECT_EQ(of(Phase::logits).bytes, 40 * D * 2 + 2 * D * 4);
  EXPECT_EQ(of(Phase::logits).flops, 4 * 2.0 * 40 * D);
  EXPECT_EQ(of(Phase::embed).bytes, 10 * D * 2 + 2 * D * 4);
  EXPECT_EQ(of(Phase::embed).flops, 0);
}

TEST_F(PhaseTimes, AreTimedInAStepThatIsComputed) {
  const auto engine = Engine::create(*model_, {.device = Device::cpu, .threads = 2});
  State a = model_->initial_state(), b = a;
  const std::vector<Token> tokens = {3, 7};
  const Sequence batch[] = {{&a, std::span(tokens).subspan(0, 1)},
                            {&b, std::span(tokens).subspan(1, 1)}};
  const std::vector<PhaseTime> times = engine->phase_times(batch);
  ASSERT_EQ(times.size(), size_t(kPhases));
  for (const PhaseTime& time : times) {
    EXPECT_GT(time.seconds, 0) << time.name;
    EXPECT_GT(time.bytes, 0u) << time.name;
    EXPECT_EQ(time.times, time.name == "embed" || time.name == "logits" ? 1 : 3);
  }
  EXPECT_EQ(a.logits().size(), 40u);

  const std::vector<Token> long_prompt(300, 1);  // more than the CPU computes at once
  const Sequence too_long = {&a, long_prompt};
  EXPECT_THROW(engine->phase_times({&too_long, 1}), Error);
}

}  // namespace
}  // namespace anser
