// Tuned initial states, which way round they lie in which files.
#include "model/tuned_state.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "anser/error.h"
#include "support/engines.h"
#include "support/errors.h"
#include "support/temp_dir.h"
#include "support/test_data.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

std::string name_of(int layer, const char* part = "time_state") {
  return "blocks." + std::to_string(layer) + ".att." + part;
}

// As the trainers write it: [head][value][key].
std::vector<Tensor> time_states() {
  std::vector<Tensor> tensors;
  for (int l = 0; l < 2; ++l) {
    Tensor tensor{name_of(l), {2, 16, 16}, {}};
    for (int i = 0; i < 2 * 16 * 16; ++i) tensor.values.push_back((i + l) * 0x1p-9);
    tensors.push_back(tensor);
  }
  return tensors;
}

std::vector<Tensor> shifts() {
  std::vector<Tensor> tensors;
  for (int l = 0; l < 2; ++l) {
    Tensor tensor{name_of(l, "ts_state"), {32}, {}};
    for (int i = 0; i < 32; ++i) tensor.values.push_back((i - 7 * l) * 0x1p-5);
    tensors.push_back(tensor);
  }
  return tensors;
}

// As the converters for web-rwkv and ai00 write it.
std::vector<Tensor> converted(std::vector<Tensor> tensors) {
  for (Tensor& tensor : tensors) {
    if (tensor.name.ends_with("time_state")) tensor = transposed(tensor);
  }
  return tensors;
}

