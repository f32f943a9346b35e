// Which models' states are whose: every file of one model's, and no fine-tune's.
#include "model/model_sketch.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "model/quantize.h"
#include "model/save_gguf.h"
#include "model/save_safetensors.h"
#include "support/engines.h"
#include "support/errors.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

// Wide enough for blocks of 256.
constexpr Shape kWide = {.vocab = 70, .width = 256, .layers = 2, .ffn = 256};

// What a low-rank adapter adds to some matrices, in all `share` of their size.
RandomModel merged(RandomModel model, double share, const std::set<std::string>& targets,
                   uint64_t seed = 5) {
  constexpr int kRank = 8;
  std::mt19937_64 random(seed);
  const auto uniform = [&] { return double(random() >> 11) * 0x1p-52 - 1; };
  for (Tensor& tensor : model.tensors) {
    bool wanted = false;
    for (const std::string& target : targets) wanted |= tensor.name.ends_with(target);
    if (!wanted) continue;
    const size_t rows = size_t(tensor.shape[0]), cols = size_t(tensor.shape[1]);
    std::vector<double> a(kRank * cols), b(rows * kRank), delta(rows * cols);
    for (double& x : a) x = uniform();
    for (double& x : b) x = uniform();
    double size = 0, change = 0;
    for (size_t i = 0; i < rows; ++i) {
      for (size_t j = 0; j < cols; ++j) {
        for (size_t r = 0; r < kRank; ++r)
          delta[i * cols + j] += b[i * kRank + r] * a[r * cols + j];
        change += delta[i * cols + j] * delta[i * cols + j];
        size += tensor.values[i * cols + j] * tensor.values[i * cols + j];
      }
    }
    const double scale = share * std::sqrt(size / change);
    for (size_t i = 0; i < delta.size(); ++i) {
      // To 8 bits, as a merged file in bf16 has them.
      int exponent;
      const double mantissa = std::frexp(tensor.values[i] + scale * delta[i], &exponent);
      tensor.values[i] = std::ldexp(std::nearbyint(mantissa * 256), exponent - 8);
      if (exponent < -13) tensor.values[i] = 0;  // what fp16 has no digits for
    }
  }
  return model;
}

const std::set<std::string> kAttention = {"receptance.weight", "key.weight", "att.value.weight",
                                          "output.weight"};

class Sketch : public testing::Test {
 protected:
  // The model in every format and type, by the tests' writers and by the program's own, also
  // rounded twice. By name.
  std::map<std::string, Model> every_file(const RandomModel& model, const std::string& name) {
    std::map<std::string, Model> models;
    const auto add = [&](const std::string& kind) {
      models.emplace(kind, Model::open(path(name, kind)));
    };
    write_safetensors(path(name, "f32"), model);
    add("f32");
    write_pth(path(name, "bf16.pth"), model);
    add("bf16.pth");
    write_safetensors(path(name, "web.st"), model, {.type = Float::f16, .web_rwkv = true});
    add("web.st");
    for (const Ggml type : {Ggml::f16, Ggml::q4_0, Ggml::q4_1, Ggml::q5_0, Ggml::q5_1, Ggml::q8_0,
                            Ggml::q4_k, Ggml::q5_k, Ggml::q6_k}) {
      const std::string kind = std::string("theirs-") + ggml_name(type);
      write_gguf(path(name, kind), model, {.type = type, .low_rank = Ggml::f16});
      add(kind);
    }
    for (int type = 0; type < kMatrixTypes; ++type) {
      if (!can_quantize_to(DType(type))) continue;
      const std::string kind = std::string("ours-") + dtype_name(DType(type));
      save_gguf(models.at("f32"), path(name, kind), {.type = DType(type)});
      add(kind);
    }
    save_safetensors(models.at("theirs-Q4_K"), path(name, "back.safetensors"),
                     {.type = DType::f16});
    add("back.safetensors");
    save_gguf(models.at("back.safetensors"), path(name, "again-Q8_0"), {.type = DType::q8_0});
    add("again-Q8_0");
    save_gguf(models.at("ours-Q6_K"), path(name, "again-Q4_0"), {.type = DType::q4_0});
    add("again-Q4_0");
    return models;
  }
  std::string path(const std::string& name, const std::string& kind) const {
    return dir_ / (name + "-" + kind);
  }
  TempDir dir_;
};

// All pairs of 24 files, for weights that are spread evenly, as random_model's are, and for weights
// with a few that are much larger, as trained ones have them.
TEST_F(Sketch, EveryFileOfAModelTakesTheStatesOfEveryOther) {
  RandomModel model = random_model(kWide);
  for (const char* name : {"even", "outliers"}) {
    if (name[0] == 'o') {
      std::mt19937_64 random(9);
      for (Tensor& tensor : model.tensors) {
        for (double& x : tensor.values) x *= tensor.matrix() && random() % 50 == 0 ? 8 : 1;
      }
    }
    const auto models = every_file(model, name);
    ASSERT_GE(models.size(), 20u);
    for (const auto& [from, a] : models) {
      models.at("theirs-Q4_0").check_state(a.initial_state(), from);
      for (const auto& [to, b] : models) {
        EXPECT_EQ(b.sketch()->changes(*a.sketch()), 0u) << name << ": " << from << " to " << to;
      }
    }
    // Nobody has looked at nothing.
    EXPECT_GT(models.at("f32").sketch()->groups().size(), 3000u);
  }
}

