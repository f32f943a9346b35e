// Files of states: uploaded, downloaded, of other models, damaged.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <limits>

#include "server/states_fixture.h"

namespace anser {
namespace {

TEST_F(StatesTest, AStateMovesToAnotherServerAndBack) {
  start_with_states();
  const Json made = post("/v1/states", R"({"prompt": "abc"})");
  const std::string id = made["id"], file = download(id);
  send("DELETE", "/v1/states/" + id);
  const Json back = upload(file, "?name=back&tag=p+q&tag=r&note=%7B%22k%22%3A1%7D&parent=" + id);
  EXPECT_EQ(back["checksum"], made["checksum"]);
  EXPECT_EQ(back["parent"], id);
  EXPECT_EQ(back["tags"], Json({"p q", "r"}));
  EXPECT_EQ(back["note"], Json({{"k", 1}}));
  EXPECT_EQ(upload(file, "?parent=back")["parent"], back["id"]);
  upload(file, "?parent=nobody", 404);
  upload(file, "?note=%7B", 400);
}

TEST_F(StatesTest, WhatIsNoStateOfThisModelIsNotTakenIn) {
  start_with_states();
  post("/v1/states", R"({"prompt": "abc", "name": "s"})");
  const std::string file = download("s");
  const auto expect_refused = [&](const std::string& bytes, const char* reason) {
    const std::string message = upload(bytes, "", 400)["error"]["message"];
    EXPECT_NE(message.find(reason), std::string::npos) << message;
  };
  for (size_t at : {size_t(70), file.size() / 2, file.size() - 1}) {
    std::string damaged = file;
    damaged[at] = char(damaged[at] ^ 4);
    expect_refused(damaged, "damaged");
  }
  expect_refused(file.substr(0, 40), "cut off");
  expect_refused(file.substr(0, file.size() - 8), "cut off");
  expect_refused("", "ANSERST");
  expect_refused("no state", "ANSERST");
  expect_refused(file_of(State({1, 32, 2, 16}, model_->fingerprint())), "another model");
  expect_refused(file_of(State(model_->initial_state().shape(), 5)), "another model");
  std::string spoilt = file;
  const float infinity = std::numeric_limits<float>::infinity();
  spoilt.replace(72, 4, reinterpret_cast<const char*>(&infinity), 4);
  expect_refused(sealed(spoilt), "holds infinity in layer 0, att_shift");
  State logits = model_->initial_state();
  logits.logits().assign(17, 0.0f);
  expect_refused(file_of(logits), "17 logits");
  EXPECT_EQ(stored(), 1u);
}

// As other programs write them, uploaded as they are.
TEST_F(StatesTest, TunedInitialStatesAreTakenIn) {
  start_with_states();
  using support::Tensor;
  const auto tensors = [&](int heads) {
    std::vector<Tensor> list;
    for (int l = 0; l < 2; ++l) {
      Tensor tensor{fmt::format("blocks.{}.att.time_state", l), {heads, 64, 64}, {}};
      for (int i = 0; i < heads * 4096; ++i) tensor.values.push_back((i % 61 - 30 + l) * 0x1p-7);
      list.push_back(tensor);
    }
    return list;
  };
  const auto pth = dir_ / "t.pth", st = dir_ / "t.st", wide = dir_ / "wide.pth";
  support::write_pth_raw(pth, tensors(1), {.type = support::Float::f32});
  std::vector<Tensor> converted;
  for (const Tensor& tensor : tensors(1)) converted.push_back(support::transposed(tensor));
  support::write_safetensors_raw(st, converted, support::Float::f16);
  support::write_pth_raw(wide, tensors(2), {.type = support::Float::f32});

  const Json first = upload(support::read_file(pth), "?name=tuned");
  EXPECT_EQ(first["tokens"], 0);
  EXPECT_EQ(upload(support::read_file(st))["checksum"], first["checksum"]);
  const State state = state_of(download("tuned"));
  EXPECT_EQ(state.wkv(1)[1], -28 * 0x1p-7f);
  const auto text = [&](const std::string& from) {
    return text_of(post("/v1/completions",
                        R"({"prompt": "ab", "max_tokens": 20, "temperature": 0)" + from + "}"));
  };
  EXPECT_NE(text(R"(, "state": "tuned")"), text(""));
  const std::string message = upload(support::read_file(wide), "", 400)["error"]["message"];
  EXPECT_NE(message.find("expected shape [1, 64, 64], found [2, 64, 64]"), std::string::npos)
      << message;
  EXPECT_TRUE(notices().empty());
}

TEST_F(StatesTest, AStateOfVersion1IsGoneOnFromAndTheLogSaysSoOnce) {
  start_with_states();
  const Json made = post("/v1/states", R"({"prompt": "abc", "name": "new"})");
  // The same numbers as an older version wrote them: no groups, no end of the text.
  const std::string now = download("new");
  uint64_t groups;
  std::memcpy(&groups, now.data() + 56, sizeof(groups));
  std::string file = now.substr(0, 56) + now.substr(72, now.size() - 72 - 8 * groups);
  file[8] = 1;
  file = sealed(file);
  EXPECT_TRUE(notices().empty());
  upload(file, "?name=old");
  EXPECT_EQ(download("old"), file);
  const auto next = [&](const char* from) {
    return post("/v1/completions", fmt::format(R"({{"state": "{}", "prompt": "d", "max_tokens": 10,
                                                   "save_state": true}})",
                                               from));
  };
  EXPECT_EQ(checksum(next("old")), checksum(next("new")));
  ASSERT_EQ(notices().size(), 1u);
  EXPECT_NE(notices()[0].find("which fine-tune"), std::string::npos) << notices()[0];
}

