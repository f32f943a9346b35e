// Where a prompt is cut, with a whole model. On a real device products of another number of rows
// may round differently; the emulator's do not, so what is left is the recurrence and its
// bookkeeping.
#include <gtest/gtest.h>

#include "cuda/cuda_backend.h"
#include "engine/backend_engine.h"
#include "support/engines.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

// As after a cached prefix, and as where a prompt is longer than the backend has rows; with as many
// rows as our own products are taken for, which do not depend on their number.
TEST(Cuts, AtWholeChunksChangeNoBit) {
  const Shape shape = {.vocab = 50, .width = 64, .layers = 2, .ffn = 128};
  TempDir dir;
  write_gguf(dir / "m.gguf", random_model(shape), {.type = Ggml::f16});
  const Model model = Model::open(dir / "m.gguf");
  BackendEngine<CudaBackend> whole(model, EngineOptions{.max_rows = 64}),
      pieces(model, EngineOptions{.max_rows = 32});
  const std::vector<Token> prompt = as_tokens(random_tokens(59, shape.vocab));
  State expected = model.initial_state(), state = expected;
  whole.forward(expected, prompt);
  pieces.forward(state, std::span(prompt).first(16));
  pieces.forward(state, std::span(prompt).subspan(16));  // 32 and 11
  EXPECT_TRUE(state == expected);
}

}  // namespace
}  // namespace anser
