// What answers repeat and count: numbers as they were sent, lists of logprobs as long as the count
// of tokens, streams without line ends of Unicode's; and items of earlier responses.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "server/openai/json_pieces.h"
#include "server/service_fixture.h"

namespace anser {
namespace {

using http::Answer;
using openai::Json;

constexpr char kCompletions[] = "/v1/completions", kChat[] = "/v1/chat/completions",
               kResponses[] = "/v1/responses";

class ServiceFieldsTest : public ServiceTest {
 protected:
  // Of all choices of an answer, or of all chunks of a stream.
  static size_t listed(const Json& answer) {
    size_t entries = 0;
    for (const Json& choice : answer["choices"]) {
      const Json& logprobs = choice["logprobs"];
      if (!logprobs.is_object()) continue;
      if (logprobs.contains("content")) {
        entries += logprobs["content"].size();
        continue;
      }
      entries += logprobs["tokens"].size();
      for (const char* list : {"token_logprobs", "top_logprobs", "text_offset"}) {
        EXPECT_EQ(logprobs[list].size(), logprobs["tokens"].size());
      }
    }
    return entries;
  }
  // Returns how the choices ended.
  std::vector<std::string> expect_as_many(const std::string& path, Json body) {
    const Json whole = post(path, body.dump());
    const size_t counted = whole["usage"]["completion_tokens"];
    EXPECT_EQ(listed(whole), counted) << whole;
    body["stream"] = true;
    body["stream_options"] = {{"include_usage", true}};
    size_t streamed = 0;
    const std::vector<Json> chunks = stream(path, body.dump());
    for (const Json& chunk : chunks) streamed += listed(chunk);
    EXPECT_EQ(streamed, counted);
    EXPECT_EQ(chunks.back()["usage"]["completion_tokens"], counted);
    std::vector<std::string> reasons;
    for (const Json& choice : whole["choices"]) reasons.push_back(choice["finish_reason"]);
    return reasons;
  }
};

// Also with the token that ended a text, with tokens that a stop string hid, and with those of
// thoughts and calls, none of which the client sees.
TEST_F(ServiceFieldsTest, LogprobsAreAsManyAsTokensWereCounted) {
  start();
  const auto stopped = [](const std::vector<std::string>& reasons) {
    return std::ranges::count(reasons, "stop");
  };
  // Token 0 ends a text; "aaa" is found when two of its tokens have been held back.
  const Json ends = {{"0", 6}}, stops = {{"0", -100}, {"98", 12}};
  size_t by_token = 0, by_text = 0;
  for (const int n : {1, 3}) {
    for (const int seed : {1, 2, 3}) {
      Json body = {{"prompt", "ab"}, {"n", n}, {"seed", seed}, {"max_tokens", 40}, {"logprobs", 1}};
      body["logit_bias"] = ends;
      by_token += stopped(expect_as_many(kCompletions, body));
      body["logit_bias"] = stops;
      body["stop"] = {"aaa"};
      by_text += stopped(expect_as_many(kCompletions, body));
      body.erase("prompt");
      body["messages"] = {{{"role", "user"}, {"content", "hi"}}};
      body["reasoning_effort"] = "high";
      body["logprobs"] = true;
      by_text += stopped(expect_as_many(kChat, body));
      body["logit_bias"] = ends;
      by_token += stopped(expect_as_many(kChat, body));
    }
  }
  EXPECT_GT(by_token, 3u);
  EXPECT_GT(by_text, 3u);
  // A call that must be made, all of which is hidden.
  const Json tools = {{{"type", "function"}, {"function", {{"name", "time"}}}}};
  expect_as_many(kChat, {{"messages", {{{"role", "user"}, {"content", "hi"}}}},
                         {"tools", tools},
                         {"tool_choice", "required"},
                         {"n", 2},
                         {"seed", 1},
                         {"logprobs", true},
                         {"top_logprobs", 2}});
}

// The message of a response has them, whole or in deltas, and the events that repeat its text.
TEST_F(ServiceFieldsTest, ResponsesHaveLogprobsToo) {
  start_with_states();
  for (const char* biases : {R"({"0": -100})", R"({"0": 6})"}) {
    for (const char* wanted :
         {R"("include": ["message.output_text.logprobs"])", R"("top_logprobs": 2)"}) {
      const std::string body = fmt::format(
          R"({{"input": "hi", "temperature": 1, "seed": 3, "max_output_tokens": 30,
               "logit_bias": {}, {})",
          biases, wanted);
      const Json whole = post(kResponses, body + "}");
      const Json& part = whole["output"].back()["content"][0];
      const Json& list = part["logprobs"];
      EXPECT_EQ(list.size(), whole["usage"]["output_tokens"]);
      EXPECT_EQ(list[0]["top_logprobs"].size(), wanted[1] == 't' ? 2u : 0u);
      EXPECT_TRUE(list[0]["bytes"].is_array());
      Json deltas = Json::array(), last;
      for (const std::string& data : event_data(kResponses, body + R"(, "stream": true})")) {
        last = Json::parse(data);
        if (last["type"] != "response.output_text.delta") continue;
        deltas.insert(deltas.end(), last["logprobs"].begin(), last["logprobs"].end());
      }
      EXPECT_EQ(deltas, list);
      EXPECT_EQ(last["response"]["output"].back()["content"][0]["logprobs"], list);
      const Json kept = get("/v1/responses/" + last["response"]["id"].get<std::string>());
      EXPECT_EQ(kept["output"].back()["content"][0]["text"], part["text"]);
    }
  }
  const Json none = post(kResponses, R"({"input": "hi", "max_output_tokens": 3})");
  EXPECT_EQ(none["output"][0]["content"][0]["logprobs"], Json::array());
}

TEST_F(ServiceFieldsTest, NumbersAndChoicesComeBackAsTheyWereSent) {
  start_with_states();
  const Json sent = {{"temperature", 0.3},
                     {"top_p", 0.9},
                     {"max_output_tokens", 16},
                     {"parallel_tool_calls", false},
                     {"truncation", "auto"},
                     {"user", "u"},
                     {"safety_identifier", "s"},
                     {"prompt_cache_key", "p"},
                     {"max_tool_calls", 2},
                     {"service_tier", "flex"},
                     {"text", {{"format", {{"type", "text"}}}, {"verbosity", "low"}}},
                     {"reasoning", {{"effort", "none"}, {"summary", "auto"}}},
                     {"tools", Json::array({{{"type", "function"}, {"name", "f"}}})},
                     {"tool_choice", "auto"}};
  Json body = {{"input", "hi"}};
  body.update(sent);
  const Answer answer = ask(http::post(kResponses, body.dump()));
  EXPECT_NE(answer.body.find("\"temperature\":0.3,"), std::string::npos) << answer.body;
  EXPECT_NE(answer.body.find("\"top_p\":0.9,"), std::string::npos) << answer.body;
  const Json response = json(answer, 200);
  for (const auto& [name, value] : sent.items()) EXPECT_EQ(response[name], value) << name;
  EXPECT_EQ(response["background"], false);
  // What the store gives back is the same, but for the tools.
  Json kept = get("/v1/responses/" + response["id"].get<std::string>());
  kept["tools"] = response["tools"];
  EXPECT_EQ(nlohmann::json::parse(kept.dump()), nlohmann::json::parse(response.dump()));
  // Where nothing is said: 0.85 as it stands in the program, and no limit.
  const Json unsaid = post(kResponses, R"({"input": "hi", "max_output_tokens": -1,
                                           "temperature": 1, "logit_bias": {"0": 100}})");
  EXPECT_EQ(unsaid["top_p"].dump(), "0.85");
  EXPECT_EQ(unsaid["temperature"].dump(), "1");
  EXPECT_EQ(unsaid["max_output_tokens"], -1);
  EXPECT_EQ(unsaid["truncation"], "disabled");
  EXPECT_EQ(unsaid["parallel_tool_calls"], true);
}

