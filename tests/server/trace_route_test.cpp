// POST /v1/trace as clients see it.
#include "server/trace_route.h"

#include <fmt/format.h>
#include <gtest/gtest.h>


#include "server/http/server.h"
#include "server/http_client.h"
#include "server/service.h"
#include "store/state_store.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;
using openai::Json;

class TraceRouteTest : public testing::Test {
 protected:
  void SetUp() override {
    GgufOptions form;
    form.byte_vocabulary = true;  // id b + 1 is the byte b
    write_gguf(dir_ / "m.gguf",
               random_model({.vocab = 300, .width = 64, .layers = 2, .head_size = 32, .ffn = 64}),
               form);
    model_ = std::make_unique<Model>(Model::open(dir_ / "m.gguf"));
    engine_ = Engine::create(*model_, {.device = Device::cpu, .threads = 2});
    store_ = std::make_unique<StateStore>(dir_ / "states");
    desk_ = std::make_unique<StateDesk>(*store_, *model_);
    scheduler_ = std::make_unique<Scheduler>(*engine_);
    ServiceOptions options;
    options.model_name = "goose";
    options.limits.vocab = 300;
    options.desk = desk_.get();
    service_ = std::make_unique<Service>(*engine_, *scheduler_, std::move(options));
    http::Options listening = http::any_port();
    listening.error_body = &Service::error_body;
    server_ = std::make_unique<http::Server>(listening, service_->routes());
    server_->start();
  }
  Json post(const std::string& path, const Json& body, int status = 200) {
    http::Client client(server_->port());
    client.send(http::post(path, body.dump()));
    const http::Answer answer = client.read_answer();
    EXPECT_EQ(answer.status, status) << answer.body;
    return Json::parse(answer.body, nullptr, false);
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

  TempDir dir_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<StateStore> store_;
  std::unique_ptr<StateDesk> desk_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<http::Server> server_;
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
  http::Client client(server_->port());
  client.send(http::get("/v1/models"));
  const Json card = Json::parse(client.read_answer().body)["data"][0];
  const int most = card["trace_tokens"];
  EXPECT_EQ(most, 2048);
  const Json whole = post("/v1/trace", {{"prompt", std::string(size_t(most) - 1, 'a')}});
  EXPECT_EQ(whole["tokens"].size(), size_t(most));
  const Json error = post("/v1/trace", {{"prompt", std::string(size_t(most), 'a')}}, 400)["error"];
  EXPECT_EQ(error["param"], "prompt");
  EXPECT_NE(error["message"].get<std::string>().find("at most 2048 tokens, found 2049"),
            std::string::npos);
  post("/v1/trace", Json::object(), 400);
}

TEST_F(TraceRouteTest, WhoGoesAwayEndsIt) {
  {
    http::Client client(server_->port());
    client.send(http::post("/v1/trace", Json({{"prompt", std::string(2000, 'a')}}).dump()));
    client.reset();
  }
  EXPECT_TRUE(http::soon([&] { return scheduler_->stats().running == 0; }));
  EXPECT_EQ(post("/v1/trace", {{"prompt", "a"}})["tokens"].size(), 2u);
}

}  // namespace
}  // namespace anser
