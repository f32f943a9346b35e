// A scheduler's engine over a random model, and what each text is alone.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "anser/scheduler.h"
#include "engine/listener.h"
#include "support/engines.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {

using namespace support;

class SchedulerTest : public testing::Test {
 protected:
  SchedulerTest() {
    write_gguf(dir_ / "m.gguf", random_model({.vocab = 256, .width = 128, .layers = 2, .ffn = 256}),
               {.type = Ggml::q8_0});
    model_ = std::make_unique<Model>(Model::open(dir_ / "m.gguf"));
    engine_ = Engine::create(*model_, {.device = Device::cpu, .threads = 2});
    alone_ = Engine::create(*model_, {.device = Device::cpu, .threads = 1});
  }

  std::vector<Token> prompt(int length, uint64_t seed) const {
    return as_tokens(random_tokens(length, 256, seed));
  }

  Order order(int prompt_length, int max_tokens, uint64_t seed) const {
    Order order{model_->initial_state(), prompt(prompt_length, seed)};
    order.generation.max_tokens = max_tokens;
    order.generation.sampling.seed = seed;
    order.generation.stop_tokens.clear();
    order.keep_state = true;
    return order;
  }

  // What generate() makes of it.
  std::pair<Generated, State> expected(const Order& order) {
    State state = order.state;
    if (!order.prompt.empty()) alone_->forward(state, order.prompt);
    Generated text = generate(*alone_, state, order.generation);
    return {std::move(text), std::move(state)};
  }

  TempDir dir_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_, alone_;
};

}  // namespace anser