// Truncation: the oldest messages make room, but not the system's.
TEST_F(ServiceFieldsTest, TheOldestMessagesMakeRoomWhereThatIsWanted) {
  ServiceOptions options;
  options.limits.max_prompt_tokens = 200;
  start(std::move(options));
  Json body = {{"instructions", "Be brief."}, {"max_output_tokens", 1}, {"input", Json::array()}};
  for (int i = 0; i < 30; ++i) {
    body["input"].push_back({{"role", "user"}, {"content", fmt::format("message {:02}", i)}});
  }
  EXPECT_EQ(post(kResponses, body.dump(), 400)["error"]["param"], "input");
  body["truncation"] = "auto";
  const Json cut = post(kResponses, body.dump());
  EXPECT_EQ(cut["truncation"], "auto");
  const size_t read = cut["usage"]["input_tokens"];
  const std::string one = "User: message 29\n\n";
  EXPECT_LE(read, 200u);
  EXPECT_GT(read, 200 - one.size() - 1) << "as few as need be are left out";
  // The last one alone is too much.
  body["input"].back()["content"] = std::string(300, 'x');
  EXPECT_EQ(post(kResponses, body.dump(), 400)["error"]["param"], "input");
}

TEST_F(ServiceFieldsTest, NoLineOfAStreamEndsWithinAnEvent) {
  start();
  const std::string text = "a\u2028b\u2029c\u0085d";
  const auto expect_whole_lines = [&](const char* path, const Json& body) {
    const Answer answer = ask(http::post(path, body.dump()));
    EXPECT_EQ(answer.status, 200) << answer.body;
    for (const char* end : {"\u2028", "\u2029", "\u0085"}) {
      EXPECT_EQ(answer.body.find(end), std::string::npos) << path;
    }
    EXPECT_NE(answer.body.find("a\\u2028b\\u2029c\\u0085d"), std::string::npos) << answer.body;
  };
  for (const bool streamed : {true, false}) {
    expect_whole_lines(kCompletions,
                       {{"prompt", text}, {"echo", true}, {"max_tokens", 1}, {"stream", streamed}});
    expect_whole_lines(
        kResponses,
        {{"input", "hi"}, {"instructions", text}, {"max_output_tokens", 1}, {"stream", streamed}});
  }
  const Json events =
      stream(kCompletions,
             Json({{"prompt", text}, {"echo", true}, {"max_tokens", 0}, {"stream", true}}).dump());
  EXPECT_EQ(events[0]["choices"][0]["text"], text) << "the same text when it is read";
}

