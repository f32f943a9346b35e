// What a header says, to the server as it is: keys in either field, names in addresses, types of
// bodies in any case, and answers before the body.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "anser/error.h"
#include "server/model_name.h"
#include "server/states_fixture.h"

namespace anser {
namespace {

using http::Answer;
using http::Client;
using openai::Json;

class ServiceHeads : public StatesTest {
 protected:
  void start_with_keys() {
    ServiceOptions options;
    options.api_keys = ApiKeys();
    options.api_keys.add("secret", "alice");
    options.api_keys.add("other", "bob");
    start(options);
  }
  int status(const std::string& fields) { return ask(http::get("/v1/models", fields)).status; }
  // As no client needs to: every byte.
  static std::string encoded(const std::string& name) {
    std::string text;
    for (const char c : name) text += fmt::format("%{:02x}", uint8_t(c));
    return text;
  }
  static std::string with(const std::string& fields, std::string request) {
    return request.insert(request.find("\r\n") + 2, fields);
  }
};

TEST_F(ServiceHeads, AKeyComesInEitherFieldInAnyCase) {
  start_with_keys();
  for (const char* good : {"Authorization: Bearer secret\r\n", "authorization: bearer secret\r\n",
                           "AUTHORIZATION: BEARER secret\r\n", "Authorization: Bearer   secret\r\n",
                           "x-api-key: secret\r\n", "X-API-Key: secret\r\n", "X-Api-Key:secret\r\n",
                           // One of the two may be for somebody else.
                           "Authorization: Bearer none\r\nx-api-key: secret\r\n",
                           "Authorization: Bearer secret\r\nx-api-key: none\r\n",
                           "Authorization: Basic YTpi\r\nx-api-key: secret\r\n"}) {
    EXPECT_EQ(status(good), 200) << good;
  }
  for (const char* bad :
       {"", "x-api-key:\r\n", "x-api-key: secre\r\n", "x-api-key: Bearer secret\r\n",
        "x-api-key: SECRET\r\n", "api-key: secret\r\n", "Authorization: secret\r\n",
        "Authorization: Bearersecret\r\n", "Authorization: Bearer\r\n",
        "Authorization: Basic secret\r\n",
        "Authorization: Bearer none\r\nx-api-key: nor this\r\n"}) {
    EXPECT_EQ(status(bad), 401) << bad;
  }
  const std::string metrics = ask(http::get("/metrics", "x-api-key: other\r\n")).body;
  EXPECT_NE(metrics.find("anser_key_requests_total{key=\"alice\"} 10\n"), std::string::npos)
      << metrics;
  EXPECT_NE(metrics.find("anser_key_requests_total{key=\"bob\"} 1\n"), std::string::npos);
}

TEST_F(ServiceHeads, ARefusalSaysHowToAsk) {
  start_with_keys();
  for (const std::string& request :
       {http::get("/v1/models"), http::post("/v1/completions", R"({"prompt": "a"})"),
        http::get("/v1/states/x/content")}) {
    const Answer answer = ask(request);
    EXPECT_EQ(answer.status, 401) << request;
    EXPECT_EQ(answer.headers["WWW-Authenticate"], "Bearer realm=\"anser\"") << request;
    const Json error = Json::parse(answer.body, nullptr, false)["error"];
    EXPECT_EQ(error["code"], "invalid_api_key");
    EXPECT_NE(error["message"].get<std::string>().find("x-api-key"), std::string::npos);
  }
  EXPECT_EQ(ask(http::get("/nothing")).headers.count("WWW-Authenticate"), 0);
}

// Every address that takes a body, found in the description, which is made of the table.
TEST_F(ServiceHeads, WhoHasNoKeyIsToldSoBeforeTheBodyAndBeforeItIsAskedFor) {
  start_with_keys();
  int bodies = 0;
  const Json paths = get("/openapi.json")["paths"];
  for (const auto& [path, methods] : paths.items()) {
    for (const auto& [method, operation] : methods.items()) {
      if (!operation.contains("requestBody")) continue;
      ++bodies;
      for (const char* length : {"Content-Length: 60000\r\n", "Transfer-Encoding: chunked\r\n"}) {
        std::string line = method == "post" ? "POST " : method == "patch" ? "PATCH " : method;
        line += path.substr(0, path.find('{')) + (path.find('{') == path.npos ? "" : "x");
        if (path.ends_with("/fork")) line += "/fork";
        Client client(server_->port());
        client.send(line + " HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n" + length + "\r\n");
        EXPECT_TRUE(client.read_until("\r\n").starts_with("HTTP/1.1 401 ")) << line;
      }
    }
  }
  EXPECT_GT(bodies, 7);
}

TEST_F(ServiceHeads, ANameOfTheModelWithASlashIsReached) {
  ServiceOptions options;
  options.model_name = "RWKV/goose";
  start(options);
  for (const char* path :
       {"/v1/models/RWKV/goose", "/v1/models/RWKV%2Fgoose", "/v1/models/%52WKV%2fgoos%65"}) {
    EXPECT_EQ(get(path)["id"], "RWKV/goose") << path;
  }
  get("/v1/models/RWKV", 404);
  get("/v1/models/RWKV/goose/x", 404);
  EXPECT_EQ(get("/v1/models/RWKV/duck", 404)["error"]["code"], "model_not_found");
  get("/v1/models/RWKV/../goose", 400);
}

TEST_F(ServiceHeads, EveryNameThatAModelMayHaveIsReachedAndOthersAreRefused) {
  for (const std::string name :
       {"goose", "a/b/c", "a b", "?", "#", "%", "%2F", "a+b", "...", "{id}", "RWKV-7 7.3M", "鹅",
        "\"", "&=;:@$,!'()*", "a.", ".a/..b", "Ünïcode/\xF0\x9F\xAA\xBF"}) {
    check_model_name(name);
    stop();
    ServiceOptions options;
    options.model_name = name;
    start(std::move(options));
    EXPECT_EQ(get("/v1/models")["data"][0]["id"], name);
    EXPECT_EQ(get("/v1/models/" + encoded(name))["id"], name);
  }
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("/"), std::string("a/"),
        std::string("/a"), std::string("a//b"), std::string("a/../b"), std::string("./a"),
        std::string("a\\b"), std::string("a\nb"), std::string("a\0b", 3), std::string("\x7f"),
        std::string("\xff"), std::string(201, 'a')}) {
    EXPECT_FALSE(can_be_model_name(name)) << name;
    EXPECT_THROW(check_model_name(name), Error) << name;
  }
}

