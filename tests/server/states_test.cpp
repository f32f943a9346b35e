// States as clients see them: kept, and gone on from.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>

#include "server/states_fixture.h"

namespace anser {
namespace {

TEST_F(StatesTest, WhereNoneAreKeptTheOptionIsNamed) {
  start();
  const auto expect_refusal = [](const Json& answer) {
    const std::string message = answer["error"]["message"];
    EXPECT_NE(message.find("--state-dir"), std::string::npos) << message;
  };
  expect_refusal(get("/v1/states", 400));
  expect_refusal(post("/v1/states", R"({"prompt": "a"})", 400));
  for (const char* path : {"/v1/states/a", "/v1/states/a/content", "/v1/responses/resp_a"}) {
    expect_refusal(get(path, 400));
  }
  expect_refusal(post("/v1/states/a/fork", "{}", 400));
  expect_refusal(send("DELETE", "/v1/states/a", "", 400));
  expect_refusal(post("/v1/completions", R"({"prompt": "a", "state": "b"})", 400));
  expect_refusal(post("/v1/completions", R"({"prompt": "a", "save_state": true})", 400));
  expect_refusal(post("/v1/responses", R"({"input": "a", "previous_response_id": "r"})", 400));
  expect_refusal(post("/v1/responses", R"({"input": "a", "store": true})", 400));
}

// With what was written remembered, and with nothing remembered.
TEST_F(StatesTest, GoingOnIsNeverHavingStopped) {
  for (const size_t cache_bytes : {size_t(64) << 20, size_t(0)}) {
    SchedulerOptions scheduling;
    scheduling.cache_bytes = cache_bytes;
    start_with_states({}, scheduling);
    const Json whole =
        post("/v1/completions", R"({"prompt": "ab", "max_tokens": 30, "save_state": true})");
    const Json begun =
        post("/v1/completions", R"({"prompt": "ab", "max_tokens": 11, "save_state": true})");
    const std::string state = begun["choices"][0]["state"];
    // Another server, which knows the folder only.
    start_with_states({}, scheduling);
    const Json rest =
        post("/v1/completions",
             fmt::format(R"({{"state": "{}", "max_tokens": 19, "save_state": true}})", state));
    EXPECT_EQ(text_of(begun) + text_of(rest), text_of(whole));
    EXPECT_EQ(checksum(rest), checksum(whole));
    EXPECT_EQ(rest["usage"]["prompt_tokens"], 3 + 11);
    EXPECT_EQ(rest["usage"]["prompt_tokens_details"]["cached_tokens"], 3 + 11);
  }
}

// Wherever it is cut, also within a character: of é, 你 and 😀 only bytes are allowed, a token each.
TEST_F(StatesTest, ACutWithinACharacterLosesNothing) {
  const std::string bytes = "\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80";
  Json bias = Json::object();
  for (int token = 0; token < 300; ++token) {
    if (token == 0 || bytes.find(char(token - 1)) == std::string::npos || token > 256) {
      bias[std::to_string(token)] = -100;
    }
  }
  const std::string only = R"("logit_bias": )" + bias.dump();
  start_with_states();
  const auto written = [&](const std::string& from, int tokens, bool streamed) {
    const std::string body =
        fmt::format(R"({{{}, "max_tokens": {}, "save_state": true, {}, "stream": {}}})", from,
                    tokens, only, streamed);
    if (!streamed) {
      const Json choice = post("/v1/completions", body)["choices"][0];
      return std::pair(choice["text"].get<std::string>(), choice["state"].get<std::string>());
    }
    std::string text, state;
    for (const Json& event : stream("/v1/completions", body)) {
      const Json& choice = event["choices"][0];
      text += choice["text"].get<std::string>();
      if (choice.contains("state")) state = choice["state"];
    }
    return std::pair(text, state);
  };
  constexpr int kAll = 16;
  const std::string whole = written(R"("prompt": "ab")", kAll, false).first;
  std::string whole_ones = whole;
  for (size_t at; (at = whole_ones.find("\ufffd")) != std::string::npos;) whole_ones.erase(at, 3);
  EXPECT_NE(whole_ones, "") << whole;
  for (int cut = 1; cut < kAll; ++cut) {
    for (const bool streamed : {false, true}) {
      const auto [first, state] = written(R"("prompt": "ab")", cut, streamed);
      const auto rest = written(fmt::format(R"("state": "{}")", state), kAll - cut, streamed);
      EXPECT_EQ(first + rest.first, whole) << cut;
    }
  }
}

// By its tokens a prompt can end within a character, which the text then begins with.
TEST_F(StatesTest, APromptMayEndWithinACharacter) {
  start_with_states();
  const auto with = [&](const std::string& from, const std::string& next) {
    Json bias = Json::object();
    for (int token = 0; token < 300; ++token) bias[std::to_string(token)] = -100;
    bias[next] = 0;
    return post("/v1/completions", fmt::format(R"({{{}, "max_tokens": 1, "logit_bias": {}}})", from,
                                               bias.dump()))["choices"][0]["text"];
  };
  EXPECT_EQ(with(R"("prompt": [0, 98, 229, 190])", "161"), "\u4f60");
  EXPECT_EQ(with(R"("prompt": [0, 98, 229, 190], "echo": true)", "161"), "a\u4f60");
  EXPECT_EQ(with(R"("prompt": [0, 98, 229, 190], "echo": true)", "98"), "a\ufffda");
  post("/v1/states", R"({"prompt": [0, 98, 229], "name": "begun"})");
  EXPECT_EQ(with(R"("state": "begun")", "98"), "\ufffda");
  EXPECT_EQ(with(R"("state": "begun", "prompt": [190, 161], "echo": true)", "98"), "\u4f60a");
  EXPECT_EQ(with(R"("state": "begun", "prompt": [190], "echo": true)", "161"), "\u4f60");
}

TEST_F(StatesTest, APromptsStateIsWhatTheEngineMakes) {
  start_with_states();
  const Json made = post("/v1/states", R"({"prompt": "abc", "name": "first", "tags": ["x", "y"],
                                           "note": {"k": [1, "ä"]}})");
  EXPECT_EQ(made["object"], "state");
  EXPECT_EQ(made["tokens"], 4);
  EXPECT_EQ(made["name"], "first");
  EXPECT_EQ(made["tags"], Json({"x", "y"}));
  EXPECT_EQ(made["note"], Json::parse(R"({"k": [1, "ä"]})"));
  EXPECT_EQ(made["parent"], Json());
  EXPECT_EQ(made["fingerprint"], fmt::format("{:016x}", model_->fingerprint()));
  const auto alone = Engine::create(*model_, {.device = Device::cpu, .threads = 1});
  State state = model_->initial_state();
  alone->forward(state, std::vector<Token>{0, 'a' + 1, 'b' + 1, 'c' + 1});
  EXPECT_EQ(download("first"), file_of(state));
  EXPECT_EQ(made["raw_bytes"], file_of(state).size());
  // As tokens, and in two pieces.
  const Json tokens = post("/v1/states", R"({"prompt": [0, 98, 99, 100]})");
  EXPECT_EQ(tokens["checksum"], made["checksum"]);
  const Json begun = post("/v1/states", R"({"prompt": "a"})");
  const Json rest = post("/v1/states", fmt::format(R"({{"prompt": "bc", "state": "{}"}})",
                                                   begun["id"].get<std::string>()));
  EXPECT_EQ(rest["checksum"], made["checksum"]);
  EXPECT_EQ(rest["parent"], begun["id"]);
}

TEST_F(StatesTest, AConversationGoesOnFromItsMessages) {
  start_with_states();
  post("/v1/states", R"({"name": "rules", "messages": [{"role": "system", "content": "Be brief."},
                                                       {"role": "user", "content": "Hi"}]})");
  const std::string rest = R"("max_tokens": 20, "save_state": true})";
  const Json from_state = post("/v1/chat/completions",
                               R"({"state": "rules", "messages": [{"role": "user", "content": "x"}],
                                   )" +
                                   rest);
  const Json whole = post("/v1/chat/completions",
                          R"({"messages": [{"role": "system", "content": "Be brief."},
                                           {"role": "user", "content": "Hi"},
                                           {"role": "user", "content": "x"}], )" +
                              rest);
  EXPECT_EQ(from_state["choices"][0]["message"], whole["choices"][0]["message"]);
  EXPECT_EQ(checksum(from_state), checksum(whole));
  EXPECT_EQ(from_state["usage"]["prompt_tokens"], whole["usage"]["prompt_tokens"]);
  // And behind the answer, whatever that was.
  const std::string state = from_state["choices"][0]["state"];
  const Json next =
      post("/v1/chat/completions", fmt::format(R"({{"state": "{}", "messages": [{{"role": "user",
                                         "content": "y"}}], {})",
                                               state, rest));
  const Json by_hand =
      post("/v1/completions", fmt::format(R"({{"state": "{}", "prompt": "\n\nUser: y\n\nAssistant:",
                      "stop": ["\n\nUser:", "\nUser:", "\n\nSystem:"], {})",
                                          state, rest));
  EXPECT_EQ(checksum(next), checksum(by_hand));
}