TEST(LineEnds, AreEscapedWhereverTheyStand) {
  using openai::escape_line_ends;
  EXPECT_EQ(escape_line_ends("\"\u2028\u2028x\u0085\""), R"("\u2028\u2028x\u0085")");
  EXPECT_EQ(escape_line_ends("\"\u2029\""), R"("\u2029")");
  const std::string others = "\"\u2027\u202a\u0084\u0086\u00e4\"";
  EXPECT_EQ(escape_line_ends(others), others);
  const Json object = {{"\u2028", "\u0085"}};
  EXPECT_EQ(openai::dumped(object), R"({"\u2028":"\u0085"})");
}

TEST_F(ServiceFieldsTest, WhatIsLeftOutIsSaidOnce) {
  start();
  const Json body = {{"input", Json::array({{{"type", "web_search_call"}, {"id", "secret"}},
                                            {{"role", "user"}, {"content", "hi"}}})},
                     {"tools", Json::array({{{"type", "local_shell"}}, {{"type", "secret"}}})},
                     {"max_output_tokens", 1}};
  for (int i = 0; i < 3; ++i) post(kResponses, body.dump());
  post(kChat, R"({"messages": [{"role": "user", "content": "q"}], "max_tokens": 1,
                  "tools": [{"type": "custom", "custom": {"name": "secret"}}]})");
  EXPECT_EQ(notices(), (std::vector<std::string>{
                           "requests have input items of type web_search_call; they are left out",
                           "requests have tools of type local_shell; they are left out",
                           "requests have tools of an unknown type; they are left out",
                           "requests have tools of type custom; they are left out"}));
}

TEST_F(ServiceFieldsTest, ItemsOfResponsesCanBeReferredTo) {
  start_with_states();
  const Json first = post(kResponses, R"({"input": "hi", "max_output_tokens": 5})");
  const Json& item = first["output"][0];
  const std::string id = item["id"];
  const auto ask_with = [&](const Json& answer, int status = 200) {
    return post(kResponses,
                Json({{"input", Json::array({{{"role", "user"}, {"content", "hi"}},
                                             answer,
                                             {{"role", "user"}, {"content", "more"}}})},
                      {"max_output_tokens", 5}})
                    .dump(),
                status);
  };
  const Json in_full = ask_with(item);
  for (const Json& reference :
       {Json({{"type", "item_reference"}, {"id", id}}), Json({{"id", id}})}) {
    const Json by_reference = ask_with(reference);
    EXPECT_EQ(by_reference["output"][0]["content"], in_full["output"][0]["content"]);
    EXPECT_EQ(by_reference["usage"]["input_tokens"], in_full["usage"]["input_tokens"]);
  }
  // A call, whose result comes.
  const Json tools = Json::array({{{"type", "function"}, {"name", "time"}}});
  const Json called = post(
      kResponses,
      Json({{"input", "What time is it?"}, {"tools", tools}, {"tool_choice", "required"}}).dump());
  const Json& call = called["output"][0];
  ASSERT_EQ(call["type"], "function_call");
  EXPECT_EQ(ask_with({{"type", "item_reference"}, {"id", call["id"]}})["usage"]["input_tokens"],
            ask_with(call)["usage"]["input_tokens"]);
  // There is none.
  for (const std::string& other :
       {std::string("msg_1"), std::string(id.begin(), id.end() - 1) + "7", std::string("x"),
        "msg_" + std::string(26, 'a') + "_0", "../" + id, std::string()}) {
    const Json error = ask_with({{"type", "item_reference"}, {"id", other}}, 404)["error"];
    EXPECT_EQ(error["param"], "input[1].id") << error;
    EXPECT_EQ(error["code"], "item_not_found");
  }
  EXPECT_EQ(ask_with({{"type", "item_reference"}}, 400)["error"]["param"], "input[1].id");
  send("DELETE", "/v1/responses/" + first["id"].get<std::string>());
  ask_with({{"type", "item_reference"}, {"id", id}}, 404);
  stop();
  start();  // without states
  EXPECT_EQ(ask_with({{"type", "item_reference"}, {"id", id}}, 400)["error"]["code"], "no_states");
}