// Of states and of tags, which a query names.
TEST_F(ServiceHeads, EveryNameThatAStateMayHaveIsReached) {
  start_with_states();
  for (const std::string name : {"a", "a b", " a ", "?", "#", "%", "%2F", "a+b", "...", "{id}",
                                 "content", "fork", "resp_x", "鹅", "\"'<>", "&=;"}) {
    const Json state =
        post("/v1/states", Json({{"prompt", "ab"}, {"name", name}, {"tags", {name}}}).dump());
    EXPECT_EQ(get("/v1/states/" + encoded(name))["id"], state["id"]) << name;
    EXPECT_EQ(download(encoded(name)).size(), state["raw_bytes"]) << name;
    EXPECT_EQ(get("/v1/states?tag=" + encoded(name))["data"].size(), 1u) << name;
    const Json child = send("POST", "/v1/states/" + encoded(name) + "/fork");
    EXPECT_EQ(get("/v1/states?parent=" + encoded(name))["data"][0]["id"], child["id"]) << name;
    send("DELETE", "/v1/states/" + encoded(name));
  }
  for (const char* name : {"a/b", "/", ".", "..", "a\\b", "\n"}) {
    post("/v1/states", Json({{"prompt", "ab"}, {"name", name}}).dump(), 400);
  }
}

// They would be dropped without a word.
TEST_F(ServiceHeads, LabelsOfAStateFileAreRefusedBesideJson) {
  start_with_states();
  for (const char* name : {"name", "tag", "note", "parent"}) {
    const std::string path = std::string("/v1/states?") + name + "=x";
    EXPECT_EQ(post(path, R"({"prompt": "abc"})", 400)["error"]["param"], name);
  }
  EXPECT_EQ(stored(), 0u);
  post("/v1/states?other=x", R"({"prompt": "abc"})");
}

TEST_F(ServiceHeads, TypesOfBodiesAreReadInAnyCaseAndWithParameters) {
  start_with_states();
  const std::string id = post("/v1/states", R"({"prompt": "abc"})")["id"];
  const std::string file = download(id);
  for (const char* type :
       {"application/octet-stream", "Application/Octet-Stream",
        "APPLICATION/OCTET-STREAM; charset=binary", "application/octet-stream ;x"}) {
    const std::string field = std::string("Content-Type: ") + type + "\r\n";
    EXPECT_EQ(json(ask(with(field, http::post("/v1/states", file))), 200)["tokens"], 4) << type;
  }
  for (const char* type : {"application/json", "Application/JSON; Charset=UTF-8", "text/plain",
                           "application/octet-streams"}) {
    const std::string field = std::string("Content-Type: ") + type + "\r\n";
    json(ask(with(field, http::post("/v1/states", R"({"prompt": "abc"})"))), 200);
    json(ask(with(field, http::post("/v1/completions", R"({"prompt": "a", "max_tokens": 1})"))),
         200);
  }
}

}  // namespace
}  // namespace anser
