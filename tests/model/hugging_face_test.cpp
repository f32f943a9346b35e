// The layouts that classes for Hugging Face save, what their config.json means, and which file of a
// folder it is that counts.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "anser/model.h"
#include "formats/tensor_file.h"
#include "model/save_gguf.h"
#include "model/save_safetensors.h"
#include "support/compare.h"
#include "support/engines.h"
#include "support/errors.h"
#include "support/temp_dir.h"
#include "support/test_data.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;
namespace fs = std::filesystem;

constexpr int kTokens = 12;
// Every rank another, and heads for which the epsilons of the group norm differ.
constexpr Shape kShape = {.vocab = 60,
                          .width = 64,
                          .layers = 3,
                          .head_size = 32,
                          .ffn = 160,
                          .rank_w = 12,
                          .rank_a = 10,
                          .rank_v = 6,
                          .rank_g = 20};

class HuggingFace : public testing::Test {
 protected:
  using Change = std::function<void(reference::Model&)>;

  std::vector<reference::Vec> expected(const Change& change = {}) const {
    reference::Model m = model_.reference();
    if (change) change(m);
    reference::State state(m);
    return reference::run(m, state, ids_);
  }
  void expect_reference(const std::string& path, const Change& change = {}) {
    SCOPED_TRACE(path);
    const auto want = expected(change);
    const auto got = all_logits(path, ids_);
    for (int t = 0; t < kTokens; ++t) {
      expect_close(got[t], want[t], float_tolerance(kShape, largest(want[t])),
                   "token " + std::to_string(t));
    }
  }
  std::string folder(const HfOptions& options, const RandomModel& model) {
    const std::string path = dir_ / ("hf" + std::to_string(folders_++));
    write_hf_folder(path, model, options);
    return path;
  }
  std::string folder(const HfOptions& options) { return folder(options, model_); }
  static std::string file(const std::string& folder) { return folder + "/model.safetensors"; }
  void expect_refused(const std::string& config, const std::vector<std::string>& words,
                      HfLayout layout = HfLayout::rwkv7) {
    const std::string path = folder({.layout = layout, .config = config});
    expect_error(words, [&] { Model::open(path); });
    expect_error(words, [&] { Model::open(file(path)); });
  }
  // The model with ln0's results in place of its embedding.
  RandomModel fused(bool keep_ln0) const {
    RandomModel model = model_;
    const auto weight = model["blocks.0.ln0.weight"].values,
               bias = model["blocks.0.ln0.bias"].values;
    std::vector<double>& table = model["emb.weight"].values;
    const size_t D = size_t(kShape.width);
    for (size_t row = 0; row < table.size(); row += D) {
      double mean = 0, variance = 0;
      for (size_t i = 0; i < D; ++i) mean += table[row + i] / double(D);
      for (size_t i = 0; i < D; ++i) variance += std::pow(table[row + i] - mean, 2) / double(D);
      for (size_t i = 0; i < D; ++i) {
        table[row + i] =
            float((table[row + i] - mean) / std::sqrt(variance + 1e-5) * weight[i] + bias[i]);
      }
    }
    if (!keep_ln0) {
      std::erase_if(model.tensors,
                    [](const Tensor& t) { return t.name.find("ln0") != std::string::npos; });
    }
    return model;
  }
  static RandomModel without(RandomModel model, const std::string& part) {
    std::erase_if(model.tensors,
                  [&](const Tensor& t) { return t.name.find(part) != std::string::npos; });
    return model;
  }

  const RandomModel model_ = random_model(kShape);
  const std::vector<int> ids_ = random_tokens(kTokens, kShape.vocab);
  TempDir dir_;
  int folders_ = 0;
};

// fla's group norm: head size * norm_eps. The others state theirs.
TEST_F(HuggingFace, EveryLayoutGivesTheReferencesNumbers) {
  for (const HfLayout layout : kHfLayouts) {
    SCOPED_TRACE(int(layout));
    const double group_norm_eps = layout == HfLayout::fla ? 32e-5 : 64e-5;
    const std::string path = folder({.layout = layout});
    const Change change = [&](reference::Model& m) { m.group_norm_eps = group_norm_eps; };
    expect_reference(path, change);
    expect_reference(file(path), change);
    EXPECT_EQ(Model::open(path).fingerprint(), Model::open(file(path)).fingerprint());
    EXPECT_TRUE(Model::open(path).notes().empty());
  }
}

