// Files that cannot be run get one sentence that says why.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "anser/error.h"
#include "support/engines.h"
#include "support/errors.h"
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
  // As if a matrix were IQ2_S.
  const RandomModel model = random_model(kTinyShape);
  write_gguf(dir_ / "m", model, {.type = Ggml::q4_0});
  std::string bytes = read_file(dir_ / "m");
  const size_t name = bytes.find("output.weight", bytes.find("token_embd_norm"));
  ASSERT_NE(name, std::string::npos);
  const size_t type = name + std::string("output.weight").size() + 4 + 2 * 8;
  ASSERT_EQ(bytes[type], 2);
  for (const auto& [id, name] :
       std::map<int, std::string>{{22, "IQ2_S"}, {39, "MXFP4"}, {34, "TQ1_0"}, {77, "number 77"}}) {
    bytes[type] = char(id);
    write_file(dir_ / "iq", bytes);
    expect_error(dir_ / "iq", {"output.weight", "unsupported type " + name, "Q4_K", "IQ4_XS"});
  }
  write_safetensors(dir_ / "m.safetensors", model);
  const std::string whole = read_file(dir_ / "m.safetensors");
  uint64_t length;
  std::memcpy(&length, whole.data(), 8);
  auto header = nlohmann::json::parse(whole.substr(8, length));
  header["emb.weight"]["dtype"] = "F8_E4M3";
  const std::string text = header.dump();
  const uint64_t new_length = text.size();
  write_file(dir_ / "f8", std::string(reinterpret_cast<const char*>(&new_length), 8) + text +
                              whole.substr(8 + length));
  expect_error(dir_ / "f8", {"emb.weight", "unsupported type F8_E4M3"});
}

// Under the names that the file itself would give them.
TEST_F(Refuse, MissingTensorsOfGgufAndHuggingFace) {
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {"blocks.1.att.key.weight", "blk.1.time_mix_key.weight", "model.layers.1.attn.k_proj.weight"},
      {"blocks.0.att.w1", "blk.0.time_mix_w1.weight", "model.layers.0.attn.w_lora.lora.0.weight"},
      {"blocks.1.att.v0", "blk.1.time_mix_v0.weight", "model.layers.1.attn.v_lora.lora.2.bias"},
      {"blocks.1.att.k_k", "blk.1.time_mix_k_k.weight", "model.layers.1.attn.k_k"},
      {"blocks.1.att.ln_x.bias", "blk.1.time_mix_ln.bias", "model.layers.1.attn.g_norm.bias"},
      {"blocks.0.ln0.weight", "token_embd_norm.weight", "model.layers.0.pre_norm.weight"},
      {"blocks.1.ln2.bias", "blk.1.attn_norm_2.bias", "model.layers.1.ffn_norm.bias"},
      {"blocks.1.ffn.x_k", "blk.1.channel_mix_lerp_k.weight", "model.layers.1.ffn.x_k"},
      {"blocks.0.ffn.key.weight", "blk.0.channel_mix_key.weight", "model.layers.0.ffn.key.weight"},
      {"ln_out.bias", "output_norm.bias", "model.norm.bias"},
      {"head.weight", "output.weight", "lm_head.weight"}};
  for (const auto& [name, gguf, hugging_face] : cases) {
    RandomModel model = random_model(kTinyShape);
    std::erase_if(model.tensors, [&, name = name](const Tensor& t) { return t.name == name; });
    write_gguf(dir_ / "m.gguf", model, {.type = Ggml::f32});
    expect_error(dir_ / "m.gguf", {"tensor " + std::string(gguf) + " is missing"});
    std::filesystem::remove_all(dir_ / "hf");
    write_hf_folder(dir_ / "hf", model);
    expect_error(dir_ / "hf", {"tensor " + std::string(hugging_face) + " is missing"});
    write_safetensors(dir_ / "m.st", model, {.prefix = "module."});
    expect_error(dir_ / "m.st", {"tensor module." + std::string(name) + " is missing"});
  }
  RandomModel model = random_model(kTinyShape);
  std::erase_if(model.tensors, [](const Tensor& t) { return t.name == "blocks.1.att.x_g"; });
  write_gguf(dir_ / "m.gguf", model, {.type = Ggml::f32});
  expect_error(dir_ / "m.gguf", {"blk.1.time_mix_lerp_fused.weight is missing"});
}

