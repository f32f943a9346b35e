// Adapters merged when a model is opened: the logits are those of the reference with weights that
// this test merges itself, in double precision.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "anser/model.h"
#include "model/dequantize.h"
#include "model/save_gguf.h"
#include "model/weights.h"
#include "support/compare.h"
#include "support/engines.h"
#include "support/errors.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;
using Vec = std::vector<double>;

constexpr int kTokens = 12;

// Multiples of 1/256 up to 7/64 in magnitude: every float type holds them exactly.
Tensor numbers(const std::string& name, std::vector<int64_t> shape, uint64_t seed,
               double size = 1) {
  int64_t n = 1;
  for (const int64_t dim : shape) n *= dim;
  Tensor tensor{name, std::move(shape), Vec(size_t(n))};
  uint64_t x = seed * 0x9e3779b97f4a7c15 + 1;
  for (double& value : tensor.values) {
    x = x * 6364136223846793005 + 1442695040888963407;
    value = size * (double((x >> 40) % 57) - 28) / 256;
  }
  return tensor;
}

// W += factor B A.
void add_product(Tensor& w, const Tensor& a, const Tensor& b, double factor) {
  const int64_t out = w.shape[0], in = w.shape[1], r = a.shape[0];
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t k = 0; k < in; ++k) {
      double sum = 0;
      for (int64_t j = 0; j < r; ++j) sum += b.values[o * r + j] * a.values[j * in + k];
      w.values[o * in + k] += factor * sum;
    }
  }
}

class AdapterTest : public testing::Test {
 protected:
  AdapterTest() { write_safetensors(path_, base_); }

  OpenOptions with(const std::string& path, double scale = 1, std::optional<double> alpha = {}) {
    return {.adapters = {{.path = path, .scale = scale, .alpha = alpha}}};
  }

  static void expect_logits(const Model& model, const RandomModel& merged,
                            double (*tolerance)(const Shape&, double) = float_tolerance) {
    const auto tokens = random_tokens(kTokens, merged.shape.vocab);
    reference::Model truth = merged.reference();
    truth.group_norm_eps = model.hyperparameters().group_norm_eps;  // a folder has its own
    reference::State state(truth);
    const auto want = reference::run(truth, state, tokens);
    const auto engine = Engine::create(model, {.device = Device::cpu, .threads = 2});
    const auto got = all_logits(*engine, tokens);
    for (int t = 0; t < kTokens; ++t) {
      expect_close(got[t], want[t], tolerance(merged.shape, largest(want[t])),
                   "token " + std::to_string(t));
    }
  }
  void expect_logits(const OpenOptions& options, const RandomModel& merged) {
    expect_logits(Model::open(path_, options), merged);
  }
  // That it is refused, in these words.
  void expect_refused(const OpenOptions& options, const std::vector<std::string>& words) {
    expect_error(words, [&] { Model::open(path_, options); });
  }

  std::string write(const std::string& name, const std::vector<Tensor>& tensors) {
    write_safetensors_raw(dir_ / name, tensors, Float::f32);
    return dir_ / name;
  }
  // A folder of PEFT. `members` of its config: `"r": 4, ...`.
  std::string folder(const std::string& name, const std::string& members,
                     const std::vector<Tensor>& tensors) {
    std::filesystem::create_directories(dir_ / name);
    std::ofstream(dir_ / name + "/adapter_config.json") << "{" << members << "}";
    write(name + "/adapter_model.safetensors", tensors);
    return dir_ / name;
  }

  TempDir dir_;
  RandomModel base_ = random_model(kTinyShape);  // width 32, channel mix 64
  std::string path_ = dir_ / "base.safetensors";
};

constexpr const char* kKey = "blocks.1.att.key";

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

// ---- refusals ----