// The bits of the original file's; the folder, its file and a shard of it are one model.
TEST_F(HuggingFace, TheSameWeightsGiveTheSameBits) {
  RandomModel model = random_model({.vocab = 60, .width = 128, .layers = 2, .ffn = 256});
  write_safetensors(dir_ / "raw", model);
  const auto bits = all_logits(dir_ / "raw", ids_);
  for (const HfLayout layout : kHfLayouts) {
    for (const int shards : {1, 3}) {
      const std::string path = folder({.layout = layout, .shards = shards}, model);
      EXPECT_EQ(all_logits(path, ids_), bits) << int(layout);
      const std::string part =
          shards == 1 ? file(path) : path + "/model-00002-of-00003.safetensors";
      EXPECT_EQ(all_logits(part, ids_), bits) << int(layout);
    }
  }
}

TEST_F(HuggingFace, EpsilonsByTheirSynonyms) {
  const std::pair<const char*, HfLayout> configs[] = {
      {R"({"norm_eps": 1e-3})", HfLayout::fla},
      {R"({"norm_eps": null, "layer_norm_epsilon": 1e-3})", HfLayout::fla},
      {R"({"layer_norm_epsilon": 1e-3, "group_norm_epsilon": 0.032})", HfLayout::rwkv7},
      {R"({"layer_norm_epsilon": null, "norm_eps": 1e-3, "group_norm_epsilon": null,
           "head_size": null, "head_dim": 32})",
       HfLayout::attention},
  };
  for (const auto& [config, layout] : configs) {
    SCOPED_TRACE(config);
    const std::string path = folder({.layout = layout, .config = config});
    const Change change = [](reference::Model& m) {
      m.norm_eps = 1e-3;
      m.group_norm_eps = 0.032;
    };
    expect_reference(path, change);
    expect_reference(file(path), change);
  }
}

TEST_F(HuggingFace, AConfigBesideOriginalNamesIsAnothers) {
  write_safetensors(dir_ / "raw.safetensors", model_);
  write_pth(dir_ / "raw.pth", model_);
  write_safetensors(dir_ / "trainer.safetensors", model_, {.prefix = "model."});
  write_file(dir_ / "config.json", R"({"model_type": "rwkv7", "norm_eps": 0.1, "head_dim": 7})");
  for (const char* name : {"raw.safetensors", "raw.pth", "trainer.safetensors"}) {
    expect_reference(dir_ / name);
    EXPECT_TRUE(Model::open(dir_ / name).notes().empty());
  }
  // By its name the file might be meant to have one: then that is said.
  fs::copy(dir_ / "raw.safetensors", dir_ / "model.safetensors");
  expect_reference(dir_ / "model.safetensors");
  ASSERT_EQ(Model::open(dir_ / "model.safetensors").notes().size(), 1u);
  write_file(dir_ / "config.json", "no JSON at all");
  expect_reference(dir_ / "raw.safetensors");
}

TEST_F(HuggingFace, AConfigOfAnotherModelIsRefused) {
  const std::string path = folder({.layout = HfLayout::v1});
  write_file(path + "/config.json", R"({"model_type": "llama"})");
  expect_error({"llama"}, [&] { Model::open(file(path)); });
  write_file(path + "/config.json", R"({"model_type": "rwkv7", "num_hidden_layers": 12})");
  expect_error({"config.json", "12", "3"}, [&] { Model::open(file(path)); });
}