// Metadata that would make another computation of the same tensors.
TEST_F(Refuse, RelativesInGguf) {
  const RandomModel model = random_model(kTinyShape);
  write_gguf(dir_ / "rescaled", model, {.metadata = {{"rwkv7.rescale_every_n_layers", 6}}});
  expect_error(dir_ / "rescaled", {"rescale_every_n_layers"});
  write_gguf(dir_ / "shift", model, {.metadata = {{"rwkv7.token_shift_count", 1}}});
  expect_error(dir_ / "shift", {"token_shift_count"});
  write_gguf(dir_ / "usual", model,
             {.metadata = {{"rwkv7.token_shift_count", 2}, {"rwkv7.rescale_every_n_layers", 0}}});
  EXPECT_TRUE(Model::open(dir_ / "usual").notes().empty());
}

TEST_F(Refuse, TensorsThatAreNotUsedAreNoted) {
  const auto notes = [&](const std::vector<std::string>& more) {
    return Model::open(changed("more",
                               [&](RandomModel& model) {
                                 for (const std::string& name : more)
                                   model.tensors.push_back({name, {1}, {0.5}});
                               }))
        .notes();
  };
  EXPECT_TRUE(notes({}).empty());
  const auto some = notes({"blocks.1.att.gate.bias", "rotary.inv_freq", "c", "d"});
  ASSERT_EQ(some.size(), 1u);
  EXPECT_NE(some[0].find("4 tensors are not part"), std::string::npos) << some[0];
  EXPECT_NE(some[0].find("blocks.1.att.gate.bias"), std::string::npos) << some[0];
  // Layer 0's value residual is in many files, and never used.
  EXPECT_TRUE(notes({"blocks.0.att.v0", "blocks.0.att.v1", "blocks.0.att.v2"}).empty());
}

TEST_F(Refuse, TwoTensorsForOnePlace) {
  expect_error(names("twice", {"model.embeddings.weight", "model.layers.0.attn.r_k",
                               "model.layers.0.attention.r_k"}),
               {"model.layers.0.attn.r_k", "and model.layers.0.attention.r_k", "blocks.0.att.r_k"});
}

TEST_F(Refuse, FilesThatHoldNoModelSayWhatTheyHold) {
  expect_error(names("state", {"blocks.0.att.time_state", "blocks.1.att.time_state"}),
               {"no RWKV-7 model", "a tuned state", "--load-state", "2 tensors"});
  expect_error(names("lora", {"base_model.model.blocks.0.att.key.lora_A.weight",
                              "base_model.model.blocks.0.att.key.lora_B.weight"}),
               {"not a model", "a LoRA adapter", "lora_A", "--lora"});
  expect_error(names("many", {"a", "b", "c", "d"}), {"4 tensors: 'a', 'b', 'c', ..."});
  write_file(dir_ / "none", std::string("\2\0\0\0\0\0\0\0{}", 10));
  expect_error(dir_ / "none", {"no RWKV-7 model", "found no tensors"});
  expect_error(names("embedding", {"emb.weight"}), {"emb.weight"});
  // A name must not steer the terminal.
  expect_error(names("escape", {"\x1b[2J"}), {"'\\x1b[2J'"});

  RandomModel empty;
  empty.shape = kTinyShape;
  empty.shape.vocab = 260;
  write_gguf(dir_ / "vocab.gguf", empty, {.byte_vocabulary = true});
  expect_error(dir_ / "vocab.gguf", {"only a vocabulary of 260 tokens"});
  const std::pair<const char*, const char*> types[] = {
      {"adapter", "LoRA adapter"}, {"mmproj", "multimodal"}, {"imatrix", "importance matrix"}};
  for (const auto& [type, words] : types) {
    write_gguf(dir_ / type, empty, {.metadata = {{"general.type", std::string(type)}}});
    expect_error(dir_ / type, {words});
  }
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

// tanh and sigmoid make a number of an infinity, so no result would tell.
TEST_F(Refuse, InfinitiesThatAFunctionWouldHide) {
  for (const char* name : {"blocks.0.att.w1", "blocks.0.att.w2", "blocks.1.att.a1",
                           "blocks.1.att.v2", "blocks.0.att.g1"}) {
    const std::string path = changed("low-rank", [&](RandomModel& model) {
      model[name].values[9] = -std::numeric_limits<double>::infinity();
    });
    support::expect_error({name, "infinity"},
                          [&] { Engine::create(Model::open(path), {.device = Device::cpu}); });
  }
}

}  // namespace
}  // namespace anser
