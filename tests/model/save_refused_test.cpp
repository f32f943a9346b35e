// What cannot be written is refused without leaving a file.
#include <limits>

#include "model/save_fixture.h"
#include "support/engines.h"
#include "support/errors.h"
#include "support/full_disk.h"

namespace anser {
namespace {

TEST_F(Save, RowsThatFillNoBlocksAreRefused) {
  write_pth(dir_ / "in.pth", random_model({.vocab = 70, .width = 128, .layers = 2, .ffn = 512}));
  expect_error({"in.pth", "Q4_K", "blocks of 256", "128", "Q8_0 and Q4_0"},
               [&] { gguf(dir_ / "in.pth", DType::q4_k); });
  write_pth(dir_ / "odd.pth", random_model({.vocab = 70, .width = 64, .layers = 2, .ffn = 100}));
  expect_error({"odd.pth", "Q8_0", "blocks of 32", "100", "F16"},
               [&] { gguf(dir_ / "odd.pth", DType::q8_0); });
  EXPECT_TRUE(out_is_absent());
}

TEST_F(Save, WeightsThatAreNoNumbersAreNamed) {
  RandomModel model = random_model(kShape);
  model["blocks.1.att.key.weight"].values[5 * 64 + 7] = std::numeric_limits<double>::quiet_NaN();
  write_safetensors(dir_ / "nan.safetensors", model);
  model["blocks.1.att.key.weight"].values[5 * 64 + 7] = std::numeric_limits<double>::infinity();
  write_gguf(dir_ / "inf.gguf", model, {.type = Ggml::f32});
  // In a matrix that is turned round, the place in the file that is read.
  model = random_model(kShape);
  model["blocks.0.att.g1"].values[3 * 40 + 9] = -std::numeric_limits<double>::infinity();
  write_safetensors(dir_ / "low.safetensors", model);
  for (const DType type : {DType::f32, DType::f16, DType::q8_0}) {
    expect_error({"nan.safetensors", "blocks.1.att.key.weight", "[5, 7]", "NaN"},
                 [&] { gguf(dir_ / "nan.safetensors", type); });
    expect_error({"inf.gguf", "blk.1.time_mix_key.weight", "[5, 7]", "infinite"},
                 [&] { gguf(dir_ / "inf.gguf", type); });
    expect_error({"low.safetensors", "blocks.0.att.g1", "[3, 9]", "infinite"},
                 [&] { gguf(dir_ / "low.safetensors", type); });
  }
  EXPECT_TRUE(out_is_absent());
}

TEST_F(Save, WeightsBeyondTheTypesEndAreNamed) {
  RandomModel model = random_model(kShape);
  model["head.weight"].values[64 + 2] = 0x1p17;
  write_safetensors(dir_ / "large.safetensors", model);
  for (const DType type : {DType::f16, DType::q8_0, DType::q4_0}) {
    expect_error({"large.safetensors", "head.weight", "[1, 2]", "131072", "65504", "BF16"},
                 [&] { gguf(dir_ / "large.safetensors", type); });
  }
  EXPECT_TRUE(out_is_absent());
  const auto ids = random_tokens(3, kShape.vocab);
  for (const DType type : {DType::f32, DType::bf16}) {
    EXPECT_EQ(all_logits(gguf(dir_ / "large.safetensors", type), ids),
              all_logits(dir_ / "large.safetensors", ids));
  }
}

TEST_F(Save, AGroupNormThatOnlyAConfigCanStateIsRefused) {
  write_hf_folder(
      dir_ / "hf",
      random_model({.vocab = 60, .width = 64, .layers = 2, .head_size = 16, .ffn = 64}));
  expect_error({"group norm", "Hugging Face"}, [&] { gguf(dir_ / "hf", DType::f16); });
  expect_error({"group norm"}, [&] { safetensors(dir_ / "hf", DType::f16); });
  EXPECT_TRUE(out_is_absent());
}

TEST_F(Save, AFullDiskLeavesNothing) {
  write_pth(dir_ / "in.pth", random_model(kShape));
  {
    const FullDisk disk(20000);
    expect_error({"cannot write", "out.gguf"}, [&] { gguf(dir_ / "in.pth", DType::f16); });
    expect_error({"cannot write", "out.safetensors"},
                 [&] { safetensors(dir_ / "in.pth", DType::f16); });
  }
  EXPECT_TRUE(out_is_absent());
}

}  // namespace
}  // namespace anser