// A change of 5 % by an adapter of rank 8 on the attention's matrices: no file of the one model
// takes a state of any file of the other.
TEST_F(Sketch, NoFileTakesTheStateOfAModelWithAMergedAdapter) {
  const RandomModel model = random_model(kWide);
  const auto base = every_file(model, "base");
  const auto tuned = every_file(merged(model, 0.05, kAttention), "tuned");
  EXPECT_EQ(base.at("f32").fingerprint(), tuned.at("f32").fingerprint());
  for (const auto& [from, a] : base) {
    const State state = a.initial_state();
    for (const auto& [to, b] : tuned) {
      expect_error({"another fine-tune of this model", "the state", b.name()},
                   [&, &b = b] { b.check_state(state, "the state"); });
    }
  }
}

TEST_F(Sketch, SmallChangesAreSeenToo) {
  const RandomModel model = random_model(kWide);
  const auto expect_other = [&](const RandomModel& other, const char* what) {
    write_safetensors(dir_ / "a", model);
    write_safetensors(dir_ / "b", other);
    const Model a = Model::open(dir_ / "a"), b = Model::open(dir_ / "b");
    EXPECT_EQ(a.fingerprint(), b.fingerprint()) << what;
    EXPECT_GT(a.sketch()->changes(*b.sketch()), 0u) << what;
    // As 4 bits on one side, on the other as they are.
    save_gguf(b, dir_ / "b.gguf", {.type = DType::q4_0});
    const Model rounded = Model::open(dir_ / "b.gguf");
    return rounded.sketch()->changes(*a.sketch());
  };
  EXPECT_GT(expect_other(merged(model, 0.01, kAttention), "1 %"), 0u);
  EXPECT_GT(expect_other(merged(model, 0.05, {"receptance.weight"}), "one matrix of a layer"), 0u);
  EXPECT_GT(expect_other(merged(model, 0.05, {"ffn.key.weight"}), "the channel mix"), 0u);
  EXPECT_GT(expect_other(merged(model, 0.05, {"att.w1", "att.g2"}), "low-rank matrices"), 0u);
  EXPECT_GT(expect_other(merged(model, 0.05, {"emb.weight"}), "the embedding"), 0u);

  RandomModel biased = model;
  for (double& x : biased["blocks.1.att.w0"].values) x = -x;
  EXPECT_GT(expect_other(biased, "a vector"), 0u);
}

TEST_F(Sketch, ANormInTheEmbeddingMakesNoOtherModel) {
  RandomModel model = random_model(kWide);
  write_safetensors(dir_ / "a", model);
  Tensor& table = model["emb.weight"];
  const std::vector<double> weight = model["blocks.0.ln0.weight"].values;
  for (size_t i = 0; i < table.values.size(); ++i) {
    table.values[i] *= std::ldexp(1, weight[i % weight.size()] > 1 ? 1 : -1);
  }
  for (double& x : model["blocks.0.ln0.weight"].values) x = 1;
  for (double& x : model["blocks.0.ln0.bias"].values) x = 0;
  write_safetensors(dir_ / "fused", model);
  const Model a = Model::open(dir_ / "a"), fused = Model::open(dir_ / "fused");
  EXPECT_EQ(a.sketch()->changes(*fused.sketch()), 0u);
  EXPECT_EQ(fused.sketch()->changes(*a.sketch()), 0u);
}

TEST_F(Sketch, AnotherModelDiffersAlmostEverywhere) {
  RandomModel a = random_model(kWide, 1), b = random_model(kWide, 2);
  for (Tensor& tensor : b.tensors) {
    if (tensor.name.find("ln") != std::string::npos) tensor.values = a[tensor.name].values;
  }
  write_safetensors(dir_ / "a", a);
  write_safetensors(dir_ / "b", b);
  const Model first = Model::open(dir_ / "a"), second = Model::open(dir_ / "b");
  ASSERT_EQ(first.fingerprint(), second.fingerprint());
  const size_t groups = first.sketch()->groups().size();
  EXPECT_GT(first.sketch()->changes(*second.sketch()), groups * 9 / 10);
  // An engine sees it as well, and takes what it cannot tell.
  const auto engine = Engine::create(second, {.device = Device::cpu, .threads = 1});
  State state = first.initial_state();
  expect_error({"another fine-tune"}, [&] { engine->forward(state, as_tokens({1})); });
  state.belongs_to(nullptr);
  engine->forward(state, as_tokens({1}));
  EXPECT_EQ(state.sketch(), second.sketch());
  // Other ranks: the number of groups tells.
  Shape ranks = kWide;
  ranks.rank_g = 64;
  RandomModel c = random_model(ranks, 1);
  for (Tensor& tensor : c.tensors) {
    if (tensor.name.find("ln") != std::string::npos) tensor.values = a[tensor.name].values;
  }
  write_safetensors(dir_ / "c", c);
  EXPECT_GT(Model::open(dir_ / "c").sketch()->changes(*first.sketch()), 0u);
}

}  // namespace
}  // namespace anser