// Where every rank is the width, shapes do not tell.
TEST_F(HuggingFace, SquareLowRankMatricesAreToldByTheLayout) {
  Shape square = kShape;
  square.rank_w = square.rank_a = square.rank_v = square.rank_g = kShape.width;
  const RandomModel model = random_model(square);
  write_safetensors(dir_ / "raw", model);
  const auto bits = all_logits(dir_ / "raw", ids_);
  for (const HfLayout layout : kHfLayouts) {
    const std::string path =
        folder({.layout = layout, .config = R"({"group_norm_epsilon": 64e-5})"}, model);
    EXPECT_EQ(all_logits(path, ids_), bits) << int(layout);
    EXPECT_EQ(all_logits(file(path), ids_), bits) << int(layout);
  }
}

// A layout's words with the matrices of another: shapes decide.
TEST_F(HuggingFace, OrientationIsToldByShapes) {
  RandomModel turned = model_;
  for (Tensor& tensor : turned.tensors) {
    if (tensor.low_rank()) tensor = transposed(tensor);
  }
  for (const HfLayout layout : kHfLayouts) {
    const std::string path =
        folder({.layout = layout, .config = R"({"group_norm_epsilon": 64e-5})"}, turned);
    expect_reference(path);
  }
}

TEST_F(HuggingFace, AFusedEmbeddingIsNotNormalisedAgain) {
  const char* config = R"({"embedding_layer_norm_fused": true})";
  for (const HfLayout layout : kHfLayouts) {
    for (const bool keep_ln0 : {false, true}) {
      const std::string path =
          folder({.layout = layout,
                  .config = R"({"embedding_layer_norm_fused": true, "group_norm_epsilon": 64e-5})"},
                 fused(keep_ln0));
      expect_reference(path);
      expect_reference(file(path));
      EXPECT_FALSE(Model::open(path).hyperparameters().embedding_norm);
    }
  }
  // Written again it says so in a word of our own, and whoever does not know it misses a tensor.
  const std::string path = folder({.layout = HfLayout::rwkv7, .config = config}, fused(false));
  SaveOptions options;
  options.type = DType::f32;
  save_gguf(Model::open(path), dir_ / "out.gguf", options);
  save_safetensors(Model::open(path), dir_ / "out.safetensors", options);
  for (const char* name : {"out.gguf", "out.safetensors"}) {
    expect_reference(dir_ / name);
    EXPECT_EQ(Model::open(dir_ / name).fingerprint(), Model::open(path).fingerprint());
    std::string bytes = read_file(dir_ / name);
    EXPECT_EQ(bytes.find("ln0"), std::string::npos);
    EXPECT_EQ(bytes.find("token_embd_norm"), std::string::npos);
    bytes.replace(bytes.find("anser.embedding"), 5, "other");
    write_file(dir_ / "foreign", bytes);
    expect_error({"missing"}, [&] { Model::open(dir_ / "foreign"); });
  }
  // Without the word there must be an ln0.
  const std::string unsaid = folder({.layout = HfLayout::rwkv7}, fused(false));
  expect_error({"ln0.weight", "missing"}, [&] { Model::open(unsaid); });
}

TEST_F(HuggingFace, WithoutANormBeforeTheFirstLayer) {
  const RandomModel model = fused(false);  // any table that wants no norm
  expect_reference(
      folder({.config = R"({"norm_first": false, "group_norm_epsilon": 64e-5})"}, model));
}

TEST_F(HuggingFace, NormsWithoutBias) {
  RandomModel model = model_;
  std::erase_if(model.tensors, [](const Tensor& t) {
    return t.name.ends_with(".bias") && !t.name.ends_with("ln_x.bias");
  });
  const Change change = [](reference::Model& m) {
    m.group_norm_eps = 32e-5;
    for (auto& [name, values] : m.tensors) {
      if (name.ends_with(".bias") && !name.ends_with("ln_x.bias")) {
        std::fill(values.begin(), values.end(), 0);
      }
    }
  };
  const char* config = R"({"norm_bias": false})";
  const std::string path = folder({.config = config}, model);
  expect_reference(path, change);
  EXPECT_TRUE(Model::open(path).notes().empty());
  // The class would not load biases that the config says there are not.
  const std::string there = folder({.config = config});
  expect_reference(there, change);
  ASSERT_EQ(Model::open(there).notes().size(), 1u);
  EXPECT_NE(Model::open(there).notes()[0].find("norm_bias"), std::string::npos);

  const std::string unsaid = folder({}, model);
  expect_error({"bias", "missing"}, [&] { Model::open(unsaid); });
}

