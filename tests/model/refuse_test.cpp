// Files that cannot be run get one sentence that says why.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "anser/error.h"
#include "support/engines.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

class Refuse : public testing::Test {
 protected:
  void expect_error(const std::string& path, const std::vector<std::string>& words) {
    try {
      Model::open(path);
      ADD_FAILURE() << path << " was opened";
    } catch (const Error& error) {
      const std::string text = error.what();
      for (const std::string& word : words) {
        EXPECT_NE(text.find(word), std::string::npos) << text << "\n  lacks " << word;
      }
      EXPECT_NE(text.find(path), std::string::npos) << text;
      EXPECT_EQ(text.find('\n'), std::string::npos) << "one sentence: " << text;
    }
  }
  // A file of tensors of one element with these names.
  std::string names(const std::string& file, const std::vector<std::string>& list) {
    std::vector<Tensor> tensors;
    for (const std::string& name : list) tensors.push_back({name, {1}, {0.5}});
    write_safetensors_raw(dir_ / file, tensors, Float::f32);
    return dir_ / file;
  }
  // The random model with one change.
  template <class Change>
  std::string changed(const std::string& file, Change change) {
    RandomModel model = random_model(kTinyShape);
    change(model);
    write_safetensors(dir_ / file, model);
    return dir_ / file;
  }
  TempDir dir_;
};

TEST_F(Refuse, OtherGenerationsOfRwkvByName) {
  expect_error(names("v4", {"emb.weight", "blocks.0.att.time_first"}), {"RWKV-4"});
  expect_error(names("v5", {"emb.weight", "blocks.0.att.time_faaaa"}), {"RWKV-5"});
  expect_error(names("v6", {"emb.weight", "blocks.0.att.time_maa_x", "blocks.0.att.time_faaaa"}),
               {"RWKV-6"});
  expect_error(names("v6st", {"emb.weight", "blocks.0.att.time_mix_w1", "blocks.0.att.time_first"}),
               {"RWKV-6"});
  expect_error(names("v6hf", {"rwkv.embeddings.weight", "rwkv.blocks.0.attention.time_maa_x"}),
               {"RWKV-6"});
  expect_error(names("v4hf", {"rwkv.embeddings.weight", "rwkv.blocks.0.attention.time_first"}),
               {"RWKV-4"});
  expect_error(names("7a", {"emb.weight", "blocks.0.att.r_k", "blocks.0.ffn.s_emb.weight"}),
               {"RWKV-7a", "DeepEmbed"});
  expect_error(names("7b", {"emb.weight", "blocks.0.att.r_k", "blocks.0.ffn.s_emb.weight",
                            "blocks.0.qkv.qq.weight"}),
               {"RWKV-7b", "DEA"});
}

TEST_F(Refuse, RelativesOfRwkv7ByName) {
  const std::pair<const char*, const char*> relatives[] = {
      {"moba.0.ln1.weight", "RWKV-X"},
      {"head.retr_head.fc1.weight", "EmbeddingRWKV"},
      {"rwkv.blocks.0.rosa_qkv.emb", "ROSA"},
      {"rwkv.blocks.0.qkv.kk.weight", "RWKV-8"},
      {"rwkv.blocks.0.mlp.gate_proj.weight", "ARWKV"},
  };
  for (const auto& [name, word] : relatives) {
    expect_error(names(word, {"rwkv.emb.weight", "rwkv.blocks.0.att.r_k", name}), {word});
  }
  expect_error(names("reranker", {"reranker.emb.weight", "reranker.blocks.0.att.r_k"}),
               {"reranker"});
}

TEST_F(Refuse, OtherArchitecturesOfGgufAndHuggingFace) {
  const RandomModel model = random_model(kTinyShape);
  const std::pair<const char*, const char*> kinds[] = {
      {"arwkv7", "ARWKV"}, {"rwkv6", "RWKV-6"}, {"rwkv6qwen2", "QRWKV-6"}, {"llama", "llama"}};
  for (const auto& [architecture, word] : kinds) {
    write_gguf(dir_ / architecture, model, {.type = Ggml::f32, .architecture = architecture});
    expect_error(dir_ / architecture, {word});
  }
  write_hf_folder(dir_ / "hybrid", model, {.model_type = "rwkv_hybrid"});
  expect_error(dir_ / "hybrid", {"ARWKV"});
  write_hf_folder(dir_ / "qwen", model, {.model_type = "qwen2"});
  expect_error(dir_ / "qwen", {"qwen2"});
  expect_error(names("other", {"model.layers.0.self_attn.q_proj.weight"}),
               {"no RWKV-7 model", "emb.weight", "self_attn"});
}

