// Device memory that runs out, what is left behind, and what is copied: only the emulated device
// can be asked.
#include <gtest/gtest.h>

#include <utility>

#include "anser/error.h"
#include "anser/sampling.h"
#include "cuda/cuda_backend.h"
#include "cuda/cuda_sampling.h"
#include "emulated_device.h"
#include "engine/backend_engine.h"
#include "support/engines.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

using CudaEngine = BackendEngine<CudaBackend>;

class CudaTraffic : public CudaSampling {};

TEST_F(CudaTraffic, BringsHomeOnlyCandidates) {
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

TEST_F(CudaTraffic, CopiesWithoutRoomOnTheDevice) {
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
