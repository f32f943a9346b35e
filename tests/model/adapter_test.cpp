// Adapters of all kinds, merged when a model is opened.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "model/adapter_fixture.h"
#include "model/dequantize.h"
#include "model/save_gguf.h"
#include "model/weights.h"

namespace anser {
namespace {

// ---- RWKV-PEFT ----

TEST_F(AdapterTest, LoraOfRwkvPeftWithWholeTensors) {
  const Tensor a = numbers("blocks.1.att.key.lora_A", {4, 32}, 1),
               b = numbers("blocks.1.att.key.lora_B", {32, 4}, 2),
               a2 = numbers("blocks.0.ffn.value.lora_A", {4, 64}, 3),
               b2 = numbers("blocks.0.ffn.value.lora_B", {32, 4}, 4);
  Tensor ln = base_["blocks.0.ln1.weight"], shift = base_["blocks.1.att.x_r"],
         rate = base_["blocks.1.att.a1"];
  for (Tensor* tensor : {&ln, &shift, &rate}) {
    for (double& x : tensor->values) x *= 0.5;
  }
  write_pth_raw(dir_ / "rwkv-0.pth", {a, b, ln, a2, b2, shift, rate}, {.type = Float::bf16});

  for (const double scale : {1.0, -0.5}) {
    RandomModel merged = base_;
    add_product(merged["blocks.1.att.key.weight"], a, b, scale * 8 / 4);
    add_product(merged["blocks.0.ffn.value.weight"], a2, b2, scale * 8 / 4);
    for (const Tensor& tensor : {ln, shift, rate}) merged[tensor.name] = tensor;
    const OpenOptions options = with(dir_ / "rwkv-0.pth", scale, 8);
    expect_logits(options, merged);
    // Bases that store a1 the other way round.
    write_hf_folder(dir_ / "hf", base_);
    expect_logits(Model::open(dir_ / "hf", options), merged);
    write_gguf(dir_ / "f32.gguf", base_, {.type = Ggml::f32});
    expect_logits(Model::open(dir_ / "f32.gguf", options), merged);
  }
  expect_refused(with(dir_ / "rwkv-0.pth"), {"rwkv-0.pth", "--lora-alpha", "init_pissa.pth"});
}

TEST_F(AdapterTest, PissaTakesOutWhatItBeganWith) {
  const Tensor a = numbers("blocks.1.att.key.lora_A", {4, 32}, 1),
               b = numbers("blocks.1.att.key.lora_B", {32, 4}, 2),
               a0 = numbers("blocks.1.att.key.init_lora_A", {4, 32}, 3),
               b0 = numbers("blocks.1.att.key.init_lora_B", {32, 4}, 4);
  RandomModel merged = base_;
  add_product(merged["blocks.1.att.key.weight"], a0, b0, -1);
  add_product(merged["blocks.1.att.key.weight"], a, b, 1);

  std::filesystem::create_directories(dir_ / "run");
  write_pth_raw(dir_ / "run/rwkv-3.pth", {a, b}, {});
  write_pth_raw(dir_ / "run/init_pissa.pth", {a0, b0}, {});
  expect_logits(with(dir_ / "run/rwkv-3.pth"), merged);
  expect_refused(with(dir_ / "run/rwkv-3.pth", 1, 8), {"PiSSA", "no alpha"});

  write_pth_raw(dir_ / "alone.pth", {a, b}, {});
  OpenOptions named = with(dir_ / "alone.pth");
  named.adapters[0].init = dir_ / "run/init_pissa.pth";
  expect_logits(named, merged);
  write_pth_raw(dir_ / "other.pth", {numbers("blocks.0.att.key.init_lora_A", {4, 32}, 3)}, {});
  named.adapters[0].init = dir_ / "other.pth";
  expect_refused(named, {"other.pth", "blocks.0.att.key.init_lora_A", "does not change"});
  named.adapters[0].init = write("half.st", {a0});
  expect_refused(named, {"init_lora_B"});
}

// Rows of W are the largest part of it that a rank of 8 can hold, if the others are made small.
TEST_F(AdapterTest, PissaWithoutItsBeginningIsNoticed) {
  Tensor& w = base_["blocks.1.att.key.weight"];
  for (size_t i = 8 * 32; i < w.values.size(); ++i) w.values[i] /= 16;
  write_safetensors(path_, base_);
  Tensor a{"blocks.1.att.key.lora_A", {8, 32}, Vec(w.values.begin(), w.values.begin() + 8 * 32)},
      b{"blocks.1.att.key.lora_B", {32, 8}, Vec(32 * 8)};
  for (int i = 0; i < 8; ++i) b.values[i * 8 + i] = 1;
  const auto says_so = [&](const Tensor& first) {
    const Model model = Model::open(path_, with(write("pissa", {first, b}), 0.5, 16));
    for (const std::string& note : model.notes()) {
      if (note.find("init_pissa.pth") != std::string::npos) return true;
    }
    return false;
  };
  EXPECT_TRUE(says_so(a));
  EXPECT_FALSE(says_so(numbers(a.name, {8, 32}, 9)));
}

TEST_F(AdapterTest, MissRowsAlsoWhereTheRankDividesNothing) {
  for (const int64_t r : {8, 5}) {
    const Tensor d = numbers("blocks.1.ffn.key.disha", {r, 64}, 5);
    RandomModel merged = base_;
    Vec& w = merged["blocks.1.ffn.key.weight"].values;
    for (int64_t o = 0; o < 64; ++o) {
      for (int64_t k = 0; k < 32; ++k) w[o * 32 + k] += 0.5 * d.values[(k % r) * 64 + o];
    }
    expect_logits(with(write("disha", {d}), 0.5), merged);
  }
}

// W_ab += W_ab D + D; by_rows: D of the block's row, else of its column.
void add_blocks(Tensor& w, const Tensor& d, bool by_rows) {
  const int64_t in = w.shape[1], r = d.shape[1];
  const Vec old = w.values;
  for (int64_t o = 0; o < w.shape[0]; ++o) {
    for (int64_t k = 0; k < in; ++k) {
      const double* block = d.values.data() + (by_rows ? o / r : k / r) * r * r;
      double sum = block[(o % r) * r + k % r];
      for (int64_t i = 0; i < r; ++i) sum += old[o * in + k / r * r + i] * block[i * r + k % r];
      w.values[o * in + k] += sum;
    }
  }
}

TEST_F(AdapterTest, BoneBlocksOfColumns) {
  for (const char* name : {"blocks.1.ffn.key.disha", "blocks.1.ffn.key.bone"}) {
    const Tensor d = numbers(name, {4, 8, 8}, 6);
    RandomModel merged = base_;
    add_blocks(merged["blocks.1.ffn.key.weight"], d, false);
    expect_logits(with(write("bone", {d})), merged);
  }
  expect_refused(with(write("early", {numbers("blocks.1.ffn.key.bone", {32, 8}, 6)})), {"Bone"});
}

// ---- Hugging Face PEFT ----

TEST_F(AdapterTest, PeftFolderWithItsScales) {
  const std::string prefix = "base_model.model.";
  const Tensor a = numbers(prefix + kKey + ".lora_A.weight", {4, 32}, 1),
               b = numbers(prefix + kKey + ".lora_B.weight", {32, 4}, 2),
               a2 = numbers(prefix + "blocks.0.att.value.lora_A.weight", {2, 32}, 3),
               b2 = numbers(prefix + "blocks.0.att.value.lora_B.weight", {32, 2}, 4);
  const std::string head = R"("peft_type": "LORA", "r": 4, "lora_alpha": 6)";
  const auto expect = [&](const std::string& more, double scale, double scale2) {
    SCOPED_TRACE(more);
    RandomModel merged = base_;
    add_product(merged["blocks.1.att.key.weight"], a, b, scale);
    add_product(merged["blocks.0.att.value.weight"], a2, b2, scale2);
    expect_logits(with(folder("peft", head + more, {a, b, a2, b2})), merged);
  };
  const std::string ranks = R"(, "rank_pattern": {"att.value": 2})";
  expect(ranks, 6.0 / 4, 6.0 / 2);
  expect(ranks + R"(, "use_rslora": true)", 6.0 / 2, 6.0 / std::sqrt(2.0));
  expect(ranks + R"(, "alpha_pattern": {"blocks.1.att.key": 1, "value": 3})", 1.0 / 4, 3.0 / 2);
  // Of patterns that fit the same module the first one holds, as in PEFT.
  expect(ranks + R"(, "alpha_pattern": {"value": 3, "blocks.0.att.value": 9, "att.value": 27})",
         6.0 / 4, 3.0 / 2);
  expect_refused(with(folder("peft", head, {a, b, a2, b2})), {"rank 2", "say 4"});
  expect_refused(with(folder("peft", head + R"(, "rank_pattern": {".*value": 2})", {a2, b2})),
                 {"rank_pattern", "regular expression"});

  // The file in the folder is the folder.
  RandomModel merged = base_;
  add_product(merged["blocks.1.att.key.weight"], a, b, 1.5);
  const std::string peft = folder("one", head, {a, b});
  expect_logits(with(peft + "/adapter_model.safetensors"), merged);
  expect_logits(with(peft + "/adapter_config.json"), merged);
  expect_refused(with(peft, 1, 16), {"--lora-alpha", "leave it out"});
}

TEST_F(AdapterTest, DoraGivesEveryRowItsLength) {
  const Tensor a = numbers(std::string(kKey) + ".lora_A.weight", {4, 32}, 1),
               b = numbers(std::string(kKey) + ".lora_B.weight", {32, 4}, 2);
  Tensor m = numbers(std::string(kKey) + ".lora_magnitude_vector", {32}, 3);
  for (double& x : m.values) x += 1;
  RandomModel merged = base_;
  Tensor& w = merged["blocks.1.att.key.weight"];
  add_product(w, a, b, 0.5);
  for (int o = 0; o < 32; ++o) {
    double square = 0;
    for (int k = 0; k < 32; ++k) square += w.values[o * 32 + k] * w.values[o * 32 + k];
    for (int k = 0; k < 32; ++k) w.values[o * 32 + k] *= m.values[o] / std::sqrt(square);
  }
  const std::string config = R"("peft_type": "LORA", "r": 4, "lora_alpha": 2, "use_dora": )";
  expect_logits(with(folder("dora", config + "true", {a, b, m})), merged);
  expect_refused(with(folder("dora", config + "false", {a, b, m})), {"use_dora"});
  expect_refused(with(folder("dora", config + "true", {a, b})), {"lora_magnitude_vector"});
}

TEST_F(AdapterTest, MissOfPeftInAllItsForms) {
  const std::string name = "base_model.model.blocks.1.ffn.key.miss_block";
  const std::string head = R"("peft_type": "MISS", "r": 8, "init_weights": )";
  RandomModel merged = base_;
  Vec& w = merged["blocks.1.ffn.key.weight"].values;
  const Tensor rows = numbers(name, {8, 64}, 1), small = numbers(name, {8, 16}, 2),
               blocks = numbers(name, {8, 8, 8}, 3);
  for (int o = 0; o < 64; ++o) {
    for (int k = 0; k < 32; ++k) w[o * 32 + k] += rows.values[(k % 8) * 64 + o];
  }
  expect_logits(with(folder("miss", head + "true", {rows})), merged);

  merged = base_;
  Vec& v = merged["blocks.1.ffn.key.weight"].values;
  for (int o = 0; o < 64; ++o) {
    for (int k = 0; k < 32; ++k) v[o * 32 + k] += small.values[(k % 8) * 16 + o % 16];
  }
  expect_logits(with(folder("miss", head + R"("mini", "mini_r": 16)", {small})), merged);

  merged = base_;
  add_blocks(merged["blocks.1.ffn.key.weight"], blocks, true);
  expect_logits(with(folder("miss", head + R"("bat")", {blocks})), merged);

  expect_logits(with(write("no-settings", {blocks})), merged);

  expect_refused(with(folder("miss", head + R"("bat")", {rows})), {"init_weights"});
  expect_refused(with(folder("miss", head + R"("odd")", {rows})), {"init_weights", "odd"});
}

TEST_F(AdapterTest, PackageOfRwkvLightning) {
  const Tensor d = numbers("blocks.1.att.key.weight.D", {32, 6}, 1);
  const std::string package = dir_ / "package";
  std::filesystem::create_directories(package);
  write_pth_raw(package + "/adapter.pth", {d}, {.type = Float::f16});
  const auto config = [&](const std::string& layout) {
    std::ofstream(package + "/adapter.json")
        << R"({"format_version": 1, "method": "miss", "dtype": "float16", "rank": 6, "alpha": 3,)"
        << R"( "scale": 0.5, "layout": ")" << layout << R"("})";
  };
  config("modulo_rank_zero_pad");
  RandomModel merged = base_;
  Vec& w = merged["blocks.1.att.key.weight"].values;
  for (int o = 0; o < 32; ++o) {
    for (int k = 0; k < 32; ++k) w[o * 32 + k] += 0.5 * d.values[o * 6 + k % 6];
  }
  expect_logits(with(package), merged);
  config("other");
  expect_refused(with(package), {"adapter.json", "modulo_rank_zero_pad"});
  std::filesystem::copy(package + "/adapter.pth", dir_ / "alone.pth");
  expect_refused(with(dir_ / "alone.pth"), {"adapter.json"});
}

TEST_F(AdapterTest, HuggingFaceNamesOnEveryBase) {
  const Tensor a = numbers("base_model.model.model.layers.1.attn.k_proj.lora_A.weight", {4, 32}, 1),
               b = numbers("base_model.model.model.layers.1.attn.k_proj.lora_B.weight", {32, 4}, 2),
               // A linear layer that the original files store the other way round.
      a1 = numbers("base_model.model.model.layers.1.attn.w_lora.lora.0.lora_A.weight", {4, 32}, 3),
               b1 = numbers("base_model.model.model.layers.1.attn.w_lora.lora.0.lora_B.weight",
                            {8, 4}, 4),
               // An embedding's product is [width][vocabulary].
      ae = numbers("base_model.model.model.embeddings.lora_embedding_A", {4, 20}, 5),
               be = numbers("base_model.model.model.embeddings.lora_embedding_B", {32, 4}, 6),
               head = numbers("base_model.model.lm_head.weight", {20, 32}, 7);
  RandomModel merged = base_;
  add_product(merged["blocks.1.att.key.weight"], a, b, 2);
  Tensor w1 = transposed(merged["blocks.1.att.w1"]);
  add_product(w1, a1, b1, 2);
  merged["blocks.1.att.w1"] = transposed(w1);
  Tensor emb = transposed(merged["emb.weight"]);
  add_product(emb, ae, be, 2);
  merged["emb.weight"] = transposed(emb);
  merged["head.weight"].values = head.values;
  const std::string adapter = folder(
      "hf-lora", R"("peft_type": "LORA", "r": 4, "lora_alpha": 8, "modules_to_save": ["lm_head"])",
      {a, b, a1, b1, ae, be, head});

  write_hf_folder(dir_ / "hf", base_);
  expect_logits(Model::open(dir_ / "hf", with(adapter)), merged);
  expect_logits(with(adapter), merged);
  write_gguf(dir_ / "f32.gguf", base_, {.type = Ggml::f32});
  expect_logits(Model::open(dir_ / "f32.gguf", with(adapter)), merged);
  write_safetensors(dir_ / "web.st", base_, {.web_rwkv = true});
  expect_logits(Model::open(dir_ / "web.st", with(adapter)), merged);
  write_pth(dir_ / "strided.pth", base_, {.type = Float::f32, .strided = true});
  expect_logits(Model::open(dir_ / "strided.pth", with(adapter)), merged);
  expect_refused(with(folder("less",
                             R"("peft_type": "LORA", "r": 4, "lora_alpha": 8,)"
                             R"("modules_to_save": ["lm_head"])",
                             {a, b})),
                 {"modules_to_save", "lm_head"});
}

TEST_F(AdapterTest, QuantisedBaseIsDequantisedWhereItIsChanged) {
  const RandomModel large = random_model({});
  const RandomModel stored = write_gguf(dir_ / "q8.gguf", large, {.type = Ggml::q8_0});
  const Tensor a = numbers(std::string(kKey) + ".lora_A", {4, 128}, 1),
               b = numbers(std::string(kKey) + ".lora_B", {128, 4}, 2);
  RandomModel merged = stored;
  add_product(merged["blocks.1.att.key.weight"], a, b, 2);
  const Model model = Model::open(dir_ / "q8.gguf", with(write("lora", {a, b}), 1, 8));
  expect_logits(model, merged, quantised_tolerance);
  ASSERT_EQ(model.notes().size(), 2u);  // the second: that layers 0 and 2 are not changed
  EXPECT_NE(model.notes()[1].find("1 matrices"), std::string::npos) << model.notes()[1];
  EXPECT_NE(model.notes()[1].find("F16"), std::string::npos) << model.notes()[1];
}

// The error is one in 2^11 of each weight, and of a logit not more than some times that.
TEST_F(AdapterTest, ForAGpuPlainMatricesBecomeF16) {
  const Tensor a = numbers(std::string(kKey) + ".lora_A", {4, 32}, 1),
               b = numbers(std::string(kKey) + ".lora_B", {32, 4}, 2);
  RandomModel merged = base_;
  add_product(merged["blocks.1.att.key.weight"], a, b, 2);
  write_safetensors(dir_ / "bf16.safetensors", base_, {.type = Float::bf16});
  OpenOptions options = with(write("lora", {a, b}), 1, 8);
  const auto note = [&] { return Model::open(dir_ / "bf16.safetensors", options).notes().back(); };
  EXPECT_NE(note().find("as F32"), std::string::npos) << note();
  expect_logits(Model::open(dir_ / "bf16.safetensors", options), merged);
  options.merge_to_f16 = true;
  EXPECT_NE(note().find("as F16"), std::string::npos) << note();
  expect_logits(Model::open(dir_ / "bf16.safetensors", options), merged,
                [](const Shape&, double largest) { return 0x1p-9 * largest; });
  // F16 ends at 65504.
  options.adapters[0].scale = 1e8;
  EXPECT_NE(note().find("as F32"), std::string::npos) << note();
}

// ---- several ----

TEST_F(AdapterTest, AreAppliedInTheirOrder) {
  const Tensor a = numbers(std::string(kKey) + ".lora_A", {4, 32}, 1),
               b = numbers(std::string(kKey) + ".lora_B", {32, 4}, 2),
               d = numbers(std::string(kKey) + ".disha", {4, 8, 8}, 3);
  const Adapter lora = {.path = write("lora", {a, b}), .alpha = 4},
                bone = {.path = write("bone", {d})};
  RandomModel merged = base_;
  Tensor& w = merged["blocks.1.att.key.weight"];
  add_product(w, a, b, 1);
  add_blocks(w, d, false);
  expect_logits({.adapters = {lora, bone}}, merged);
  merged = base_;
  add_blocks(merged["blocks.1.att.key.weight"], d, false);
  add_product(merged["blocks.1.att.key.weight"], a, b, 1);
  expect_logits({.adapters = {bone, lora}}, merged);

  // A whole tensor would wipe out the other's change.
  const Adapter whole = {.path = write("whole", {base_["blocks.1.att.key.weight"],
                                                 numbers("blocks.0.att.key.disha", {4, 32}, 1)})};
  expect_refused({.adapters = {lora, whole}}, {"whole", "lora", "blocks.1.att.key.weight"});
  expect_refused({.adapters = {whole, lora}}, {"whole", "lora", "blocks.1.att.key.weight"});
}

TEST_F(AdapterTest, OnlyWhatIsChangedIsCopied) {
  const Tensor d = numbers(std::string(kKey) + ".disha", {4, 32}, 1);
  const Model model = Model::open(path_, with(write("disha", {d})));
  ASSERT_EQ(model.adapters().size(), 1u);
  EXPECT_NE(model.adapters()[0].find("MiSS of rank 4, 1 matrices"), std::string::npos)
      << model.adapters()[0];
}

// From the file's own numbers, not from what Q2_K runs as: merged for good it is the same model.
TEST_F(AdapterTest, IntoTypesThatAreRepacked) {
  const RandomModel model = random_model({.width = 256, .layers = 2, .ffn = 256});
  const Tensor a = numbers("blocks.1.att.key.lora_A", {4, 256}, 1),
               b = numbers("blocks.1.att.key.lora_B", {256, 4}, 2);
  const std::string lora = write("lora", {a, b});
  for (const Ggml type : {Ggml::q2_k, Ggml::q3_k, Ggml::iq4_nl, Ggml::iq4_xs}) {
    RandomModel merged = write_gguf(path_, model, {.type = type});
    add_product(merged["blocks.1.att.key.weight"], a, b, 4 / 4);
    for (const bool exact : {false, true}) {
      OpenOptions options = with(lora, 1, 4);
      options.exact = exact;
      const Model opened = Model::open(path_, options);
      const Matrix& key = opened.weights().layers[1].att.key;
      ASSERT_EQ(key.type, exact ? DType::f32 : DType::f16) << ggml_name(type);
      std::vector<float> row(256);
      for (int o = 0; o < 256; ++o) {
        dequantize_row(key.type, key.data + size_t(o) * key.row_bytes(), 256, row.data());
        for (int k = 0; k < 256; ++k) {
          const double want = merged["blocks.1.att.key.weight"].values[size_t(o) * 256 + k];
          const double step = exact ? 0x1p-22 : 0x1.01p-11;  // rounded once
          ASSERT_NEAR(row[k], want, std::max(step * std::fabs(want), 0x1p-24)) << o << " " << k;
        }
      }
    }
    const Model running = Model::open(path_, with(lora, 1, 4));
    OpenOptions options = with(lora, 1, 4);
    options.exact = true;
    save_gguf(Model::open(path_, options), dir_ / "merged.gguf", {.type = DType::f16});
    running.check_state(Model::open(dir_ / "merged.gguf").initial_state(), ggml_name(type));
  }
}

}  // namespace
}  // namespace anser