TEST_F(Refuse, MissingTensors) {
  for (const char* name : {"blocks.1.att.key.weight", "blocks.0.ln0.bias", "blocks.1.att.v2",
                           "head.weight", "blocks.0.att.w1", "blocks.1.att.v1"}) {
    expect_error(changed("missing",
                         [&](RandomModel& model) {
                           std::erase_if(model.tensors,
                                         [&](const Tensor& t) { return t.name == name; });
                         }),
                 {name, "missing"});
  }
}

TEST_F(Refuse, TensorsThatContradictEachOther) {
  const auto reshaped = [&](const char* name, std::vector<int64_t> shape) {
    return changed("shape", [&](RandomModel& model) {
      Tensor& tensor = model[name];
      tensor.shape = shape;
      int64_t n = 1;
      for (const int64_t size : shape) n *= size;
      tensor.values.assign(size_t(n), 0.5);
    });
  };
  expect_error(reshaped("blocks.1.att.key.weight", {32, 48}),
               {"blocks.1.att.key.weight", "expected shape [32, 32]", "found [32, 48]"});
  expect_error(reshaped("blocks.1.ffn.value.weight", {64, 32}),
               {"blocks.1.ffn.value.weight", "expected shape [32, 64]", "found [64, 32]"});
  expect_error(reshaped("blocks.1.att.w0", {1, 1, 31}),
               {"blocks.1.att.w0", "expected shape [32]", "found [1, 1, 31]"});
  expect_error(reshaped("blocks.1.att.a1", {32, 9}),
               {"blocks.1.att.a1", "expected shape [32, 8]", "found [32, 9]"});
  expect_error(reshaped("blocks.0.att.r_k", {3, 16}), {"blocks.0.att.r_k", "[3, 16]"});
  expect_error(reshaped("head.weight", {19, 32}), {"head.weight", "[20, 32]", "[19, 32]"});
  expect_error(reshaped("emb.weight", {640}), {"emb.weight", "matrix", "[640]"});
}

TEST_F(Refuse, MetadataThatContradictsTheTensors) {
  const RandomModel model = random_model(kTinyShape);
  write_hf_folder(dir_ / "hf", model);
  const std::string config = read_file(dir_ / "hf/config.json");
  const std::pair<const char*, const char*> lies[] = {
      {"\"hidden_size\":32", "\"hidden_size\":64"},
      {"\"num_hidden_layers\":2", "\"num_hidden_layers\":3"},
      {"\"vocab_size\":20", "\"vocab_size\":21"},
      {"\"head_dim\":16", "\"head_dim\":32"},
      {"\"intermediate_size\":64", "\"intermediate_size\":128"}};
  for (const auto& [truth, lie] : lies) {
    std::string text = config;
    ASSERT_NE(text.find(truth), std::string::npos);
    text.replace(text.find(truth), std::string(truth).size(), lie);
    write_file(dir_ / "hf/config.json", text);
    expect_error(dir_ / "hf", {std::string(lie).substr(std::string(lie).find(':') + 1),
                               std::string(truth).substr(std::string(truth).find(':') + 1)});
  }
}

TEST_F(Refuse, TypesThatCannotBeComputedWith) {
  // As if a matrix were IQ4_NL: 18 bytes for 32 weights.
  const RandomModel model = random_model(kTinyShape);
  write_gguf(dir_ / "m", model, {.type = Ggml::q4_0});
  std::string bytes = read_file(dir_ / "m");
  const size_t name = bytes.find("output.weight", bytes.find("token_embd_norm"));
  ASSERT_NE(name, std::string::npos);
  const size_t type = name + std::string("output.weight").size() + 4 + 2 * 8;
  ASSERT_EQ(bytes[type], 2);
  bytes[type] = 20;
  write_file(dir_ / "iq", bytes);
  expect_error(dir_ / "iq", {"output.weight", "does not compute with", "Q4_K"});
}

TEST_F(Refuse, NumbersThatAreNotFinite) {
  expect_error(
      changed("nan", [](RandomModel& model) { model["blocks.1.att.w0"].values[5] = std::nan(""); }),
      {"blocks.1.att.w0", "NaN", "[5]"});
  expect_error(changed("inf",
                       [](RandomModel& model) {
                         model["ln_out.weight"].values[3] = std::numeric_limits<double>::infinity();
                       }),
               {"ln_out.weight", "infinity", "[3]"});
  // Matrices are not read on opening: the first result tells.
  const std::string path = changed("matrix", [](RandomModel& model) {
    model["blocks.1.ffn.key.weight"].values[70] = std::nan("");
  });
  const auto engine = Engine::create(Model::open(path), {.device = Device::cpu});
  State state = engine->model().initial_state();
  try {
    engine->forward(state, as_tokens({1}));
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("blocks.1.ffn.key.weight: NaN at [2, 6]"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace anser
