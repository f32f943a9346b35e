// /openapi.json says of every address what it does, and of nothing else.
#include "server/openapi.h"

#include <gtest/gtest.h>

#include <set>

#include "anser/error.h"
#include "server/service_fixture.h"

namespace anser {
namespace {

using openai::Json;

void collect_references(const Json& value, std::set<std::string>& to) {
  for (const auto& [key, member] : value.items()) {
    if (value.is_object() && key == "$ref") to.insert(member.get<std::string>());
    if (member.is_structured()) collect_references(member, to);
  }
}

// An address as it may be asked for.
std::string filled(std::string path) {
  for (size_t at; (at = path.find('{')) != path.npos;) {
    path.replace(at, path.find('}') + 1 - at, "x");
  }
  return path;
}

TEST_F(ServiceTest, TheDescriptionIsCompleteAndRefersToWhatIsThere) {
  start();
  const Json document = get("/openapi.json");
  EXPECT_EQ(document["openapi"], "3.1.0");
  std::set<std::string> used;
  collect_references(document, used);
  for (const std::string& reference : used) {
    ASSERT_TRUE(reference.starts_with("#/")) << reference;
    EXPECT_TRUE(document.contains(Json::json_pointer(reference.substr(1)))) << reference;
  }
  for (const char* kind : {"schemas", "parameters", "responses"}) {
    for (const auto& [name, unused] : document["components"][kind].items()) {
      // Nobody needs a key here.
      if (name == std::string("401")) continue;
      EXPECT_TRUE(used.contains(std::string("#/components/") + kind + "/" + name)) << name;
    }
  }
  std::set<std::string> ids;
  int operations = 0;
  for (const auto& [path, methods] : document["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      ++operations;
      EXPECT_TRUE(ids.insert(operation["operationId"]).second) << path;
      EXPECT_FALSE(operation["summary"].get<std::string>().empty()) << path;
      EXPECT_TRUE(operation["responses"]["200"].contains("content")) << path;
      EXPECT_EQ(operation.contains("security"), false);
      // What stands in braces is described, once.
      const auto braces = std::count(path.begin(), path.end(), '{');
      const Json parameters = operation.value("parameters", Json::array());
      const auto in_path = std::count_if(parameters.begin(), parameters.end(), [&](const Json& is) {
        const std::string at = is["$ref"].get<std::string>().substr(1);
        return document[Json::json_pointer(at)]["in"] == "path";
      });
      EXPECT_EQ(braces, in_path) << path;
    }
  }
  EXPECT_GT(operations, 20);
}

// Both are made of one table: what the one has the other has.
TEST_F(ServiceTest, WhatIsDescribedIsThereAndNothingElseIs) {
  start();
  const Json paths = get("/openapi.json")["paths"];
  for (const auto& [path, methods] : paths.items()) {
    std::set<std::string> described;
    for (const auto& [method, unused] : methods.items()) described.insert(method);
    for (const char* method : {"get", "post", "put", "patch", "delete"}) {
      std::string line = method;
      for (char& c : line) c = char(c - 'a' + 'A');
      const Answer answer = ask(line + http::get(filled(path)).substr(3));
      EXPECT_EQ(answer.status == 405, !described.contains(method)) << line << " " << path;
      const Json error = Json::parse(answer.body, nullptr, false);
      if (answer.status != 404) continue;
      EXPECT_NE(error["error"]["message"], "there is nothing at this path") << path;
    }
  }
}

TEST_F(ServiceTest, AStatusThatIsAnsweredIsDescribed) {
  start();
  const Json paths = get("/openapi.json")["paths"];
  const auto described = [&](const char* path, const char* method, int status) {
    return paths[path][method]["responses"].contains(std::to_string(status));
  };
  EXPECT_TRUE(described("/v1/completions", "post", ask(http::post("/v1/completions", "{")).status));
  EXPECT_TRUE(described("/v1/models/{id}", "get", ask(http::get("/v1/models/a/b")).status));
  EXPECT_TRUE(described("/v1/states/{id}", "get", ask(http::get("/v1/states/x")).status));
  for (const int status : {404, 409, 429, 500, 503, 507}) {
    EXPECT_TRUE(described("/v1/states", "post", status)) << status;
  }
  EXPECT_FALSE(described("/v1/models", "get", 401));
}

TEST_F(ServiceTest, WithKeysTheDescriptionSaysWhereTheyAreNeeded) {
  ServiceOptions options;
  options.api_keys = {"secret"};
  start(options);
  const Json document = get("/openapi.json");
  const auto& schemes = document["components"]["securitySchemes"];
  EXPECT_EQ(schemes["bearer"]["scheme"], "bearer");
  EXPECT_EQ(schemes["apiKey"]["name"], "x-api-key");
  for (const auto& [path, methods] : document["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      const bool asked = operation.contains("security");
      EXPECT_EQ(asked, operation["responses"].contains("401")) << path;
      if (method != "get") {
        EXPECT_TRUE(asked) << path;
        continue;
      }
      EXPECT_EQ(ask(http::get(filled(path))).status == 401, asked) << path;
    }
  }
}

Route route(const char* id, const char* summary, std::vector<const char*> parameters = {}) {
  return {"GET", "/x", {id, "tag", summary, std::move(parameters), {}, {{"a/b", "Text"}}, {}}, {}};
}

TEST(OpenApi, ARouteWithoutItsDescriptionIsRefused) {
  EXPECT_EQ(openapi_document({route("x", "Something")}, false)["paths"].size(), 1u);
  EXPECT_THROW(openapi_document({route("", "Something")}, false), Error);
  EXPECT_THROW(openapi_document({route("x", "")}, false), Error);
  EXPECT_THROW(openapi_document({route("x", "Something", {"nothing"})}, false), Error);
  EXPECT_THROW(openapi_document({route("x", "One"), route("x", "Two")}, false), Error);
}

}  // namespace
}  // namespace anser
