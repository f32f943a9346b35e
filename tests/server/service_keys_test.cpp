// What a key opens, and what its holder has for himself.
#include <gtest/gtest.h>

#include "server/service_fixture.h"

namespace anser {
namespace {

using http::Answer;
using http::Client;
using openai::Json;

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

// Else those without a key could fill what all bodies have together.
TEST_F(ServiceTest, WhoHasNoKeyIsRefusedBeforeALargeBodyHasCome) {
  ServiceOptions options;
  options.api_keys = {"secret"};
  start(options);
  for (const char* body : {"Content-Length: 16000000\r\n", "Transfer-Encoding: chunked\r\n"}) {
    for (const char* key : {"", "Authorization: Bearer secre\r\n"}) {
      const std::string fields = std::string(body) + key;
      const std::string head = http::get("/v1/completions", fields);
      const std::string begin =
          std::string(body[0] == 'T' ? "ffffff\r\n" : "") + std::string(70'000, ' ');
      const Json answer = json(ask("POST" + head.substr(head.find(' ')) + begin), 401);
      EXPECT_EQ(answer["error"]["code"], "invalid_api_key");
      EXPECT_EQ(answer["error"]["type"], "authentication_error");
    }
  }
  const std::string asked = http::post("/tokenize", R"({"content": "a"})");
  const size_t at = asked.find("\r\n") + 2;
  const std::string key = "Authorization: Bearer secret\r\n";
  EXPECT_EQ(ask(asked.substr(0, at) + key + asked.substr(at)).status, 200);
  const std::string counts = ask(http::get("/metrics", key)).body;
  EXPECT_NE(counts.find("anser_key_requests_total{key=\"key-1\"} 2"), std::string::npos) << counts;
}

// What needs no key is no way around it.
TEST_F(ServiceTest, WhatNeedsNoKeyTakesNoLargeBody) {
  ServiceOptions options;
  options.api_keys = {"secret"};
  start(options);
  for (const char* path : {"/health", "/", "/page/main.js", "/openapi.json"}) {
    EXPECT_EQ(ask(http::get(path, "Content-Length: 4097\r\n")).status, 413) << path;
    EXPECT_EQ(ask(http::get(path, "Transfer-Encoding: chunked\r\n")).status, 413) << path;
    EXPECT_EQ(ask(http::get(path, "Content-Length: 3\r\n") + "abc").status, 200) << path;
  }
}

// Many long prompts hold all places, and a request of another key is served at once.
TEST_F(ServiceTest, AKeyHasItsShareOfThePlaces) {
  ServiceOptions options;
  options.api_keys = {"one", "two"};
  options.limits.max_tokens = 1'000'000'000;
  SchedulerOptions scheduling;
  scheduling.max_batch = 2;
  scheduling.max_queue = 4;
  start(options, scheduling);
  const auto with_key = [](std::string request, const char* key) {
    const std::string field = std::string("Authorization: Bearer ") + key + "\r\n";
    return request.insert(request.find("\r\n") + 2, field);
  };
  const std::string endless = http::post(
      "/v1/completions",
      R"({"prompt": "a", "max_tokens": 1000000000, "stream": true, "logit_bias": {"0": -100}})");
  std::vector<Client> clients;
  for (int i = 0; i < 6; ++i) {
    clients.emplace_back(server_->port());
    clients.back().send(with_key(endless, "one"));
    ASSERT_TRUE(http::soon(
        [&] { return scheduler_->stats().running + scheduler_->stats().queued == i + 1; }));
  }
  EXPECT_EQ(ask(with_key(endless, "one")).status, 429);
  const std::string little = http::post("/v1/completions", R"({"prompt": "a", "max_tokens": 1})");
  EXPECT_EQ(ask(with_key(little, "two")).status, 200);
  const std::string metrics = ask(http::get("/metrics", "Authorization: Bearer two\r\n")).body;
  EXPECT_NE(metrics.find("anser_key_requests_total{key=\"key-1\"} 7\n"), std::string::npos)
      << metrics;
  EXPECT_NE(metrics.find("anser_key_requests_total{key=\"key-2\"} 2\n"), std::string::npos);
  for (Client& client : clients) client.reset();
  EXPECT_TRUE(http::soon([&] { return scheduler_->stats().running == 0; }));
}

// What one key has sent is not to be found out with another: neither from cached_tokens nor from
// what had to be read, at any address.
TEST_F(ServiceTest, TheCacheOfAKeyIsItsOwn) {
  for (const bool shared : {false, true}) {
    stop();
    ServiceOptions options;
    options.api_keys = ApiKeys();
    options.api_keys.add("one", "alice");
    options.api_keys.add("another-one", "alice");
    options.api_keys.add("two", "bob");
    SchedulerOptions scheduling;
    scheduling.shared_cache = shared;
    start(options, scheduling);
    const std::string secret(100, 's');
    const auto cached = [&](const char* key, const std::string& path, const std::string& body) {
      std::string request = http::post(path, body);
      request.insert(request.find("\r\n") + 2,
                     std::string("Authorization: Bearer ") + key + "\r\n");
      const Json answer = Json::parse(ask(request).body, nullptr, false);
      const Json& usage = answer["usage"];
      return usage.contains("input_tokens_details")
                 ? usage["input_tokens_details"]["cached_tokens"].get<int>()
                 : usage["prompt_tokens_details"]["cached_tokens"].get<int>();
    };
    const std::vector<std::pair<std::string, std::string>> requests = {
        {"/v1/completions", R"({"max_tokens": 1, "prompt": ")" + secret + "\"}"},
        {"/v1/chat/completions",
         R"({"max_tokens": 1, "messages": [{"role": "user", "content": ")" + secret + "\"}]}"},
        {"/v1/responses",
         R"({"max_output_tokens": 1, "store": false, "input": "x)" + secret + "\"}"}};
    for (const auto& [path, body] : requests) {
      EXPECT_EQ(cached("one", path, body), 0) << path;
      EXPECT_GT(cached("another-one", path, body), 90) << path;
      EXPECT_EQ(cached("two", path, body) > 90, shared) << path;
    }
  }
}

}  // namespace
}  // namespace anser