std::vector<Tensor> joined(std::vector<Tensor> a, const std::vector<Tensor>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

void expect_tuned(const State& state, bool shift = false) {
  for (int l = 0; l < 2; ++l) {
    for (int at = 0; at < 512; ++at) {
      ASSERT_EQ(state.wkv(l)[at], float(at + l) * 0x1p-9f) << "layer " << l << ", " << at;
    }
    for (int i = 0; i < 32; ++i) {
      ASSERT_EQ(state.att_shift(l)[i], shift ? float(i - 7 * l) * 0x1p-5f : 0.0f);
      ASSERT_EQ(state.ffn_shift(l)[i], 0);
    }
  }
  EXPECT_EQ(state.tokens(), 0u);
  EXPECT_FALSE(state.has_logits());
  EXPECT_TRUE(state.identity_known());
}

class TunedState : public testing::Test {
 protected:
  TunedState() : tensors_(random_model(kTinyShape)) {
    write_safetensors(dir_ / "m", tensors_);
    model_ = std::make_unique<Model>(Model::open(dir_ / "m"));
  }
  State load(const std::string& file) const { return model_->load_state(dir_ / file); }
  // A model with these among its tensors.
  RandomModel with(const std::vector<Tensor>& more) const {
    RandomModel model = tensors_;
    for (const Tensor& tensor : more) model.tensors.push_back(tensor);
    return model;
  }

  TempDir dir_;
  RandomModel tensors_;
  std::unique_ptr<Model> model_;
};

TEST_F(TunedState, PthIsValueFirst) {
  write_pth_raw(dir_ / "t.pth", time_states(), {.type = Float::f32});
  expect_tuned(load("t.pth"));
  write_pth_raw(dir_ / "full.pth", joined(time_states(), shifts()), {.type = Float::f32});
  expect_tuned(load("full.pth"), true);
}

TEST_F(TunedState, SafetensorsOfStatesAreKeyFirst) {
  for (const Float type : {Float::f32, Float::f16}) {
    auto tensors = converted(time_states());
    if (type == Float::f16) {
      for (Tensor& tensor : tensors) {
        for (double& x : tensor.values) x = std::floor(x * 8) / 8;  // exact
      }
    }
    write_safetensors_raw(dir_ / "t.st", tensors, type);
    const State state = load("t.st");
    EXPECT_EQ(state.wkv(0)[16], float(tensors[0].values[1]));
    EXPECT_EQ(state.wkv(1, 1)[3 * 16 + 2], float(tensors[1].values[256 + 2 * 16 + 3]));
  }
  write_safetensors_raw(dir_ / "t.safetensors", converted(time_states()), Float::f32);
  expect_tuned(load("t.safetensors"));
  write_safetensors_raw(dir_ / "full.st", joined(converted(time_states()), shifts()), Float::f32);
  expect_tuned(load("full.st"), true);
}

TEST_F(TunedState, InsideAModelItsMatricesTell) {
  const auto own = joined(time_states(), shifts());
  write_pth(dir_ / "m.pth", with(own), {.type = Float::f32});
  write_safetensors(dir_ / "original.safetensors", with(own));
  write_safetensors(dir_ / "prefix.safetensors", with(own), {.prefix = "model."});
  write_safetensors(dir_ / "web.st", with(converted(own)), {.web_rwkv = true});
  for (const char* file : {"m.pth", "original.safetensors", "prefix.safetensors", "web.st"}) {
    SCOPED_TRACE(file);
    const Model model = Model::open(dir_ / file);
    expect_tuned(model.initial_state(), true);
    expect_tuned(load(file), true);
    for (const std::string& note : model.notes()) {
      EXPECT_EQ(note.find("not used"), std::string::npos) << note;
    }
  }
  EXPECT_TRUE(Model::open(dir_ / "m").initial_state().untouched());
}

// The logits say so, too.
TEST_F(TunedState, IsWhereEveryContextBegins) {
  const RandomModel tuned = with(time_states());
  write_pth(dir_ / "m.pth", tuned, {.type = Float::f32});
  const auto ids = random_tokens(5, 20);
  const auto found = all_logits(dir_ / "m.pth", ids);
  const reference::Model model = tuned.reference();
  reference::State state(model);
  const auto expected = reference::run(model, state, ids);
  for (size_t t = 0; t < ids.size(); ++t) {
    for (size_t v = 0; v < 20; ++v) ASSERT_NEAR(found[t][v], expected[t][v], 1e-4);
  }
}

TEST_F(TunedState, OtherNames) {
  const auto named = [&](const std::string& name, const char* to) {
    auto tensors = joined(time_states(), shifts());
    for (Tensor& tensor : tensors) {
      const std::string layer = tensor.name.substr(7, 1);
      const std::string part = tensor.name.substr(tensor.name.rfind('.') + 1);
      tensor.name = name;
      tensor.name.replace(tensor.name.find('#'), 1, layer);
      tensor.name += part + to;
    }
    return tensors;
  };
  int i = 0;
  for (const auto& tensors : {named("rwkv7.blocks.#.att.", ""), named("model.layers.#.attn.", ""),
                              named("blk.#.time_mix_", ".weight")}) {
    const std::string file = "t" + std::to_string(i++);
    write_pth_raw(dir_ / file, tensors, {.type = Float::f32});
    expect_tuned(load(file), true);
  }
}

TEST_F(TunedState, WhatIsNotOneIsRefused) {
  const auto expect_refused = [&](const std::vector<Tensor>& tensors, const char* reason) {
    write_pth_raw(dir_ / "bad.pth", tensors, {.type = Float::f32});
    expect_error({reason}, [&] { load("bad.pth"); });
  };
  auto one = time_states();
  one.pop_back();
  expect_refused(one, "expected an anser state file or 2 tensors blocks.*.att.time_state, found 1");
  auto three = time_states();
  three.push_back(three[0]);
  three.back().name = name_of(2);
  expect_refused(three, "found 3");
  auto shape = time_states();
  shape[1].shape = {4, 8, 16};
  expect_refused(shape, "expected shape [2, 16, 16], found [4, 8, 16]");
  auto narrow = joined(time_states(), shifts());
  narrow[2].shape = {31};
  narrow[2].values.pop_back();
  expect_refused(narrow, "blocks.0.att.ts_state: expected shape [32], found [31]");
  auto ffn = joined(time_states(), shifts());
  ffn[3].name = "blocks.1.ffn.ts_state";
  expect_refused(ffn, "blocks.1.ffn.ts_state: a part of a tuned state that anser does not know");
  auto twice = time_states();
  twice.push_back(twice[0]);
  twice.back().name = "model." + name_of(0);
  expect_refused(twice, "are the same part of a state");
  auto spoilt = time_states();
  spoilt[1].values[300] = std::nan("");
  expect_refused(spoilt, "blocks.1.att.time_state: NaN at element 300");
  expect_error({"found 0"}, [&] { load("m"); });
}

// Written by a trainer's torch; the logits are of numpy in double precision.
TEST(TunedStateOfTiny, AgreesWithNumpy) {
  ANSER_TEST_DATA_OR_SKIP(model_path, "variants/tiny-v7.safetensors");
  ANSER_TEST_DATA_OR_SKIP(state_path, "variants/tiny-v7-state.pth");
  ANSER_TEST_DATA_OR_SKIP(expected_path, "variants/expected.json");
  const auto expected = nlohmann::json::parse(std::ifstream(expected_path));
  const std::vector<Token> ids = expected["tokens"];
  const std::vector<std::vector<double>> rows = expected["v7 from tiny-v7-state.pth"]["logits"];

  // The same, converted.
  const TempDir dir;
  std::vector<Tensor> tensors;
  const TensorFile file = open_tensor_file(state_path);
  for (const FileTensor& tensor : file.tensors) {
    ASSERT_EQ(tensor.type, DType::f32);
    Tensor copy{tensor.name, tensor.shape, {}};
    const auto* numbers = reinterpret_cast<const float*>(tensor.bytes.data());
    copy.values.assign(numbers, numbers + tensor.elements());
    tensors.push_back(transposed(copy));
  }
  write_safetensors_raw(dir / "t.st", tensors, Float::f32);

  const Model model = Model::open(model_path);
  const auto engine = Engine::create(model, {.device = Device::cpu, .threads = 1});
  const size_t V = size_t(model.hyperparameters().vocab);
  for (const std::string& path : {state_path, dir / "t.st"}) {
    State state = model.load_state(path);
    std::vector<float> logits(ids.size() * V);
    const Sequence all{&state, ids, LogitsFor::all, logits.data()};
    engine->forward(std::span(&all, 1));
    for (size_t t = 0; t < ids.size(); ++t) {
      for (size_t v = 0; v < V; ++v) {
        ASSERT_NEAR(logits[t * V + v], rows[t][v], 1e-4) << path << ", token " << t;
      }
    }
  }
}

}  // namespace
}  // namespace anser
