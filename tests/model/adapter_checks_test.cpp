// What is refused of adapters, what is said of them, and the states that come with them.
#include <gtest/gtest.h>

#include <filesystem>

#include "model/adapter_fixture.h"

namespace anser {
namespace {

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
  for (const HfLayout layout : kHfLayouts) {
    const std::string path = dir_ / ("both" + std::to_string(int(layout)));
    write_hf_folder(path, both, {.layout = layout});
    expect_error({"LoRA", "inside", "not merged"}, [&] { Model::open(path); });
  }
  write_gguf(dir_ / "both.gguf", both);
  expect_error({"LoRA", "inside", "not merged"}, [&] { Model::open(dir_ / "both.gguf"); });
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
