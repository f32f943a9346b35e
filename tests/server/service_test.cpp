// The server as clients see it: OpenAI's addresses over a random model.
#include <gtest/gtest.h>

#include "server/service_fixture.h"

namespace anser {
namespace {

using http::Answer;
using http::Client;
using openai::Json;

TEST_F(ServiceTest, ACompletionIsWhatGenerateWrites) {
  start();
  const Json answer = post("/v1/completions", R"({"prompt": "ab", "max_tokens": 30, "seed": 3})");
  State state = model_->initial_state();
  engine_->wait();
  const auto alone = Engine::create(*model_, {.device = Device::cpu, .threads = 1});
  std::vector<Token> prompt = model_->tokenizer().encode("ab");
  prompt.insert(prompt.begin(), kEndOfText);
  alone->forward(state, prompt);
  GenerateOptions options;
  options.max_tokens = 30;
  options.sampling.seed = 3;
  const Generated expected = generate(*alone, state, options);
  EXPECT_EQ(answer["choices"][0]["text"], expected.text);
  EXPECT_EQ(answer["usage"]["prompt_tokens"], 3);
  EXPECT_EQ(answer["usage"]["completion_tokens"], expected.tokens.size());
  // Once more: nothing of the prompt is read again, and not a byte differs.
  const Json again = post("/v1/completions", R"({"prompt": "ab", "max_tokens": 30, "seed": 3})");
  EXPECT_EQ(again["choices"], answer["choices"]);
  EXPECT_EQ(again["usage"]["prompt_tokens_details"]["cached_tokens"], 3);
}

TEST_F(ServiceTest, AStreamIsTheSameInPieces) {
  start();
  const std::string wanted = R"("prompt": ["ab", "c"], "n": 2, "max_tokens": 25, "seed": 3)";
  const Json whole = post("/v1/completions", "{" + wanted + "}");
  std::vector<std::string> texts(4), reasons(4);
  const auto events = stream("/v1/completions", "{" + wanted +
                                                    R"(, "stream": true,
                                                        "stream_options": {"include_usage": true}})");
  for (const Json& event : events) {
    EXPECT_EQ(event["object"], "text_completion");
    for (const Json& choice : event["choices"]) {
      const size_t index = choice["index"];
      texts.at(index) += choice["text"].get<std::string>();
      if (!choice["finish_reason"].is_null()) reasons.at(index) = choice["finish_reason"];
    }
  }
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(whole["choices"][i]["text"], texts[i]);
    EXPECT_EQ(whole["choices"][i]["finish_reason"], reasons[i]);
  }
  EXPECT_EQ(events.back()["choices"], Json::array());
  EXPECT_EQ(events.back()["usage"]["completion_tokens"], whole["usage"]["completion_tokens"]);
}

TEST_F(ServiceTest, ChatAnswersAndStreams) {
  start();
  const std::string wanted =
      R"("messages": [{"role": "user", "content": "hi"}], "max_tokens": 20, "seed": 5)";
  const Json whole = post("/v1/chat/completions", "{" + wanted + R"(, "logprobs": true,
                                                                     "top_logprobs": 2})");
  EXPECT_EQ(whole["object"], "chat.completion");
  const Json& message = whole["choices"][0]["message"];
  EXPECT_EQ(message["role"], "assistant");
  const Json& details = whole["choices"][0]["logprobs"]["content"];
  EXPECT_EQ(details.size(), whole["usage"]["completion_tokens"]);
  EXPECT_EQ(details[0]["top_logprobs"].size(), 2u);
  std::string text;
  for (const Json& event : stream("/v1/chat/completions", "{" + wanted + R"(, "stream": true})")) {
    const Json& delta = event["choices"][0]["delta"];
    if (delta.contains("content")) text += delta["content"].get<std::string>();
  }
  EXPECT_EQ(message["content"], text);
}

TEST_F(ServiceTest, WhoHasNoKeyIsRefused) {
  ServiceOptions options;
  options.api_keys = {"secret", "other"};
  start(options);
  EXPECT_EQ(ask(http::get("/v1/models")).status, 401);
  EXPECT_EQ(ask(http::get("/v1/models", "Authorization: Bearer secre\r\n")).status, 401);
  EXPECT_EQ(ask(http::get("/v1/models", "Authorization: Bearer \r\n")).status, 401);
  EXPECT_EQ(ask(http::get("/v1/models", "Authorization: Basic secret\r\n")).status, 401);
  EXPECT_EQ(ask(http::get("/v1/models", "Authorization: Bearer other\r\n")).status, 200);
  EXPECT_EQ(ask(http::get("/health")).status, 200);
}

