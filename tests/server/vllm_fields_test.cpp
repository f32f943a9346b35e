// Fields that vLLM adds to OpenAI's: where an answer ends, and a gap that is filled.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "server/openai/completion_request.h"
#include "server/openai/response_request.h"
#include "server/openai/vllm_fields.h"
#include "server/orders.h"
#include "server/service_fixture.h"
#include "text/chat/builtin_templates.h"

namespace anser {
namespace {

using openai::Json;

constexpr char kCompletions[] = "/v1/completions", kChat[] = "/v1/chat/completions";

openai::Limits limits() {
  openai::Limits limits;
  limits.vocab = 300;
  limits.max_tokens = 100;
  limits.default_tokens = 40;
  return limits;
}

openai::WriteRequest read(const std::string& body) {
  const Json json = openai::parse_body(body);
  return openai::read_write_request(openai::Fields(json), limits());
}

TEST(VllmFields, AreRead) {
  const openai::WriteRequest request = read(R"({"stop_token_ids": [3, 5], "ignore_eos": true,
      "min_tokens": 7, "include_stop_str_in_output": true, "stop": ["x"], "prompt_logprobs": 3,
      "return_token_ids": true, "skip_special_tokens": false,
      "spaces_between_special_tokens": false})");
  EXPECT_EQ(request.generation.stop_tokens, (std::vector<Token>{3, 5}));
  EXPECT_TRUE(request.generation.ignore_eos && request.generation.include_stop_tokens);
  EXPECT_EQ(request.generation.min_tokens, 7);
  EXPECT_EQ(request.generation.stop, std::vector<std::string>());
  EXPECT_EQ(request.generation.stop_after, (std::vector<std::string>{"x"}));
  EXPECT_EQ(request.prompt_logprobs, 3);
  EXPECT_TRUE(request.return_token_ids);
  const openai::WriteRequest nothing = read("{}");
  EXPECT_EQ(nothing.prompt_logprobs, -1);
  EXPECT_TRUE(nothing.generation.stop_tokens.empty());
  EXPECT_FALSE(nothing.return_token_ids || nothing.generation.ignore_eos);
  // Room for what must be written, where nothing is said of it.
  EXPECT_EQ(read(R"({"min_tokens": 60})").generation.max_tokens, 60);
}

TEST(VllmFields, WhatIsWrongIsNamed) {
  const std::pair<const char*, const char*> wrong[] = {
      {R"({"stop_token_ids": [300]})", "stop_token_ids"},
      {R"({"stop_token_ids": [-1]})", "stop_token_ids"},
      {R"({"stop_token_ids": 3})", "stop_token_ids"},
      {R"({"ignore_eos": 1})", "ignore_eos"},
      {R"({"min_tokens": -1})", "min_tokens"},
      {R"({"min_tokens": 101})", "min_tokens"},
      {R"({"min_tokens": 9, "max_tokens": 8})", "min_tokens"},
      {R"({"min_tokens": 9, "max_completion_tokens": 8})", "min_tokens"},
      {R"({"include_stop_str_in_output": "a"})", "include_stop_str_in_output"},
      {R"({"prompt_logprobs": -1})", "prompt_logprobs"},
      {R"({"return_token_ids": 2})", "return_token_ids"}};
  for (const auto& [body, field] : wrong) {
    try {
      read(body);
      ADD_FAILURE() << "accepted: " << body;
    } catch (const openai::ApiError& error) {
      EXPECT_EQ(error.status(), 400);
      EXPECT_EQ(Json::parse(error.body())["error"]["param"], field) << error.body();
    }
  }
  const Json response = {{"input", "a"}, {"min_tokens", 9}, {"max_output_tokens", 8}};
  EXPECT_THROW(openai::read_response_request(openai::Fields(response), limits()), openai::ApiError);
  std::string many = "[3";
  for (int i = 0; i < 1024; ++i) many += ",3";
  EXPECT_THROW(read(fmt::format(R"({{"stop_token_ids": {}]}})", many)), openai::ApiError);
}

TEST(VllmFields, AFlowerEndsWhatFillsAGap) {
  openai::Limits knows = limits();
  knows.fills_gaps = true;
  const auto request = [&](Json body) {
    body["prompt"] = "a";
    return openai::read_completion_request(openai::Fields(body), knows, Tokenizer::bytes());
  };
  const auto stops = request({{"suffix", "b"}, {"stop", "x"}}).generation.stop;
  EXPECT_EQ(stops, (std::vector<std::string>{"x", "\u273f"}));
  EXPECT_TRUE(request({{"suffix", "b"}, {"ignore_eos", true}}).generation.stop.empty());
  EXPECT_TRUE(request({{"suffix", ""}}).generation.stop.empty());
}

TEST_F(ServiceTest, StopTokensEndWhatIsWritten) {
  start();
  const auto choice = [&](const char* more) {
    const std::string body = R"({"prompt": "ab", "max_tokens": 6, "seed": 1,
        "logit_bias": {"121": 100, "122": 60}, )";
    const Json choices = post(kCompletions, body + more + R"(, "n": 2})")["choices"];
    EXPECT_EQ(choices[1]["text"], choices[0]["text"]);
    std::string text;
    for (const Json& event : stream(kCompletions, body + more + R"(, "stream": true})")) {
      text += event["choices"][0]["text"];
    }
    EXPECT_EQ(text, choices[0]["text"]);
    return choices[0];
  };
  Json ended = choice(R"("stop_token_ids": [121])");
  EXPECT_EQ(ended["text"], "");
  EXPECT_EQ(ended["finish_reason"], "stop");
  ended = choice(R"("stop_token_ids": [121], "min_tokens": 3)");
  EXPECT_EQ(ended["text"], "yyy");
  EXPECT_EQ(ended["finish_reason"], "stop");
  ended = choice(R"("stop_token_ids": [121], "min_tokens": 3, "include_stop_str_in_output": true)");
  EXPECT_EQ(ended["text"], "yyyx");
  ended = choice(R"("stop": "xxx", "include_stop_str_in_output": true)");
  EXPECT_EQ(ended["text"], "xxx");
  EXPECT_EQ(ended["finish_reason"], "stop");
  ended = choice(R"("stop": "xx", "min_tokens": 3, "include_stop_str_in_output": false)");
  EXPECT_EQ(ended["text"], "xxx");
  ended = choice(R"("stop_token_ids": [0], "ignore_eos": true)");
  EXPECT_EQ(ended["text"], "xxxxxx");
}

