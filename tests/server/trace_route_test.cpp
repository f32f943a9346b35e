// POST /v1/trace as clients see it.
#include "server/trace_route.h"

#include <gtest/gtest.h>

#include "server/service_fixture.h"

namespace anser {
namespace {

using namespace support;

// Two heads a layer, and a store of states.
class TraceRouteTest : public ServiceTest {
 protected:
  void SetUp() override {
    GgufOptions form;
    form.byte_vocabulary = true;
    const Shape shape = {.vocab = 300, .width = 64, .layers = 2, .head_size = 32, .ffn = 64};
    write_gguf(dir_ / "m.gguf", random_model(shape), form);
    model_ = std::make_unique<Model>(Model::open(dir_ / "m.gguf"));
    start_with_states({}, {.max_batch = 1});
  }
  Json post(const std::string& path, const Json& body, int status = 200) {
    return ServiceTest::post(path, body.dump(), status);
  }
  // What the engine says of the text, in the answer's form.
  StateTrace traced(State& state, const std::vector<Token>& tokens) {
    const auto alone = Engine::create(*model_, {.device = Device::cpu, .threads = 1});
    StateTrace trace;
    const Sequence one{&state, tokens, LogitsFor::last, nullptr, &trace};
    alone->forward(std::span(&one, 1));
    return trace;
  }
  static void expect_numbers(const Json& found, const std::vector<float>& expected) {
    ASSERT_EQ(found.size() * 4, expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(found[i / 4][i / 2 % 2][i % 2].get<double>(), expected[i], 0.00051) << i;
    }
  }
};

TEST_F(TraceRouteTest, IsWhatTheEngineSays) {
  const Json answer = post("/v1/trace", {{"prompt", "ab c"}});
  EXPECT_EQ(answer["layers"], 2);
  EXPECT_EQ(answer["heads"], 2);
  EXPECT_EQ(answer["tokens"], Json::parse(R"([{"id": 0, "text": ""}, {"id": 98, "text": "a"},
                            {"id": 99, "text": "b"}, {"id": 33, "text": " "},
                            {"id": 100, "text": "c"}])"));
  State state = model_->initial_state();
  const StateTrace expected = traced(state, {0, 98, 99, 33, 100});
  expect_numbers(answer["kept"], expected.kept);
  expect_numbers(answer["erased"], expected.erased);
  expect_numbers(answer["written"], expected.written);
}

TEST_F(TraceRouteTest, GoesOnFromAStoredState) {
  const Json stored = post("/v1/states", {{"prompt", "ab"}, {"name", "first"}});
  const Json answer = post("/v1/trace", {{"prompt", " c"}, {"state", "first"}});
  State state = model_->initial_state();
  traced(state, {0, 98, 99});
  const StateTrace expected = traced(state, {33, 100});
  expect_numbers(answer["kept"], expected.kept);
  expect_numbers(answer["written"], expected.written);
  EXPECT_EQ(post("/v1/trace", {{"prompt", "c"}, {"state", "none"}}, 404)["error"]["code"],
            "state_not_found");
}

// A character's first byte alone is no text.
TEST_F(TraceRouteTest, PartsOfCharactersAreReplaced) {
  const Json answer = post("/v1/trace", {{"prompt", "\u00e4"}});
  EXPECT_EQ(answer["tokens"].size(), 3u);
  EXPECT_EQ(answer["tokens"][1]["text"], "\ufffd");
}

TEST_F(TraceRouteTest, HasAnEnd) {
  const int most = get("/v1/models")["data"][0]["trace_tokens"];
  EXPECT_EQ(most, 2048);
  const Json whole = post("/v1/trace", {{"prompt", std::string(size_t(most) - 1, 'a')}});
  EXPECT_EQ(whole["tokens"].size(), size_t(most));
  const Json error = post("/v1/trace", {{"prompt", std::string(size_t(most), 'a')}}, 400)["error"];
  EXPECT_EQ(error["param"], "prompt");
  EXPECT_NE(error["message"].get<std::string>().find("at most 2048 tokens, found 2049"),
            std::string::npos);
  post("/v1/trace", Json::object(), 400);
}

TEST_F(TraceRouteTest, WhoGoesAwayFreesHisPlace) {
  Client writer(server_->port()), tracer(server_->port());
  writer.send(http::post("/v1/completions",
                         R"({"prompt": "a", "max_tokens": 1000000000, "stream": true,
                             "logit_bias": {"0": -100}})"));
  EXPECT_EQ(writer.read_head().status, 200);
  ASSERT_TRUE(http::soon([&] { return scheduler_->stats().running == 1; }));
  tracer.send(http::post("/v1/trace", R"({"prompt": "a"})"));
  ASSERT_TRUE(http::soon([&] { return scheduler_->stats().queued == 1; }));
  tracer.reset();
  EXPECT_TRUE(http::soon([&] { return scheduler_->stats().queued == 0; }));
  EXPECT_EQ(scheduler_->stats().running, 1);
  writer.reset();
  EXPECT_EQ(post("/v1/trace", {{"prompt", "a"}})["tokens"].size(), 2u);
}

}  // namespace
}  // namespace anser
