// What config.json means, what of it is refused, and when it is another model's.
#include <filesystem>

#include "model/hugging_face_fixture.h"

namespace anser {
namespace {

namespace fs = std::filesystem;

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

}  // namespace
}  // namespace anser
