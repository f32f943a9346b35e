// Bodies that are made to cost more than they weigh, and errors about them.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "server/service_fixture.h"

namespace anser {
namespace {

constexpr const char* kPostRoutes[] = {
    "/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/states", "/v1/trace",
    "/tokenize",       "/detokenize"};

std::string repeated(const std::string& unit, size_t times) {
  std::string text;
  text.reserve(unit.size() * times);
  for (size_t i = 0; i < times; ++i) text += unit;
  return text;
}

class JsonBombsTest : public ServiceTest {
 protected:
  // A body that is an object with `value` in a field that nobody asks for.
  static std::string with(const std::string& value) {
    return R"({"prompt":"a","max_tokens":1,"extra":)" + value + "}";
  }

  void expect_short(const Answer& answer) {
    EXPECT_LE(answer.body.size(), openai::kMostErrorBytes) << answer.body.substr(0, 300);
    const Json error = Json::parse(answer.body, nullptr, false);
    EXPECT_TRUE(error.is_object() && error.contains("error")) << answer.body.substr(0, 300);
  }
};

TEST_F(JsonBombsTest, NoBodyCostsMoreThanItsBytes) {
  start_with_states();
  std::string keys = "{\"k\":0";
  for (int i = 0; i < 64'000; ++i) keys += ",\"" + std::to_string(i) + "\":1";
  const std::string bombs[] = {
      keys + "}",                                         // 11 s
      "[" + repeated("[],", 50'000) + "[]]",              //
      "[" + repeated("{},", 50'000) + "{}]",              //
      repeated("{\"a\":", 60) + "1" + repeated("}", 60),  //
      "[" + repeated("1.5e-7,", 20'000) + "1]",           //
      "[" + repeated("\"\\u00e9\",", 20'000) + "1]",      //
      "\"" + repeated("x", 200'000) + "\"",               //
      "{\"a\":1" + repeated(",\"a\":1", 30'000) + "}",    //
  };
  const auto start = std::chrono::steady_clock::now();
  for (const std::string& bomb : bombs) {
    EXPECT_EQ(ask(http::post("/v1/completions", with(bomb))).status, 200) << bomb.substr(0, 50);
  }
  for (const char* route : kPostRoutes) ask(http::post(route, with(bombs[1])));
  // Some milliseconds each; the bound is for slow machines and for builds with sanitizers.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(120));
}

TEST_F(JsonBombsTest, LimitsOfBodiesAreNamed) {
  start();
  const auto message = [&](const std::string& value) {
    const Json error = post("/v1/completions", with(value), 400);
    return error["error"]["message"].get<std::string>();
  };
  EXPECT_NE(message(repeated("[", 100'000)).find("nested more than 64 deep"), std::string::npos);
  std::string keys = "{\"k\":0";
  for (int i = 0; i < 65'536; ++i) keys += ",\"" + std::to_string(i) + "\":1";
  EXPECT_NE(message(keys + "}").find("more than 65536 keys"), std::string::npos);
  EXPECT_NE(message("[" + repeated("1,", 1 << 22) + "1]").find("more than 4194304 values"),
            std::string::npos);
}

// Strings that are JSON again had no limit on their depth, and ended the process.
TEST_F(JsonBombsTest, JsonWithinStringsHasTheSameGuard) {
  start_with_states();
  std::string keys = "{\\\"k\\\":0";
  for (int i = 0; i < 40'000; ++i) keys += ",\\\"" + std::to_string(i) + "\\\":1";
  for (const std::string& inner :
       {repeated("[", 200'000), repeated("[", 200'000) + repeated("]", 200'000),
        repeated("{\\\"a\\\":", 100'000), keys + "}"}) {
    const std::string call =
        R"({"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f",)"
        R"("arguments":")" +
        inner + R"("}}]})";
    const std::string output = R"({"role":"tool","tool_call_id":"c","content":")" + inner + R"("})";
    const std::string chat = R"({"max_tokens":1,"messages":[{"role":"user","content":"a"},)" +
                             call + "," + output + "]}";
    // Models of this size need not be asked to read it.
    for (const char* route : {"/v1/chat/completions", "/v1/states"}) {
      const int status = ask(http::post(route, R"({"state":"none",)" + chat.substr(1))).status;
      EXPECT_EQ(status, 404);
    }
    const std::string item =
        R"({"type":"function_call","call_id":"c","name":"f","arguments":")" + inner + R"("})";
    const Answer answer = ask(
        http::post("/v1/responses", R"({"previous_response_id":"resp_x","input":[)" + item + "]}"));
    EXPECT_EQ(answer.status, 404);
  }
  EXPECT_EQ(ask(http::get("/health")).status, 200);
}

TEST_F(JsonBombsTest, NotesInTheQueryHaveTheSameGuard) {
  start_with_states();
  for (const std::string& note : {repeated("[", 5'000), repeated("[", 65) + repeated("]", 65)}) {
    const std::string request = http::post("/v1/states?note=" + note, "x");
    const Answer answer =
        ask(request.substr(0, request.find("\r\n")) + "\r\nContent-Type: application/octet-stream" +
            request.substr(request.find("\r\n")));
    EXPECT_EQ(answer.status, 400);
    expect_short(answer);
  }
}

TEST_F(JsonBombsTest, ErrorsAreShortWhateverWasSent) {
  start_with_states();
  const std::string digits(20'000, '9'), bytes = repeated("\\u0001", 5'000);
  std::vector<std::string> values = {digits,
                                     "-1e" + digits,
                                     "\"" + digits + "\"",
                                     "\"" + bytes + "\"",
                                     "{\"" + digits + "\":{}}",
                                     "[{\"a\":\"" + digits + "\"}]",
                                     "[\"" + digits + "\"]"};
  for (const char* field : {"prompt",
                            "messages",
                            "input",
                            "state",
                            "previous_response_id",
                            "temperature",
                            "n",
                            "seed",
                            "max_tokens",
                            "stop",
                            "stream",
                            "stream_options",
                            "logit_bias",
                            "response_format",
                            "save_state",
                            "tools",
                            "tool_choice",
                            "reasoning_effort",
                            "reasoning",
                            "text",
                            "metadata",
                            "name",
                            "tags",
                            "note",
                            "response",
                            "content",
                            "tokens",
                            "store",
                            "conversation",
                            "best_of",
                            "functions",
                            "function_call",
                            "include",
                            "modalities",
                            "truncation"}) {
    for (const std::string& value : values) {
      for (const char* route : {"/v1/completions", "/v1/chat/completions", "/v1/responses",
                                "/v1/states", "/tokenize", "/detokenize"}) {
        const std::string body = std::string("{\"") + field + "\":" + value + "}";
        const Answer answer = ask(http::post(route, body));
        if (answer.status >= 400) expect_short(answer);
      }
    }
  }
}

TEST_F(JsonBombsTest, ErrorsAboutPathsAndQueriesAreShort) {
  start_with_states();
  const std::string long_name(8'000, 'x'), bytes = repeated("%F0%9F%98%80", 1'000);
  for (const std::string& name : {long_name, bytes}) {
    for (const std::string& request :
         {http::get("/v1/models/" + name), http::get("/v1/states/" + name),
          http::get("/v1/states/" + name + "/content"), http::get("/v1/responses/" + name),
          http::get("/" + name), http::post("/v1/states/" + name + "/fork", "{}"),
          http::post("/v1/states?name=" + name, "{}")}) {
      const Answer answer = ask(request);
      EXPECT_GE(answer.status, 400);
      expect_short(answer);
    }
  }
  const std::string request = http::get("/health");
  const Answer answer = ask(long_name + request.substr(request.find(' ')));
  EXPECT_EQ(answer.status, 405);
  expect_short(answer);
}

TEST_F(JsonBombsTest, TokensAreCountedBeforeTheyAreListed) {
  ServiceOptions options;
  options.limits.max_prompt_tokens = 100;
  start(std::move(options));
  const std::string text(1'000'000, 'a');
  for (const std::string& body :
       {R"({"prompt":")" + text + "\"}", R"({"prompt":["a",")" + text + "\"]}",
        R"({"prompt":[1)" + repeated(",1", 100) + "]}"}) {
    const Json error = post("/v1/completions", body, 400)["error"];
    EXPECT_NE(error["message"].get<std::string>().find("at most 100 tokens"), std::string::npos);
  }
  const std::string message = R"([{"role":"user","content":")" + text + "\"}]";
  EXPECT_EQ(post("/v1/chat/completions", R"({"messages":)" + message + "}", 400)["error"]["param"],
            "messages");
}

TEST_F(JsonBombsTest, TokenizingHasLimits) {
  start();
  const std::string text(size_t{5} << 20, 'a');
  EXPECT_EQ(post("/tokenize", R"({"content":")" + text + "\"}", 400)["error"]["param"], "content");
  EXPECT_EQ(post("/tokenize", R"({"content":"ab"})").dump(), R"({"tokens":[98,99]})");
  EXPECT_EQ(post("/tokenize", R"({"content":""})").dump(), R"({"tokens":[]})");
}

}  // namespace
}  // namespace anser