TEST_F(ServiceTest, TheEndOfATextMayBeIgnored) {
  start();
  const Json body = {{"prompt", {"ab", "c"}}, {"n", 2},           {"max_tokens", 9},
                     {"ignore_eos", true},    {"temperature", 2}, {"logit_bias", {{"0", 100}}}};
  const Json answer = post(kCompletions, body.dump());
  EXPECT_EQ(answer["usage"]["completion_tokens"], 36);
  for (const Json& choice : answer["choices"]) EXPECT_EQ(choice["finish_reason"], "length");
  // What ends a turn is as much of an end to a chat.
  Json chat = {{"messages", {{{"role", "user"}, {"content", "hi"}}}}, {"stop", "zz"}};
  const auto stops = [&] {
    const openai::ChatRequest request = openai::read_chat_request(openai::Fields(chat), limits());
    return chat_order(request, {model_->initial_state(), {}, {}}, builtin_template("flower"),
                      limits(), *model_)
        .order.generation.stop;
  };
  EXPECT_EQ(stops(), (std::vector<std::string>{"zz", "\u273f"}));
  chat["ignore_eos"] = true;
  EXPECT_EQ(stops(), (std::vector<std::string>{"zz"}));
  chat["max_tokens"] = 20;
  chat["logit_bias"] = {{"0", 100}};
  EXPECT_EQ(post(kChat, chat.dump())["usage"]["completion_tokens"], 20);
}