TEST_F(ServiceFieldsTest, AStateIsMadeOfOneThing) {
  start_with_states();
  const Json response = post(kResponses, R"({"input": "hi", "max_output_tokens": 2})");
  const Json messages = Json::array({{{"role", "user"}, {"content", "q"}}});
  const auto param = [&](const char* path, const Json& body) {
    return post(path, body.dump(), 400)["error"]["param"];
  };
  EXPECT_EQ(param("/v1/states", {{"prompt", "a"}, {"messages", messages}}), "prompt");
  EXPECT_EQ(param("/v1/states", {{"response", response["id"]}, {"messages", messages}}),
            "response");
  EXPECT_EQ(param("/v1/states", {{"response", response["id"]}, {"prompt", "a"}}), "prompt");
  EXPECT_EQ(param("/v1/states", {{"response", response["id"]}, {"state", response["state"]}}),
            "state");
  EXPECT_EQ(param("/v1/trace", {{"prompt", "a"}, {"messages", messages}}), "prompt");
  EXPECT_EQ(param("/v1/states", Json::object()), "prompt");
  EXPECT_EQ(param("/v1/states", {{"prompt", "a"}, {"name", "a/b"}}), "name");
  EXPECT_EQ(param("/v1/states", {{"prompt", "a"}, {"tags", {""}}}), "tags");
  EXPECT_EQ(param(kCompletions, Json::object()), "prompt");
  EXPECT_EQ(param(kCompletions, {{"prompt", {"a", Json::array()}}}), "prompt[1]");
  post("/v1/states", R"({"prompt": "a", "messages": null, "name": "n"})");
  EXPECT_EQ(
      post(kCompletions, R"({"prompt": "a", "save_state": {"name": "n"}})", 409)["error"]["param"],
      "save_state.name");
}

TEST_F(ServiceFieldsTest, ACallInTheFormThatWasBeforeTools) {
  start();
  Json body = {{"messages", {{{"role", "user"}, {"content", "hi"}}}},
               {"functions", {{{"name", "time"}}, {{"name", "date"}}}},
               {"function_call", {{"name", "date"}}}};
  const Json choice = post(kChat, body.dump())["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "function_call");
  EXPECT_EQ(choice["message"]["function_call"], Json({{"name", "date"}, {"arguments", "{}"}}));
  EXPECT_TRUE(choice["message"]["content"].is_null());
  body["messages"].push_back(choice["message"]);
  body["messages"].push_back({{"role", "function"}, {"name", "date"}, {"content", "Monday"}});
  body["function_call"] = "none";
  body["max_tokens"] = 2;
  EXPECT_FALSE(post(kChat, body.dump())["choices"][0]["message"].contains("function_call"));
  body["functions"][1]["parameters"] = {{"type", "string"}};
  body["function_call"] = {{"name", "date"}};
  EXPECT_EQ(post(kChat, body.dump(), 400)["error"]["param"], "functions[1].parameters");
}

// As it does for the other two.
TEST_F(ServiceFieldsTest, AResponseCanEndWithASentence) {
  ServiceOptions options;
  options.limits.sampling.temperature = 0;
  start(std::move(options));
  // The model would write nothing but full stops.
  Json body = {{"input", "hi"}, {"max_output_tokens", 30}, {"logit_bias", {{"47", 100}}}};
  const size_t without = post(kResponses, body.dump())["usage"]["output_tokens"];
  body["end_with_sentence"] = true;
  const Json with = post(kResponses, body.dump());
  EXPECT_EQ(without, 30u);
  EXPECT_LT(with["usage"]["output_tokens"], 30u);
  EXPECT_EQ(with["status"], "incomplete");
}

}  // namespace
}  // namespace anser
