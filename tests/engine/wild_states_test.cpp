// States that anybody can upload: numbers that are no numbers, infinite, huge, or so small that
// processors slow down. In one step with others they harm nobody else.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>

#include "anser/scheduler.h"
#include "engine/listener.h"
#include "support/engines.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

class WildStates : public testing::TestWithParam<Ggml> {
 protected:
  WildStates() {
    write_gguf(dir_ / "m.gguf", random_model({.vocab = 256, .width = 128, .layers = 2, .ffn = 256}),
               {.type = GetParam()});
    model_ = std::make_unique<Model>(Model::open(dir_ / "m.gguf"));
    engine_ = Engine::create(*model_, {.device = Device::cpu, .threads = 2});
  }
  Order order(int prompt_length, int max_tokens, uint64_t seed) const {
    Order order{model_->initial_state(), as_tokens(random_tokens(prompt_length, 256, seed))};
    order.generation.max_tokens = max_tokens;
    order.generation.sampling.seed = seed;
    order.generation.stop_tokens.clear();
    order.keep_state = true;
    return order;
  }

  TempDir dir_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
};

enum class Where { att_shift, ffn_shift, wkv, everywhere };

void spoil(State& state, Where where, float number) {
  const StateShape shape = state.shape();
  for (int layer = 0; layer < shape.layers; ++layer) {
    float* to = state.att_shift(layer);
    size_t begin = 0, end = shape.layer_floats();
    if (where == Where::att_shift) end = size_t(shape.width);
    if (where == Where::ffn_shift) begin = size_t(shape.width), end = 2 * size_t(shape.width);
    if (where == Where::wkv) begin = 2 * size_t(shape.width);
    for (size_t i = begin; i < end; ++i) to[i] = i % 3 == 0 ? -number : number;
  }
}

TEST_P(WildStates, HarmNobodyInTheirStep) {
  using Limits = std::numeric_limits<float>;
  const float numbers[] = {Limits::quiet_NaN(),
                           Limits::infinity(),
                           Limits::max(),
                           1e38f,
                           1e20f,
                           Limits::denorm_min(),
                           1e-40f};
  std::vector<Order> strangers;
  std::vector<std::string> alone;
  std::vector<State> states;
  for (uint64_t i = 0; i < 3; ++i) {
    strangers.push_back(order(i == 2 ? 70 : 3, 12, 100 + i));
    State state = strangers[i].state;
    const auto one = Engine::create(*model_, {.device = Device::cpu, .threads = 1});
    one->forward(state, strangers[i].prompt);
    alone.push_back(generate(*one, state, strangers[i].generation).text);
    states.push_back(std::move(state));
  }
  for (const float number : numbers) {
    for (const Where where : {Where::att_shift, Where::ffn_shift, Where::wkv, Where::everywhere}) {
      const std::string what = std::to_string(number) + " at " + std::to_string(int(where));
      Scheduler scheduler(*engine_);
      std::vector<std::shared_ptr<Listener>> wild, others;
      const auto submit = [&](const Order& order, std::vector<std::shared_ptr<Listener>>& to) {
        to.push_back(std::make_shared<Listener>());
        scheduler.submit(order, to.back());
      };
      for (uint64_t i = 0; i < 3; ++i) {
        // One that is in the midst of its prompt while others write, too.
        Order bad = order(i == 0 ? 1 : i == 1 ? 4 : 90, 12, 200 + i);
        spoil(bad.state, where, number);
        submit(bad, wild);
        submit(strangers[i], others);
      }
      for (size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(others[i]->wait().error, "") << what;
        EXPECT_EQ(others[i]->text(), alone[i]) << what;
        EXPECT_TRUE(others[i]->wait().state == states[i]) << what;
        const std::string& error = wild[i]->wait().error;
        if (!error.empty()) {
          EXPECT_NE(error.find("finite"), std::string::npos) << what << ": " << error;
        }
        if (std::isnan(number) || where == Where::everywhere) {
          EXPECT_EQ(error.empty(), std::abs(number) < 1) << what << ": " << error;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, WildStates, testing::Values(Ggml::q8_0, Ggml::f32, Ggml::bf16),
                         [](const auto& info) { return std::string(ggml_name(info.param)); });

}  // namespace
}  // namespace anser
