// The layouts that classes for Hugging Face save.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "formats/tensor_file.h"
#include "model/hugging_face_fixture.h"
#include "model/save_gguf.h"
#include "model/save_safetensors.h"
#include "support/test_data.h"

namespace anser {
namespace {

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