// Where the prompt has opened a thought, or the model has one: what is kept is what the messages
// would make, were they sent again.
TEST_F(StatesTest, ThoughtsAreNotRemembered) {
  start_with_states();
  const std::string hi = R"({"role": "user", "content": "hi"})";
  const Json answer = post("/v1/chat/completions",
                           R"({"messages": [)" + hi + R"(], "reasoning_effort": "none", "n": 2,
                               "max_tokens": 40, "temperature": 1, "seed": 3, "logit_bias":
                               {"0": -100, "63": 100}, "stop": ["zz"], "save_state": true})");
  for (size_t i = 0; i < 2; ++i) {
    const Json& message = answer["choices"][i]["message"];
    const Json whole = post("/v1/states", Json({{"messages", {Json::parse(hi), message}}}).dump());
    EXPECT_EQ(checksum(answer, i), whole["checksum"]) << message;
    EXPECT_FALSE(message.contains("reasoning_content"));
  }
  // A thought that was cut off may go on.
  const Json begun =
      post("/v1/chat/completions", R"({"messages": [)" + hi + R"(], "reasoning_effort": "medium",
                              "max_tokens": 7, "logit_bias": {"0": -100}, "save_state": true})");
  const int tokens = begun["usage"]["total_tokens"];
  EXPECT_EQ(get("/v1/states/" + begun["choices"][0]["state"].get<std::string>())["tokens"], tokens);
}

