// The server as clients see it: OpenAI's addresses over a random model.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "anser/generate.h"
#include "engine/logprobs.h"
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
  prompt.insert(prompt.begin(), Token{0});
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

TEST_F(ServiceTest, ABiasDrawsOneTokenAndABanNone) {
  start();
  const auto text = [&](const std::string& biases) {
    const std::string body = R"({"prompt": "ab", "max_tokens": 6, "seed": 1, "logit_bias": )";
    return post("/v1/completions", body + biases + "}")["choices"][0]["text"];
  };
  EXPECT_EQ(text(R"({"121": 100, "122": 60})"), "xxxxxx");
  EXPECT_EQ(text(R"({"121": -100, "122": 60})"), "yyyyyy");
}

// As evaluation harnesses ask.
TEST_F(ServiceTest, AnEchoHasThePromptsLogprobs) {
  start();
  const std::string wanted = R"("prompt": "abc", "echo": true, "logprobs": 1, "seed": 1)";
  const Json choice = post("/v1/completions", "{" + wanted + R"(, "max_tokens": 0})")["choices"][0];
  EXPECT_EQ(choice["text"], "abc");
  EXPECT_EQ(choice["finish_reason"], "length");
  const Json& logprobs = choice["logprobs"];
  EXPECT_EQ(logprobs["tokens"], Json({"a", "b", "c"}));
  EXPECT_EQ(logprobs["text_offset"], Json({0, 1, 2}));
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
  // What the engine says of the same tokens, all logits at once.
  const std::vector<Token> tokens = {Token{0}, 'a' + 1, 'b' + 1, 'c' + 1};
  std::vector<float> logits(4 * 300);
  State state = model_->initial_state();
  const Sequence all{&state, tokens, LogitsFor::all, logits.data()};
  const auto alone = Engine::create(*model_, {.device = Device::cpu, .threads = 1});
  alone->forward(std::span(&all, 1));
  for (size_t i = 1; i < 3; ++i) {
    const TokenDetails details =
        token_details(std::span(logits).subspan(i * 300, 300), tokens[i + 1], 1);
    EXPECT_EQ(logprobs["token_logprobs"][i].get<float>(), details.drawn.logprob);
    EXPECT_EQ(logprobs["top_logprobs"][i].begin()->get<float>(), details.top[0].logprob);
  }
  // With more to be written, in pieces and whole.
  const std::string more = wanted + R"(, "max_tokens": 3)";
  const Json whole = post("/v1/completions", "{" + more + "}")["choices"][0];
  Json text = "", listed = Json::array();
  for (const Json& event : stream("/v1/completions", "{" + more + R"(, "stream": true})")) {
    const Json& piece = event["choices"][0];
    text = text.get<std::string>() + piece["text"].get<std::string>();
    const Json& some = piece["logprobs"]["token_logprobs"];
    listed.insert(listed.end(), some.begin(), some.end());
  }
  EXPECT_EQ(whole["text"], text);
  EXPECT_EQ(whole["logprobs"]["token_logprobs"], listed);
  EXPECT_EQ(listed.size(), 6u);
}