TEST_F(StatesTest, TheStateOfAFineTuneIsRefused) {
  start_with_states();
  support::RandomModel tuned =
      support::random_model({.vocab = 300, .width = 64, .layers = 2, .ffn = 64});
  for (double& x : tuned["blocks.1.att.key.weight"].values) x = -x;
  support::write_safetensors(dir_ / "tuned", tuned);
  const Model other = Model::open(dir_ / "tuned");
  ASSERT_EQ(other.fingerprint(), model_->fingerprint());
  const auto expect_refused = [](const Json& answer) {
    const std::string message = answer["error"]["message"];
    EXPECT_NE(message.find("another fine-tune"), std::string::npos) << message;
  };
  expect_refused(upload(file_of(other.initial_state()), "", 400));
  const std::string id = store_->put(other.initial_state(), "tuned");
  const Json answer = post("/v1/completions", R"({"prompt": "a", "state": ")" + id + "\"}", 400);
  EXPECT_EQ(answer["error"]["param"], "state");
  expect_refused(answer);
  EXPECT_EQ(download(id).substr(0, 7), "ANSERST");
}

TEST_F(StatesTest, StatesOfOtherModelsAreListedAndRefused) {
  start_with_states();
  const std::string other = store_->put(State({1, 32, 2, 16}, 77), "another");
  EXPECT_EQ(get("/v1/states")["data"][0]["model"], "another");
  const Json refused =
      post("/v1/completions", R"({"prompt": "a", "state": ")" + other + "\"}", 400);
  EXPECT_EQ(refused["error"]["param"], "state");
  const std::string message = refused["error"]["message"];
  EXPECT_NE(message.find("000000000000004d"), std::string::npos) << message;
  EXPECT_EQ(download(other).substr(0, 7), "ANSERST");
}

TEST_F(StatesTest, ADamagedFileIsSaidToBe) {
  start_with_states();
  const std::string id = post("/v1/states", R"({"prompt": "abc"})")["id"];
  {
    std::fstream file(dir_ / ("states/" + id + ".zst"));
    file.seekp(200);
    file.write("damage", 6);
  }
  start_with_states();
  const Json answer = post("/v1/completions", R"({"prompt": "a", "state": ")" + id + "\"}", 500);
  EXPECT_EQ(answer["error"]["code"], "state_unreadable");
  get("/v1/states/" + id + "/content", 500);
  EXPECT_EQ(get("/v1/states/" + id)["tokens"], 4);
}

}  // namespace
}  // namespace anser