TEST_F(StatesTest, EveryChoiceKeepsItsOwn) {
  start_with_states();
  const std::string root = post("/v1/states", R"({"prompt": "ab"})")["id"];
  const std::string wanted = fmt::format(
      R"({{"state": "{}", "prompt": ["c", "d"], "n": 2, "max_tokens": 9, "temperature": 1, "seed": 4,
          "save_state": {{"tags": ["t"], "note": "n"}})",
      root);
  const Json whole = post("/v1/completions", wanted + "}");
  EXPECT_EQ(whole["usage"]["prompt_tokens"], 2 * (3 + 1));
  std::vector<std::string> texts(4), states(4);
  for (const Json& event : stream("/v1/completions", wanted + R"(, "stream": true})")) {
    const Json& choice = event["choices"][0];
    const size_t index = choice["index"];
    texts.at(index) += choice["text"];
    EXPECT_EQ(choice.contains("state"), !choice["finish_reason"].is_null());
    if (choice.contains("state")) states.at(index) = choice["state"];
  }
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(texts[i], text_of(whole, i));
    const Json state = get("/v1/states/" + states[i]);
    EXPECT_EQ(state["checksum"], checksum(whole, i)) << i;
    EXPECT_EQ(state["parent"], root);
    EXPECT_EQ(state["note"], "n");
  }
  EXPECT_EQ(get("/v1/states?tag=t")["data"].size(), 8u);
  EXPECT_EQ(get("/v1/states?parent=" + root)["data"].size(), 8u);
}

TEST_F(StatesTest, BeginningsBehindAStateAreRemembered) {
  start_with_states();
  post("/v1/states", R"({"prompt": "ab", "name": "s"})");
  const std::string fork = post("/v1/states/s/fork", "{}")["id"];
  const std::string wanted = R"("prompt": "cdefghijkl", "max_tokens": 5})";
  const Json first = post("/v1/completions", R"({"state": "s", )" + wanted);
  EXPECT_EQ(first["usage"]["prompt_tokens_details"]["cached_tokens"], 3);
  // The fork is the same state.
  for (const std::string& state : {std::string("s"), fork}) {
    const Json again = post("/v1/completions", R"({"state": ")" + state + R"(", )" + wanted);
    EXPECT_EQ(again["choices"], first["choices"]);
    EXPECT_EQ(again["usage"]["prompt_tokens_details"]["cached_tokens"], 3 + 10);
  }
}