// The first of several answers is what the seed gives alone, here and on the command line; the
// others are nobody's first.
TEST_F(ServiceTest, SeedsOfSeveralAnswersAreTheirOwn) {
  ServiceOptions service;
  service.limits.seed = 5;
  start(std::move(service));
  const auto texts = [&](const std::string& path, const std::string& more) {
    std::vector<std::string> all;
    const Json answer = post(path, R"({"max_tokens": 30, "top_p": 1, )" + more);
    for (const Json& choice : answer["choices"]) {
      all.push_back(choice.contains("text") ? choice["text"] : choice["message"]["content"]);
    }
    return all;
  };
  const auto engine = Engine::create(*model_, {.device = Device::cpu, .threads = 1});
  State state = model_->initial_state();
  engine->forward(state, std::vector<Token>{0, 'a' + 1, 'b' + 1});
  GenerateOptions alone{.max_tokens = 30};
  alone.sampling = SamplingOptions();
  alone.sampling.top_p = 1;
  alone.sampling.seed = 5;
  const std::string first = generate(*engine, state, alone).text;

  for (const auto& [path, prompt] :
       {std::pair("/v1/completions", R"("prompt": "ab")"),
        std::pair("/v1/chat/completions", R"("messages": [{"role": "user", "content": "a"}])")}) {
    const auto three = texts(path, prompt + std::string(R"(, "n": 3, "seed": 5})"));
    EXPECT_EQ(texts(path, prompt + std::string(R"(, "seed": 5})"))[0], three[0]);
    EXPECT_EQ(texts(path, prompt + std::string("}"))[0], three[0]);  // --seed of the server
    if (path == std::string("/v1/completions")) {
      EXPECT_EQ(three[0], first);
    }
    EXPECT_EQ(std::set<std::string>(three.begin(), three.end()).size(), 3u);
    for (const int seed : {4, 6, 7}) {
      for (const std::string& text :
           texts(path, fmt::format(R"({}, "n": 3, "seed": {}}})", prompt, seed))) {
        EXPECT_EQ(std::count(three.begin(), three.end(), text), 0) << seed;
      }
    }
  }
  // Each prompt as if it came alone.
  const auto four = texts("/v1/completions", R"("prompt": ["ab", "c"], "n": 2, "seed": 5})");
  const auto c = texts("/v1/completions", R"("prompt": "c", "n": 2, "seed": 5})");
  EXPECT_EQ(four[0], first);
  EXPECT_EQ(four[2], c[0]);
  EXPECT_EQ(four[3], c[1]);
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

// One of a request's texts is refused: none is written, and the server goes on.
TEST_F(ServiceTest, ARequestIsAcceptedWholeOrNotAtAll) {
  ServiceOptions options;
  options.limits.max_tokens = 1'000'000'000;
  SchedulerOptions scheduling;
  scheduling.max_queue = 4;
  scheduling.max_batch = 2;
  start(options, scheduling);
  for (const char* more :
       {"", R"(, "stream": true)", R"(, "n": 2)", R"(, "n": 2, "stream": true)"}) {
    const Json error = post("/v1/completions",
                            std::string(R"({"max_tokens": 1000000000, "prompt": [[1], []])") +
                                more + R"(, "logit_bias": {"0": -100}})",
                            400)["error"];
    EXPECT_EQ(error["type"], "invalid_request_error");
    const SchedulerStats stats = scheduler_->stats();
    EXPECT_EQ(stats.running + stats.queued, 0);
  }
  // Nor is there room for all.
  Client first(server_->port());
  first.send(http::post("/v1/completions",
                        R"({"max_tokens": 1000000000, "prompt": ["a", "b", "c"], "stream": true,
                            "logit_bias": {"0": -100}})"));
  EXPECT_EQ(first.read_head().status, 200);
  ASSERT_TRUE(http::soon([&] { return scheduler_->stats().queued == 1; }));
  for (const char* more : {"", R"(, "stream": true)"}) {
    post("/v1/completions", std::string(R"({"max_tokens": 5, "prompt": "a", "n": 4)") + more + "}",
         429);
    EXPECT_EQ(scheduler_->stats().queued, 1);
  }
  first.reset();
  EXPECT_TRUE(http::soon([&] { return scheduler_->stats().running == 0; }));
  EXPECT_EQ(
      post("/v1/completions", R"({"prompt": "a", "n": 4, "max_tokens": 2})")["choices"].size(), 4u);
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
  const std::string endless = http::post(
      "/v1/completions",
      R"({"prompt": "a", "max_tokens": 1000000000, "stream": true, "logit_bias": {"0": -100}})");
  Client first(server_->port()), second(server_->port());
  first.send(endless);
  EXPECT_EQ(first.read_head().status, 200);
  ASSERT_TRUE(http::soon([&] { return scheduler_->stats().running == 1; }));
  second.send(endless);
  ASSERT_TRUE(http::soon([&] { return scheduler_->stats().queued == 1; }));
  const Answer refused = ask(endless);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.headers["Retry-After"], "1");
  EXPECT_EQ(Json::parse(refused.body)["error"]["code"], "queue_full");
  first.reset();
  EXPECT_TRUE(http::soon([&] { return scheduler_->stats().queued == 0; }));
  second.close();
  EXPECT_TRUE(http::soon([&] { return scheduler_->stats().running == 0; }));
}