TEST_F(HuggingFace, TiedEmbeddings) {
  for (const HfLayout layout : {HfLayout::fla, HfLayout::rwkv7, HfLayout::v1}) {
    const RandomModel model = without(model_, "head.weight");
    const std::string path =
        folder({.layout = layout,
                .config = R"({"tie_word_embeddings": true, "group_norm_epsilon": 64e-5})"},
               model);
    const Change change = [](reference::Model& m) {
      m.tensors.at("head.weight") = m.tensors.at("emb.weight");
    };
    expect_reference(path, change);
    expect_reference(file(path), change);
    const std::string unsaid = folder({.layout = layout}, model);
    expect_error({"head.weight", "missing"}, [&] { Model::open(unsaid); });
  }
}

TEST_F(HuggingFace, VariantsAreRefusedByName) {
  expect_refused(R"({"use_deep_embed": true})", {"config.json", "use_deep_embed", "RWKV-7a"});
  expect_refused(R"({"feed_forward_embed_size": 1024})", {"RWKV-7a"});
  expect_refused(R"({"qkv_size": 256})", {"RWKV-7b"});
  expect_refused(R"({"hidden_act": "swish"})", {"hidden_act", "swish", "sqrelu"}, HfLayout::fla);
  expect_refused(R"({"attn": {"layers": [1]}})", {"attn", "attention layers"});
  expect_refused(R"({"model_type": "rwkv", "architecture_version": "rwkv6"})", {"RWKV-6"});
  RandomModel model = model_;
  model.tensors.push_back({"blocks.1.att.key.bias", {kShape.width}, {}});
  model.tensors.back().values.assign(size_t(kShape.width), 0.5);
  const std::string biased = folder({.layout = HfLayout::v1}, model);
  expect_error({"model.blocks.1.att.key.bias"}, [&] { Model::open(biased); });

  for (const auto& [name, words] :
       {std::pair("ffn.s_emb.weight", "RWKV-7a"), std::pair("qkv.qq.weight", "RWKV-7b")}) {
    model = model_;
    model.tensors.push_back({std::string("blocks.0.") + name, {1}, {0.5}});
    for (const HfLayout layout : {HfLayout::rwkv7, HfLayout::attention, HfLayout::llama}) {
      const std::string path = folder({.layout = layout}, model);
      expect_error({words}, [&] { Model::open(path); });
    }
  }
}

TEST_F(HuggingFace, TheClassThatIsCalledRwkv) {
  const char* config = R"({"model_type": "rwkv", "architecture_version": "rwkv7",
                           "architectures": ["RwkvForCausalLM"]})";
  expect_reference(folder({.layout = HfLayout::v1, .config = config}));
  expect_reference(folder({.layout = HfLayout::linear, .config = R"({"model_type": "rwkv"})"}));
}