TEST_F(StatesTest, AnAnswerIsNotLostWithItsState) {
  StateStoreOptions tight;
  tight.max_disk_bytes = 1;
  start_with_states(tight);
  const Json answer =
      post("/v1/completions", R"({"prompt": "ab", "max_tokens": 5, "save_state": true})");
  EXPECT_EQ(answer["usage"]["completion_tokens"], 5);
  EXPECT_TRUE(answer["choices"][0]["state"].is_null());
  const std::string error = answer["choices"][0]["state_error"];
  EXPECT_NE(error.find("full"), std::string::npos) << error;
  const Json refused = post("/v1/states", R"({"prompt": "ab"})", 507);
  EXPECT_EQ(refused["error"]["code"], "store_full");
  EXPECT_EQ(answer["choices"][0]["state_error_code"], "store_full");
  const Json response = post("/v1/responses", R"({"input": "ab", "max_output_tokens": 5})");
  EXPECT_EQ(response["store"], false);
  EXPECT_NE(response["state_error"].get<std::string>().find("full"), std::string::npos);
  EXPECT_EQ(stored(), 0u);
  const std::string metrics = ask(http::get("/metrics")).body;
  EXPECT_NE(metrics.find("\nanser_states_failed_total 3\n"), std::string::npos) << metrics;
}

// As when the server is ended and patience with it.
TEST_F(StatesTest, WhatIsBeingWrittenIsSavedAtTheEnd) {
  start_with_states();
  const std::string endless =
      R"("prompt": "ab", "max_tokens": 1000000000, "logit_bias": {"0": -100})";
  Client saving(server_->port()), other(server_->port()), streaming(server_->port());
  saving.send(http::post("/v1/completions", "{" + endless + R"(, "save_state": true})"));
  streaming.send(
      http::post("/v1/completions", "{" + endless + R"(, "save_state": true, "stream": true})"));
  other.send(http::post("/v1/completions", "{" + endless + "}"));
  ASSERT_TRUE(http::soon([&] {
    return scheduler_->stats().running == 3 && scheduler_->stats().generated_tokens > 30;
  }));
  scheduler_->conclude();
  EXPECT_EQ(other.read_answer().status, 503);
  const Json answer = json(saving.read_answer(), 200);
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
  EXPECT_NE(streaming.read_answer().body.find("\"state\":\""), std::string::npos);
  const int written = answer["usage"]["completion_tokens"];
  const std::string sum = checksum(answer);
  start_with_states();
  const Json again =
      post("/v1/completions",
           fmt::format(R"({{"prompt": "ab", "max_tokens": {}, "logit_bias": {{"0": -100}},
                      "save_state": true}})",
                       written));
  EXPECT_EQ(text_of(again), text_of(answer));
  EXPECT_EQ(checksum(again), sum);
  EXPECT_EQ(stored(), 3u);
}

TEST_F(StatesTest, WhoGoesAwayLeavesNothingBehind) {
  start_with_states();
  Client client(server_->port());
  client.send(http::post("/v1/completions", R"({"prompt": "a", "max_tokens": 1000000000,
                         "logit_bias": {"0": -100}, "save_state": true})"));
  ASSERT_TRUE(http::soon([&] { return scheduler_->stats().running == 1; }));
  client.reset();
  ASSERT_TRUE(http::soon([&] { return scheduler_->stats().running == 0; }));
  desk_->errands().wait();
  EXPECT_EQ(stored(), 0u);
}

TEST(Errands, AllAreRunBeforeTheEnd) {
  std::atomic<int> count{0};
  {
    Errands errands(3, 10);
    for (int i = 0; i < 100; ++i) {
      errands.add([&] {
        ++count;
        errands.add([&] { ++count; });
      });
    }
    errands.wait();
    EXPECT_EQ(count, 200);
    EXPECT_FALSE(errands.busy());
    for (int i = 0; i < 100; ++i) errands.add([&] { ++count; });
  }
  EXPECT_EQ(count, 300);
}

}  // namespace
}  // namespace anser
