// Names as llama.cpp's converters have written them since 2025.
#include "checkpoint/gguf_names.h"

#include <gtest/gtest.h>

#include <tuple>

namespace anser {
namespace {

TEST(GgufNames, BothWays) {
  const std::tuple<const char*, const char*> pairs[] = {
      {"token_embd.weight", "emb.weight"},
      {"token_embd_norm.bias", "blocks.0.ln0.bias"},
      {"output_norm.weight", "ln_out.weight"},
      {"output.weight", "head.weight"},
      {"blk.0.attn_norm.weight", "blocks.0.ln1.weight"},
      {"blk.11.attn_norm_2.bias", "blocks.11.ln2.bias"},
      {"blk.3.time_mix_lerp_fused.weight", "blocks.3.att.x_x"},
      {"blk.3.time_mix_w0.weight", "blocks.3.att.w0"},
      {"blk.3.time_mix_g2.weight", "blocks.3.att.g2"},
      {"blk.3.time_mix_r_k.weight", "blocks.3.att.r_k"},
      {"blk.3.time_mix_receptance.weight", "blocks.3.att.receptance.weight"},
      {"blk.3.time_mix_key.bias", "blocks.3.att.key.bias"},
      {"blk.3.time_mix_ln.bias", "blocks.3.att.ln_x.bias"},
      {"blk.3.channel_mix_lerp_k.weight", "blocks.3.ffn.x_k"},
      {"blk.3.channel_mix_value.weight", "blocks.3.ffn.value.weight"}};
  for (const auto& [gguf, original] : pairs) {
    EXPECT_EQ(original_from_gguf(gguf), original);
    EXPECT_EQ(gguf_from_original(original), gguf);
  }
}

TEST(GgufNames, OfEarlyConverters) {
  EXPECT_EQ(original_from_gguf("blk.3.time_mix_lerp_r.weight"), "blocks.3.att.x_r");
  EXPECT_EQ(original_from_gguf("blk.3.time_mix_lerp_g"), "blocks.3.att.x_g");
  EXPECT_EQ(original_from_gguf("blk.3.time_mix_w0"), "blocks.3.att.w0");
  EXPECT_EQ(original_from_gguf("blk.3.channel_mix_lerp_k"), "blocks.3.ffn.x_k");
  EXPECT_EQ(gguf_from_original("blocks.3.att.x_r"), "blk.3.time_mix_lerp_fused.weight");
}

TEST(GgufNames, OthersAreNoPart) {
  for (const char* name : {"rope_freqs.weight", "blk.0.attn_q.weight", "blk.", "blk.0", "blk.0.",
                           "", "output_scale"}) {
    EXPECT_EQ(original_from_gguf(name), "") << name;
  }
}

}  // namespace
}  // namespace anser