TEST_F(AdapterTest, EveryTensorIsUsedOrNamed) {
  const Tensor a = numbers(std::string(kKey) + ".lora_A", {4, 32}, 1),
               b = numbers(std::string(kKey) + ".lora_B", {32, 4}, 2);
  const auto refused = [&](const std::vector<Tensor>& more, const std::vector<std::string>& words) {
    std::vector<Tensor> all = {a, b};
    all.insert(all.end(), more.begin(), more.end());
    expect_refused(with(write("bad", all), 1, 8), words);
  };
  refused({numbers("blocks.0.att.gate.lora_A", {4, 32}, 1)},
          {"blocks.0.att.gate.lora_A", "another model"});
  refused({numbers("blocks.7.att.key.lora_A", {4, 32}, 1)}, {"blocks.7.att.key.lora_A"});
  refused({numbers("something", {4}, 1)}, {"something"});
  refused({numbers("blocks.0.att.key.lora_A", {4, 32}, 1)}, {"lora_B"});
  refused({numbers("blocks.0.att.key.lora_E", {4}, 1)}, {"AdaLoRA"});
  refused({numbers("blocks.0.att.key.hada_w1_a", {4}, 1)}, {"LoHa"});
  refused({numbers("blocks.0.att.key.lokr_w1", {4}, 1)}, {"LoKr"});
  refused({numbers("blocks.0.att.key.ia3_l", {4}, 1)}, {"IA3"});
  refused({numbers("blocks.0.att.key.vera_lambda_b", {4}, 1)}, {"VeRA"});
  refused({numbers("blocks.0.att.key.lora_B.bias", {4}, 1)}, {"biases"});
  refused({numbers("blocks.0.att.x_r.lora_A", {4, 32}, 1)}, {"blocks.0.att.x_r"});
  refused({numbers("blocks.1.att.key.lora_A.weight", {4, 32}, 1)}, {"same place"});
  refused({numbers("blocks.1.att.key.disha", {4, 32}, 1)}, {"same place"});
  refused({numbers("blocks.0.ln1.weight", {31}, 1)}, {"blocks.0.ln1.weight", "[31]"});
  refused({numbers("emb.weight", {21, 32}, 1)}, {"emb.weight", "[21, 32]"});
}

TEST_F(AdapterTest, ShapesAndNumbersAreChecked) {
  Tensor a = numbers(std::string(kKey) + ".lora_A", {4, 32}, 1),
         b = numbers(std::string(kKey) + ".lora_B", {32, 4}, 2);
  const auto refused = [&](const std::vector<Tensor>& all, const std::vector<std::string>& words,
                           double scale = 1) {
    expect_refused(with(write("bad", all), scale, 8), words);
  };
  // Of a model that is twice as wide.
  refused({numbers(a.name, {4, 64}, 1), numbers(b.name, {64, 4}, 1)}, {"[rank, 32]", "[4, 64]"});
  refused({a, numbers(b.name, {32, 5}, 1)}, {"[32, 4]", "[32, 5]"});
  refused({transposed(a), b}, {"[32, 4]"});
  refused({numbers(a.name, {0, 32}, 1), numbers(b.name, {32, 0}, 1)}, {"[0, 32]"});
  refused({numbers("blocks.1.ffn.key.disha", {3, 8, 8}, 1)}, {"[4, 8, 8]"});
  refused({numbers("blocks.1.ffn.key.disha", {6, 5, 5}, 1)}, {"blocks of 5"});
  refused({numbers("blocks.1.ffn.key.disha", {33, 64}, 1)}, {"33"});
  refused({a, b}, {"merged into tensor", "blocks.1.att.key.weight"}, 1e42);
  a.values[5] = std::nan("");
  refused({a, b}, {a.name, "NaN"});
  expect_refused(with(path_), {"whole model", "-m"});
  expect_refused(with(dir_ / "absent"), {"absent"});
  expect_refused(with(dir_ / ""), {"adapter_config.json"});
}

TEST_F(AdapterTest, VariantsOfPeftByName) {
  const Tensor a = numbers(std::string(kKey) + ".lora_A.weight", {4, 32}, 1),
               b = numbers(std::string(kKey) + ".lora_B.weight", {32, 4}, 2);
  const auto refused = [&](const std::string& members, const std::vector<std::string>& words) {
    expect_refused(with(folder("bad", members, {a, b})), words);
  };
  const std::string head = R"("peft_type": "LORA", "r": 4, "lora_alpha": 6)";
  for (const char* type : {"ADALORA", "IA3", "VERA", "LOHA", "LOKR", "PROMPT_TUNING"}) {
    refused(R"("peft_type": ")" + std::string(type) + R"(", "r": 4)", {type});
  }
  refused(R"("r": 4, "lora_alpha": 6)", {"peft_type", "missing"});
  refused(R"("peft_type": "LORA", "r": 4)", {"lora_alpha"});
  refused(R"("peft_type": "LORA", "r": "4", "lora_alpha": 6)", {"'r' is", "expected a number"});
  refused(R"("peft_type": "LORA", "r": 0, "lora_alpha": 6)", {"r is 0"});
  refused(R"("peft_type": "MISS", "r": 4)", {"method"});
  refused(head + R"(, "fan_in_fan_out": true)", {"fan_in_fan_out"});
  refused(head + R"(, "lora_bias": true)", {"lora_bias"});
  refused(head + R"(, "use_qalora": true)", {"QA-LoRA"});
  refused(head + R"(, "layer_replication": [[0, 1]])", {"layer_replication"});
  refused(head + R"(, "init_lora_weights": "pissa_niter_4")", {"pissa_niter_4"});
  refused(head + R"(, "init_lora_weights": "olora")", {"olora"});
  refused(head + R"(, "r": 4)", {"adapter_config.json"});  // a key twice
  refused("]", {"adapter_config.json"});

  const Model model =
      Model::open(path_, with(folder("good", head + R"(, "bias": "none", "fan_in_fan_out": false,
        "init_lora_weights": "gaussian", "new_thing": 3, "lora_dropout": 0.1)",
                                     {a, b})));
  EXPECT_NE(model.notes()[0].find("new_thing"), std::string::npos) << model.notes()[0];
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

