// What sampling on the device costs in transfers and memory.
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "../cuda_sampling.h"
#include "anser/error.h"
#include "anser/generate.h"
#include "emulated_device.h"
#include "support/compare.h"
#include "support/engines.h"
#include "support/errors.h"

namespace anser {
namespace {

using namespace support;

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

}  // namespace
}  // namespace anser
