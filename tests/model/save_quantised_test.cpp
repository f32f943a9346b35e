// Models quantised while they are written: which tensor gets which type, what that costs, and that
// nothing is rounded twice.
#include <map>

#include "formats/tensor_file.h"
#include "model/quantize_mix.h"
#include "model/save_fixture.h"
#include "support/compare.h"
#include "support/engines.h"

namespace anser {
namespace {

TEST_F(Save, QuantisedModelsDivergeInTheOrderOfTheirBits) {
  const RandomModel model = random_model(kWide);
  write_safetensors(dir_ / "in.safetensors", model);
  const auto ids = random_tokens(40, kWide.vocab);
  const auto expected = all_logits(dir_ / "in.safetensors", ids);
  const auto divergence = [&](DType type) {
    const auto found = all_logits(gguf(dir_ / "in.safetensors", type), ids);
    double sum = 0;
    for (size_t t = 0; t < ids.size(); ++t) sum += kl_divergence(expected[t], found[t]);
    return sum / double(ids.size());
  };
  const double q8_0 = divergence(DType::q8_0), q6_k = divergence(DType::q6_k);
  const double q5_k = divergence(DType::q5_k), q4_k = divergence(DType::q4_k);
  const double q4_0 = divergence(DType::q4_0);
  EXPECT_GT(q8_0, 0);
  EXPECT_LT(q8_0, q6_k);
  EXPECT_LT(q6_k, q5_k);
  EXPECT_LT(q5_k, q4_k);
  EXPECT_LE(q4_k, q4_0);
  EXPECT_LT(q4_0, 0.05);
}

TEST_F(Save, TheMixOfTypes) {
  write_safetensors(dir_ / "in.safetensors", random_model(kWide));
  const auto types = [&](DType type) {
    std::map<std::string, DType> found;
    for (const FileTensor& t : open_tensor_file(gguf(dir_ / "in.safetensors", type)).tensors) {
      found[t.name] = t.type;
    }
    return found;
  };
  auto q4_k = types(DType::q4_k);
  EXPECT_EQ(q4_k["output.weight"], DType::q5_k);
  EXPECT_EQ(q4_k["token_embd.weight"], DType::q5_k);
  EXPECT_EQ(q4_k["blk.1.time_mix_value.weight"], DType::q5_k);
  EXPECT_EQ(q4_k["blk.1.time_mix_output.weight"], DType::q5_k);
  EXPECT_EQ(q4_k["blk.0.time_mix_output.weight"], DType::q8_0);
  EXPECT_EQ(q4_k["blk.1.time_mix_key.weight"], DType::q4_k);
  EXPECT_EQ(q4_k["blk.1.channel_mix_value.weight"], DType::q4_k);
  auto q8_0 = types(DType::q8_0);
  for (auto& found : {q4_k, q8_0}) {
    for (const auto& [name, type] : found) {
      const bool vector = name.ends_with("norm.weight") || name.ends_with("norm_2.weight") ||
                          name.ends_with(".bias") || name.find("lerp") != std::string::npos ||
                          name.ends_with("0.weight") || name.find("_k_") != std::string::npos ||
                          name.ends_with("r_k.weight") || name.ends_with("ln.weight");
      if (vector) {
        EXPECT_EQ(type, DType::f32) << name;
      }
      const bool decay = name.ends_with("w1.weight") || name.ends_with("w2.weight");
      if (decay) {
        EXPECT_EQ(type, DType::f32) << name;
      }
      const bool low_rank = name.ends_with("1.weight") || name.ends_with("2.weight");
      if (low_rank && !vector && !decay) {
        EXPECT_EQ(type, DType::f16) << name;
      }
    }
  }
  EXPECT_EQ(q8_0["output.weight"], DType::q8_0);
  EXPECT_EQ(types(DType::q5_k)["output.weight"], DType::q6_k);
  EXPECT_EQ(types(DType::q6_k)["output.weight"], DType::q6_k);
  EXPECT_EQ(types(DType::q4_0)["output.weight"], DType::q5_k);
  // Rows of no 256s.
  EXPECT_EQ(matrix_type("head.weight", 192, DType::q4_0), DType::q5_0);
}

TEST_F(Save, QuantisingToTheSameTypeChangesNoBit) {
  const RandomModel model = random_model(kWide);
  for (const Ggml type : {Ggml::q8_0, Ggml::q6_k}) {
    write_gguf(dir_ / "in.gguf", model, {.type = type});
    const DType same = type == Ggml::q8_0 ? DType::q8_0 : DType::q6_k;
    const TensorFile before = open_tensor_file(dir_ / "in.gguf");
    const TensorFile after = open_tensor_file(gguf(dir_ / "in.gguf", same));
    for (const FileTensor& tensor : before.tensors) {
      if (tensor.type != same) continue;
      EXPECT_TRUE(std::ranges::equal(after.find(tensor.name)->bytes, tensor.bytes)) << tensor.name;
    }
  }
}

// Quantised matrices that are to be turned round: blocks lie across what is written.
TEST_F(Save, QuantisedLowRankMatricesAreTurnedRound) {
  const Shape blocks = {.vocab = 70,
                        .width = 64,
                        .layers = 2,
                        .ffn = 64,
                        .rank_w = 8,
                        .rank_a = 32,
                        .rank_v = 32,
                        .rank_g = 64};
  const RandomModel stored = write_gguf(dir_ / "in.gguf", random_model(blocks),
                                        {.type = Ggml::q8_0, .low_rank = Ggml::q8_0});
  const TensorFile file = open_tensor_file(safetensors(dir_ / "in.gguf", DType::f32));
  for (const Tensor& tensor : stored.tensors) {
    const FileTensor* found = file.find(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    ASSERT_EQ(found->shape, tensor.shape) << tensor.name;
    ASSERT_EQ(found->type, DType::f32);
    const auto* values = reinterpret_cast<const float*>(found->bytes.data());
    for (size_t i = 0; i < tensor.values.size(); ++i) {
      ASSERT_EQ(values[i], tensor.values[i]) << tensor.name << " " << i;
    }
  }
}

TEST_F(Save, ThreadsChangeNoBit) {
  write_pth(dir_ / "in.pth", random_model(kWide), {.strided = true});
  const Model model = Model::open(dir_ / "in.pth");
  save_gguf(model, dir_ / "out1", as(DType::q4_k, 1));
  save_gguf(model, dir_ / "out3", as(DType::q4_k, 3));
  EXPECT_TRUE(read_file(dir_ / "out1") == read_file(dir_ / "out3"));
}

}  // namespace
}  // namespace anser