// ---- never ignored ----

// The base's file may hold what its description takes out of the computation.
TEST_F(AdapterTest, WholeTensorsThatTheBaseDoesNotUseAreRefused) {
  const std::pair<const char*, const char*> cases[] = {
      {"embedding_layer_norm_fused\": true", "blocks.0.ln0.weight"},
      {"embedding_layer_norm_fused\": true", "blocks.0.ln0.bias"},
      {"norm_bias\": false", "blocks.1.ln2.bias"},
      {"norm_bias\": false", "ln_out.bias"}};
  const Tensor a = numbers(std::string(kKey) + ".lora_A", {4, 32}, 1),
               b = numbers(std::string(kKey) + ".lora_B", {32, 4}, 2);
  for (const auto& [says, name] : cases) {
    write_hf_folder(dir_ / "hf", base_,
                    {.layout = HfLayout::rwkv7, .config = "{\"" + std::string(says) + "}"});
    const std::string path = write("lora", {a, b, base_[name]});
    expect_error({path, name, "changes nothing"},
                 [&] { Model::open(dir_ / "hf", with(path, 1, 4)); });
    const std::string ln_x = write("ln_x", {a, b, base_["blocks.1.att.ln_x.bias"]});
    EXPECT_NO_THROW(Model::open(dir_ / "hf", with(ln_x, 1, 4)));
  }
}

TEST_F(AdapterTest, IsRecognisedWhereAModelOrAStateIsExpected) {
  const Tensor a = numbers(std::string(kKey) + ".lora_A.weight", {4, 32}, 1),
               b = numbers(std::string(kKey) + ".lora_B.weight", {32, 4}, 2);
  const std::string file = write("lora", {a, b});
  const std::string peft =
      folder("peft", R"("peft_type": "LORA", "r": 4, "lora_alpha": 6)", {a, b});
  for (const std::string& path : {file, peft}) {
    expect_error({path, "LoRA adapter", "-m", "--lora"}, [&] { Model::open(path); });
    expect_error({path, "LoRA adapter", "--lora"}, [&] { Model::open(path_).load_state(path); });
  }
  std::filesystem::remove(peft + "/adapter_model.safetensors");
  expect_error({peft, "adapter", "--lora"}, [&] { Model::open(peft); });

  // Unmerged inside a model.
  RandomModel both = base_;
  both.tensors.push_back(a);
  both.tensors.push_back(b);
  write_safetensors(dir_ / "both.safetensors", both);
  expect_error({"LoRA", "inside", "not merged"}, [&] { Model::open(dir_ / "both.safetensors"); });
  // Whatever the base's tensors are called.
  for (const HfLayout layout : kHfLayouts) {
    write_hf_folder(dir_ / "both", both, {.layout = layout});
    expect_error({"LoRA", "inside", "not merged"}, [&] { Model::open(dir_ / "both"); });
  }
  for (const char* r_k : {"rwkv7.blocks.0.attention.r_k", "model.layers.0.attention.r_k.weight",
                          "model.layers.0.self_attn.r_k", "blk.0.time_mix_r_k.weight"}) {
    write("named", {numbers(r_k, {2, 16}, 1), a, b});
    expect_error({"LoRA", "inside", "not merged"}, [&] { Model::open(dir_ / "named"); });
  }

  // Beside a model it is another file.
  write_hf_folder(dir_ / "hf", base_);
  write("hf/adapter_model.safetensors", {a, b});
  EXPECT_EQ(Model::open(dir_ / "hf").hyperparameters().layers, 2);
}