// A format that leaves nothing to be added ends an answer; one that does not lets it go on.
TEST_F(ServiceTest, AFormatComesBeforeTheLeastNumberOfTokens) {
  start();
  const auto content = [&](const std::string& schema, bool streamed) {
    const std::string body = R"({"messages": [{"role": "user", "content": "hi"}], "seed": 2,
        "min_tokens": 8, "ignore_eos": true, "response_format": {"type": "json_schema",
        "json_schema": {"schema": )" +
                             schema + "}}";
    if (!streamed) {
      return post(kChat, body + "}")["choices"][0]["message"]["content"].get<std::string>();
    }
    std::string text;
    for (const Json& event : stream(kChat, body + R"(, "stream": true})")) {
      text += event["choices"][0]["delta"].value("content", "");
    }
    return text;
  };
  for (const bool streamed : {false, true}) {
    EXPECT_EQ(Json::parse(content(R"({"const": "aa"})", streamed)), "aa");
    const std::string number =
        content(R"({"type": "integer", "minimum": 1, "maximum": 999999999999})", streamed);
    EXPECT_GE(number.size(), 7u);
    EXPECT_TRUE(Json::parse(number).is_number()) << number;
  }
  EXPECT_EQ(post(kCompletions, R"({"prompt": "a", "stop_token_ids": [126],
                                   "response_format": {"type": "json_object"}})",
                 400)["error"]["param"],
            "stop_token_ids");
}

TEST_F(ServiceTest, AGapIsFilledWhereTheModelHasLearntTo) {
  ServiceOptions options;
  options.limits.fills_gaps = true;
  options.limits.sampling.temperature = 0;
  start(std::move(options));
  const std::string form = "\u273fprefix\u273f\u273fsuffix\u273f return c\u273fmiddle\u273f";
  std::vector<Token> tokens = model_->tokenizer().encode(form + "def");
  const auto by_hand = [&](Json body) {
    body["prompt"] = tokens;
    body["stop"] = "\u273f";
    return post(kCompletions, body.dump())["choices"][0]["text"];
  };
  Json body = {{"prompt", "def"}, {"suffix", " return c"}, {"max_tokens", 30}};
  const Json answer = post(kCompletions, body.dump());
  EXPECT_EQ(answer["usage"]["prompt_tokens"], tokens.size());
  EXPECT_EQ(answer["choices"][0]["text"], by_hand({{"max_tokens", 30}}));
  // The prompt as tokens, and several.
  body["prompt"] = Json::array({Json({'d' + 1, 'e' + 1, 'f' + 1})});
  EXPECT_EQ(post(kCompletions, body.dump())["choices"][0]["text"], answer["choices"][0]["text"]);
  // An echo has the prompt only.
  body = {{"prompt", "def"}, {"suffix", "x"}, {"logit_bias", {{"0", -100}}},
          {"echo", true},    {"logprobs", 0}, {"max_tokens", 3}};
  const Json echo = post(kCompletions, body.dump())["choices"][0];
  EXPECT_TRUE(echo["text"].get<std::string>().starts_with("def"));
  EXPECT_EQ(echo["logprobs"]["tokens"][0], "d");
  EXPECT_EQ(echo["logprobs"]["text_offset"][2], 2);
  EXPECT_EQ(echo["logprobs"]["tokens"].size(), 6u);
  EXPECT_TRUE(echo["logprobs"]["token_logprobs"][0].is_null());
  // One that is empty is none.
  EXPECT_EQ(post(kCompletions,
                 R"({"prompt": "ab", "suffix": "", "max_tokens": 0})")["usage"]["prompt_tokens"],
            3);
}

TEST_F(ServiceTest, AGapIsRefusedWhereTheModelDoesNotKnowOne) {
  start();
  const Json error = post(kCompletions, R"({"prompt": "a", "suffix": "b"})", 400)["error"];
  EXPECT_EQ(error["param"], "suffix");
  EXPECT_NE(error["message"].get<std::string>().find("g1c"), std::string::npos) << error;
  post(kCompletions, R"({"prompt": "a", "suffix": null, "max_tokens": 1})");
}

}  // namespace
}  // namespace anser