TEST_F(ServiceTest, LimitsOfARequestNameTheField) {
  ServiceOptions options;
  options.limits.max_prompt_tokens = 5;
  options.limits.max_n = 3;
  options.limits.max_choices = 4;
  start(options);
  const auto param = [&](const std::string& path, const std::string& body) {
    return post(path, body, 400)["error"]["param"];
  };
  EXPECT_EQ(param("/v1/completions", R"({"prompt": "abcde"})"), "prompt");
  EXPECT_EQ(param("/v1/completions", R"({"prompt": ["a", "b", "c"], "n": 2})"), "prompt");
  EXPECT_EQ(param("/v1/completions", R"({"prompt": "a", "n": 4})"), "n");
  EXPECT_EQ(param("/v1/chat/completions", R"({"messages": [{"role": "user", "content": "a"}]})"),
            "messages");
  const std::string deep = std::string(65, '[') + std::string(65, ']');
  const Json error = post("/v1/completions", R"({"prompt": "a", "x": )" + deep + "}", 400)["error"];
  EXPECT_NE(error["message"].get<std::string>().find("64"), std::string::npos) << error;
  post("/v1/completions", R"({"prompt": ["abcd", "b"], "n": 2, "max_tokens": 1})");
}

// What has been written by then is not lost; who waits for it is told.
TEST_F(ServiceTest, TimeIsLimited) {
  SchedulerOptions scheduling;
  scheduling.max_batch = 1;
  scheduling.max_seconds = 0.2;
  scheduling.max_wait_seconds = 0.02;
  ServiceOptions options;
  options.limits.max_tokens = 1'000'000'000;
  start(options, scheduling);
  const std::string endless =
      R"({"prompt": "a", "max_tokens": 1000000000, "logit_bias": {"0": -100})";
  Client first(server_->port());
  first.send(http::post("/v1/completions", endless + "}"));
  ASSERT_TRUE(http::soon([&] { return scheduler_->stats().running == 1; }));
  const Answer waited = ask(http::post("/v1/completions", endless + "}"));
  EXPECT_EQ(waited.status, 503);
  EXPECT_EQ(waited.headers["Retry-After"], "1");
  EXPECT_EQ(Json::parse(waited.body)["error"]["code"], "overloaded");
  const Json choice = Json::parse(first.read_answer().body)["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "length");
  EXPECT_NE(choice["text"], "");
  EXPECT_EQ(scheduler_->stats().overdue, 2u);
}

// However long events wait for more, together they say the same.
TEST_F(ServiceTest, EventsBringWhatHasBeenWrittenMeanwhile) {
  const std::string order = R"({"prompt": "a", "max_tokens": 60, "n": 2, "seed": 3, "logprobs": 1,
                                "logit_bias": {"0": -100})";
  for (const int interval_ms : {0, 60'000}) {
    stop();
    ServiceOptions options;
    options.stream_interval = std::chrono::milliseconds(interval_ms);
    start(options);
    std::string texts[2];
    size_t events[2] = {}, tokens[2] = {};
    for (const Json& event : stream("/v1/completions", order + R"(, "stream": true})")) {
      const Json& choice = event["choices"][0];
      const size_t index = choice["index"];
      texts[index] += choice["text"];
      if (choice["logprobs"].is_object()) tokens[index] += choice["logprobs"]["tokens"].size();
      ++events[index];
    }
    const Json whole = post("/v1/completions", order + "}");
    for (const size_t index : {0, 1}) {
      EXPECT_EQ(texts[index], whole["choices"][index]["text"]) << interval_ms;
      EXPECT_EQ(tokens[index], 60u) << interval_ms;
      // The first token at once, the others when the text ends, with luck a minute begins in
      // between; and the end. A character that is cut off by that may have an event of its own.
      if (interval_ms == 0) {
        EXPECT_GE(events[index], 61u);
        EXPECT_LE(events[index], 62u);
      } else {
        EXPECT_GE(events[index], 3u);
        EXPECT_LE(events[index], 4u);
      }
    }
  }
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
  // Where it is not strict, what cannot be kept to is passed over.
  const auto loose = [&](bool strict, int status) {
    return post("/v1/completions",
                fmt::format(R"({{"prompt": "a", "response_format": {{"type": "json_schema",
                    "json_schema": {{"strict": {}, "schema": {{"type": "boolean",
                    "disallow": "null"}}}}}}}})",
                            strict),
                status);
  };
  const std::string text = loose(false, 200)["choices"][0]["text"];
  EXPECT_TRUE(Json::parse(text).is_boolean()) << text;
  EXPECT_EQ(loose(true, 400)["error"]["param"], "response_format.json_schema.schema");
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
