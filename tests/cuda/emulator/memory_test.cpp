// Device memory that runs out, and what is left behind: only the emulated device can be asked.
#include <gtest/gtest.h>

#include "anser/error.h"
#include "cuda/cuda_backend.h"
#include "emulated_device.h"
#include "engine/backend_engine.h"
#include "support/engines.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

using CudaEngine = BackendEngine<CudaBackend>;

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
