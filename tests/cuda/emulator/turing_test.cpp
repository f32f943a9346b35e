// What is different on the oldest devices.
#include <gtest/gtest.h>

#include <cmath>

#include "cuda/cuda_backend.h"
#include "emulated_device.h"
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

// Compute capability 7.5 has no bf16 and no tf32: the emulator ends the program that asks for them.
class CudaTuring : public testing::TestWithParam<Ggml> {
 protected:
  void SetUp() override {
    write_gguf(dir_ / "m.gguf", random_model(kShape), {.type = GetParam()});
    model_ = std::make_unique<Model>(Model::open(dir_ / "m.gguf"));
    cuda::emulator::capability = 75;
  }
  void TearDown() override { cuda::emulator::capability = 90; }

  TempDir dir_;
  std::unique_ptr<Model> model_;
};

TEST_P(CudaTuring, ComputesInF16) {
  const std::vector<int> ids = random_tokens(90, kShape.vocab);
  for (const int rows : {8, 90}) {  // our tiles, and where there are more rows, cuBLASLt
    CudaEngine turing(*model_, EngineOptions{.max_rows = rows});
    const auto actual = all_logits(turing, ids);
    cuda::emulator::capability = 90;
    CudaEngine hopper(*model_, EngineOptions{.max_rows = rows});
    const auto expected = all_logits(hopper, ids);
    cuda::emulator::capability = 75;
    for (size_t t = 0; t < ids.size(); ++t) {
      const std::vector<double> row(expected[t].begin(), expected[t].end());
      const double bound = 0x1p-8 * std::sqrt(5.0 * kShape.layers + 1) * largest(row);
      expect_close(actual[t], row, bound, "token " + std::to_string(t));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, CudaTuring, testing::Values(Ggml::f16, Ggml::bf16, Ggml::q8_0));

}  // namespace
}  // namespace anser