TEST_F(ServiceTest, MistakesAreExplainedInOpenAisShape) {
  start();
  EXPECT_EQ(
      post("/v1/completions", R"({"prompt": "a", "temperature": "x"})", 400)["error"]["param"],
      "temperature");
  EXPECT_EQ(post("/v1/chat/completions", "{}", 400)["error"]["param"], "messages");
  EXPECT_EQ(post("/nowhere", "{}", 404)["error"]["type"], "invalid_request_error");
  EXPECT_EQ(ask(http::get("/v1/completions")).status, 405);
  EXPECT_EQ(ask(http::get("/v1/models/other")).status, 404);
  EXPECT_EQ(Json::parse(ask(http::get("/v1/models/goose")).body)["id"], "goose");
  EXPECT_EQ(post("/v1/completions", R"({"prompt": [3000]})", 400)["error"]["param"], "prompt");
}

TEST_F(ServiceTest, WhoGoesAwayFreesHisPlace) {
  SchedulerOptions scheduling;
  scheduling.max_batch = 1;
  scheduling.max_queue = 1;
  ServiceOptions options;
  options.limits.max_tokens = 1'000'000'000;
  start(options, scheduling);
  const std::string endless =
      http::post("/v1/completions",
                 R"({"prompt": "a", "max_tokens": 1000000000, "stream": true, "logit_bias": {"0": -100}})");
  Client first(server_->port()), second(server_->port());
  first.send(endless);
  EXPECT_EQ(first.read_head().status, 200);
  ASSERT_TRUE(http::soon([&] { return scheduler_->stats().running == 1; }));
  second.send(endless);
  ASSERT_TRUE(http::soon([&] { return scheduler_->stats().queued == 1; }));
  const Answer refused = ask(endless);
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers["Retry-After"], "1");
  first.reset();
  EXPECT_TRUE(http::soon([&] { return scheduler_->stats().queued == 0; }));
  second.close();
  EXPECT_TRUE(http::soon([&] { return scheduler_->stats().running == 0; }));
}

TEST_F(ServiceTest, AnswersKeepTheirSchema) {
  start();
  const std::string format =
      R"("response_format": {"type": "json_schema", "json_schema": {"name": "x",
      "schema": {"type": "object", "properties": {"sure": {"type": "boolean"}},
                 "required": ["sure"], "additionalProperties": false}}})";
  const Json chat = post("/v1/chat/completions",
                         R"({"messages": [{"role": "user", "content": "hi"}], )" + format + "}");
  const Json content =
      Json::parse(chat["choices"][0]["message"]["content"].get<std::string>(), nullptr, false);
  EXPECT_TRUE(content.is_object() && content["sure"].is_boolean()) << chat.dump();
  EXPECT_EQ(chat["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(post("/v1/completions",
                 R"({"prompt": "a", "response_format": {"type": "json_schema", "json_schema":
                     {"schema": {"type": "object", "not": {}}}}})",
                 400)["error"]["param"],
            "response_format.json_schema.schema");
  EXPECT_EQ(post("/v1/completions", R"({"prompt": "a", "state": "s"})", 400)["error"]["param"],
            "state");
}

TEST_F(ServiceTest, TokensThereAndBack) {
  start();
  const Json tokens = post("/tokenize", R"({"content": "hi"})")["tokens"];
  EXPECT_EQ(tokens, Json({'h' + 1, 'i' + 1}));
  EXPECT_EQ(post("/detokenize", Json({{"tokens", tokens}}).dump())["content"], "hi");
  EXPECT_EQ(post("/detokenize", R"({"tokens": [300]})", 400)["error"]["param"], "tokens");
}

TEST_F(ServiceTest, CountersAreThere) {
  start();
  post("/v1/completions", R"({"prompt": "ab", "max_tokens": 4})");
  const Answer answer = ask(http::get("/metrics"));
  EXPECT_NE(answer.body.find("\nanser_prompt_tokens_total 3\n"), std::string::npos) << answer.body;
}

}  // namespace
}  // namespace anser