// Of a .pth and of safetensors, which is not one of states only: [head][value][key].
TEST_F(AdapterTest, StateIsAsItsTrainerWroteIt) {
  std::vector<Tensor> tensors = {numbers(std::string(kKey) + ".disha", {4, 32}, 1)};
  for (const char* layer : {"0", "1"}) {
    tensors.push_back(numbers(std::string("blocks.") + layer + ".att.time_state", {2, 16, 16}, 7));
  }
  write_pth_raw(dir_ / "tuned.pth", tensors, {.type = Float::f32});
  for (const std::string& path : {dir_ / "tuned.pth", write("tuned", tensors)}) {
    const State state = Model::open(path_, with(path)).initial_state();
    for (int i = 0; i < 2 * 16 * 16; ++i) {
      ASSERT_EQ(state.wkv(1)[i], float(tensors[2].values[i])) << path << " " << i;
    }
  }
}

// State tuning that changed norms, too: a state alone would be half of it.
TEST_F(AdapterTest, StateWithWholeTensorsOnly) {
  Tensor ln = base_["blocks.0.ln1.weight"];
  for (double& x : ln.values) x *= 0.5;
  std::vector<Tensor> tensors = {ln};
  for (const char* layer : {"0", "1"}) {
    tensors.push_back(numbers(std::string("blocks.") + layer + ".att.time_state", {2, 16, 16}, 7));
  }
  const std::string path = write("tuned", tensors);
  expect_error({path, "blocks.0.ln1.weight", "--lora"},
               [&] { Model::open(path_).load_state(path); });
  const Model model = Model::open(path_, with(path));
  EXPECT_NE(model.adapters()[0].find("no adapter, 0 matrices, 1 whole tensors, an initial state"),
            std::string::npos)
      << model.adapters()[0];
  EXPECT_EQ(model.weights().layers[0].ln1.weight[0], float(ln.values[0]));
  EXPECT_EQ(model.initial_state().wkv(1)[1], float(tensors[2].values[1]));
}

TEST_F(AdapterTest, SaysThatATiedHeadStays) {
  std::vector<Tensor> tensors;
  for (const Tensor& tensor : base_.tensors) {
    if (tensor.name != "head.weight") tensors.push_back(tensor);
  }
  RandomModel tied = base_;
  tied.tensors = tensors;
  write_hf_folder(dir_ / "tied", tied,
                  {.layout = HfLayout::rwkv7, .config = R"({"tie_word_embeddings": true})"});
  const std::string adapter =
      write("emb", {base_["emb.weight"], numbers(std::string(kKey) + ".disha", {4, 32}, 1)});
  const auto notes = [&](const std::string& path) {
    std::string text;
    const Model model = Model::open(path, with(adapter));
    for (const std::string& note : model.notes()) text += note + "\n";
    return text;
  };
  EXPECT_NE(notes(dir_ / "tied").find("only the embedding is changed"), std::string::npos);
  EXPECT_EQ(notes(path_).find("only the embedding is changed"), std::string::npos);

  write_hf_folder(dir_ / "both", base_,
                  {.layout = HfLayout::rwkv7, .config = R"({"tie_word_embeddings": true})"});
  EXPECT_NE(notes(dir_ / "both").find("a head of its own, which is used"), std::string::npos);
}

TEST_F(AdapterTest, BringsItsInitialState) {
  std::vector<Tensor> tensors = {numbers(std::string(kKey) + ".disha", {4, 32}, 1)};
  for (const char* layer : {"0", "1"}) {
    tensors.push_back(numbers(std::string("blocks.") + layer + ".att.time_state", {2, 16, 16}, 7));
  }
  write_pth_raw(dir_ / "tuned.pth", tensors, {.type = Float::f32});
  const Model model = Model::open(path_, with(dir_ / "tuned.pth"));
  const State state = model.initial_state();
  // [head][value][key], as a state has it.
  for (int i = 0; i < 2 * 16 * 16; ++i) {
    ASSERT_EQ(state.wkv(1)[i], float(tensors[2].values[i])) << i;
  }
  // The rest of the file would be ignored.
  expect_error({"--lora", "initial state"}, [&] { model.load_state(dir_ / "tuned.pth"); });
  OpenOptions twice = with(dir_ / "tuned.pth");
  twice.adapters.push_back(twice.adapters[0]);
  expect_refused(twice, {"initial state", "one only"});

  tensors.pop_back();
  expect_refused(with(write("half", tensors)), {"2 tensors", "found 1"});
  tensors.erase(tensors.begin());
  expect_refused(with(write("states", tensors)), {"--load-state"});
}

}  // namespace
}  // namespace anser