TEST_F(HuggingFace, ValuesThatContradictTheTensorsOrEachOther) {
  expect_refused(R"({"gate_low_rank_dim": 21})", {"config.json", "gate", "21", "20"});
  expect_refused(R"({"v_low_rank_dim": 7})", {"value residual", "7", "6"});
  expect_refused(R"({"decay_low_rank_dim": null, "lora_rank_decay": 3})", {"decay", "3", "12"});
  expect_refused(R"({"attention_hidden_size": 128})", {"128", "64"});
  expect_refused(R"({"head_size": null, "num_attention_heads": 4})", {"heads", "4", "2"});
  expect_refused(R"({"head_dim": 16})", {"head_dim", "16", "head_size", "32"});
  expect_refused(R"({"norm_eps": 1e-3})", {"norm_eps", "layer_norm_epsilon"});
  expect_refused(R"({"layer_norm_epsilon": "1e-5"})", {"layer_norm_epsilon", "number"});
  expect_refused(R"({"embedding_layer_norm_fused": "yes"})",
                 {"embedding_layer_norm_fused", "true"});
  expect_refused(R"({"hidden_size": 64.5})", {"hidden_size", "whole number"});
  // Whatever else there is changes nothing.
  expect_reference(
      folder({.layout = HfLayout::rwkv7,
              .config = R"({"use_cache": false, "rescale_every": 0, "pad_token_id": null,
                                         "some_new_key": {"a": [1, "b"]}, "intermediate_size": null})"}));
}

// Python's json module writes and reads these, and Windows's editors begin files with a mark.
TEST_F(HuggingFace, ConfigsThatAreNotQuiteJson) {
  const std::string path = folder({.layout = HfLayout::attention, .shards = 2});
  const auto change = [&](const char* name, const std::function<std::string(std::string)>& to) {
    write_file(path + name, to(read_file(path + name)));
  };
  change("/config.json", [](std::string text) {
    return "{\"initializer_range\": NaN, \"limits\": [0.0, Infinity, -Infinity],\r\n \"text\": "
           "\"a \\\" NaN\"," +
           text.substr(1) + "\r\n";
  });
  const auto with_mark = [](const std::string& text) { return "\xef\xbb\xbf" + text; };
  change("/config.json", with_mark);
  change("/model.safetensors.index.json", with_mark);
  expect_reference(path);

  expect_refused(R"({"layer_norm_epsilon": "NaN"})", {"layer_norm_epsilon", "number"});
  change("/config.json", [](const std::string& text) {
    std::string changed = text;
    const std::string key = "\"layer_norm_epsilon\":";
    const size_t at = changed.find(key) + key.size();
    return changed.replace(at, changed.find(',', at) - at, "NaN");
  });
  expect_error({"config.json", "layer_norm_epsilon"}, [&] { Model::open(path); });
}

TEST_F(HuggingFace, AShardOpensTheWholeModel) {
  const std::string path = folder({.layout = HfLayout::v1, .shards = 3});
  for (const char* shard :
       {"/model-00001-of-00003.safetensors", "/model-00003-of-00003.safetensors"}) {
    expect_reference(path + shard);
    const Model opened = Model::open(path + shard);
    ASSERT_EQ(opened.notes().size(), 1u);
    EXPECT_NE(opened.notes()[0].find("3 shards"), std::string::npos) << opened.notes()[0];
  }
  // Without the index names tell, of the folder, too.
  fs::remove(path + "/model.safetensors.index.json");
  expect_reference(path + "/model-00002-of-00003.safetensors");
  expect_reference(path);
  fs::remove(path + "/model-00003-of-00003.safetensors");
  expect_error({"3 shards", "model-00003-of-00003.safetensors"},
               [&] { Model::open(path + "/model-00001-of-00003.safetensors"); });
}

TEST_F(HuggingFace, AnIndexThatIsStaleDoesNotWin) {
  const std::string path = folder({.layout = HfLayout::rwkv7, .shards = 2});
  const std::string other = folder({.layout = HfLayout::rwkv7}, random_model(kShape, 2));
  // The complete file comes first, whether the shards are there or not.
  fs::copy(file(other), file(path));
  const auto bits = all_logits(other, ids_);
  EXPECT_EQ(all_logits(path, ids_), bits);
  fs::remove(path + "/model-00002-of-00002.safetensors");
  EXPECT_EQ(all_logits(path, ids_), bits);
  EXPECT_EQ(all_logits(file(path), ids_), bits);
  EXPECT_TRUE(Model::open(path).notes().empty());
  // A pickle after a broken index of safetensors.
  fs::remove(file(path));
  expect_error({"1 of the 2 shards"}, [&] { Model::open(path); });
  RandomModel renamed = random_model(kShape, 2);
  for (Tensor& tensor : renamed.tensors) {
    if (tensor.name != "head.weight") tensor.name = "rwkv7." + tensor.name;
  }
  write_pth_raw(path + "/pytorch_model.bin", renamed.tensors, {.type = Float::f32});
  EXPECT_EQ(all_logits(path, ids_), bits);
  EXPECT_EQ(all_logits(path + "/pytorch_model.bin", ids_), bits);
  const Model opened = Model::open(path);
  ASSERT_EQ(opened.notes().size(), 1u);
  EXPECT_NE(opened.notes()[0].find("index.json"), std::string::npos);
}

TEST_F(HuggingFace, MissingTensorsHaveTheNamesOfTheFile) {
  const HfLayout layout[] = {HfLayout::fla, HfLayout::rwkv7, HfLayout::linear, HfLayout::attention,
                             HfLayout::llama};
  const std::pair<const char*, std::vector<const char*>> names[] = {
      {"blocks.1.att.value.weight",
       {"model.layers.1.attn.v_proj.weight", "rwkv7.blocks.1.att.value.weight",
        "model.blocks.1.att.value.weight", "rwkv7.blocks.1.attention.value.weight",
        "model.layers.1.attention.value.weight"}},
      {"blocks.2.att.a2",
       {"model.layers.2.attn.a_lora.lora.2.weight", "rwkv7.blocks.2.att.a2",
        "model.blocks.2.att.a2.weight", "rwkv7.blocks.2.attention.a2",
        "model.layers.2.attention.a2"}},
      {"blocks.2.att.w0",
       {"model.layers.2.attn.w_lora.lora.2.bias", "rwkv7.blocks.2.att.w0", "model.blocks.2.att.w0",
        "rwkv7.blocks.2.attention.w0", "model.layers.2.attention.w0"}},
      {"blocks.0.ln0.weight",
       {"model.layers.0.pre_norm.weight", "rwkv7.blocks.0.ln0.weight", "model.blocks.0.ln0.weight",
        "rwkv7.blocks.0.pre_ln.weight", "model.layers.0.pre_norm.weight"}},
      {"blocks.0.ffn.x_k",
       {"model.layers.0.ffn.x_k", "rwkv7.blocks.0.ffn.x_k", "model.blocks.0.ffn.x_k",
        "rwkv7.blocks.0.feed_forward.x_k", "model.layers.0.feed_forward.x_k"}},
      {"ln_out.bias",
       {"model.norm.bias", "rwkv7.ln_out.bias", "model.ln_out.bias", "rwkv7.ln_out.bias",
        "model.ln_out.bias"}},
      {"head.weight",
       {"lm_head.weight", "head.weight", "head.weight", "head.weight", "head.weight"}},
  };
  for (const auto& [name, in_files] : names) {
    for (size_t i = 0; i < in_files.size(); ++i) {
      const std::string path = folder({.layout = layout[i]}, without(model_, name));
      expect_error({std::string("tensor ") + in_files[i] + " is missing"},
                   [&] { Model::open(path); });
    }
  }
}

// Published numbers of a model that another program made, in another layout.
TEST_F(HuggingFace, TheTinyModelsLogits) {
  ANSER_TEST_DATA_OR_SKIP(path, "variants/tiny-v7.safetensors");
  ANSER_TEST_DATA_OR_SKIP(answers, "variants/expected.json");
  const auto expected = nlohmann::json::parse(read_file(answers));
  const std::string bytes = read_file(path);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  const auto original = nlohmann::json::parse(bytes.substr(8, length));
  nlohmann::json header;
  for (const auto& [name, tensor] : original.items()) {
    if (name == "__metadata__") continue;
    header[name == "head.weight" ? name : "rwkv7." + name] = tensor;
  }
  const std::string data = bytes.substr(8 + length), text = header.dump();
  length = text.size();
  write_file(dir_ / "model.safetensors",
             std::string(reinterpret_cast<const char*>(&length), 8) + text + data);

  const auto got = all_logits(dir_ / "model.safetensors", expected["tokens"]);
  const auto& want = expected["v7"]["logits"];
  ASSERT_EQ(got.size(), want.size());
  for (size_t t = 0; t < got.size(); ++t) {
    expect_close(got[t], want[t].get<std::vector<double>>(), 1e-4, "token " + std::to_string(t));
  }
}

}  // namespace
}  // namespace anser
