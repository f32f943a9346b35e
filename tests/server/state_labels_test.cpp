// States by their names, tags and parents.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "server/states_fixture.h"
#include "store/old_record.h"
#include "store/state_id.h"

namespace anser {
namespace {

TEST_F(StatesTest, LabelsChangeOneByOne) {
  start_with_states();
  const std::string id =
      post("/v1/states", R"({"prompt": "a", "name": "a:b c", "tags": "x"})")["id"];
  const Json noted = send("PATCH", "/v1/states/" + id, R"({"note": [1]})");
  EXPECT_EQ(noted["name"], "a:b c");
  EXPECT_EQ(noted["tags"], Json({"x"}));
  EXPECT_EQ(noted["note"], Json::parse("[1]"));
  EXPECT_EQ(post("/v1/states/" + id, R"({"name": "ä b", "tags": []})")["tags"], Json::array());
  EXPECT_EQ(get("/v1/states/%C3%A4%20b")["id"], id);
  EXPECT_EQ(send("PATCH", "/v1/states/" + id, R"({"name": null, "note": null})")["note"], Json());
  get("/v1/states/%C3%A4%20b", 404);
  send("PATCH", "/v1/states/" + id, R"({"name": 5})", 400);
  send("PATCH", "/v1/states/" + id, R"({"name": "a\nb"})", 400);
  send("PATCH", "/v1/states/" + id, R"({"name": ")" + new_state_id() + R"("})", 400);
  EXPECT_EQ(get("/v1/states/" + id)["name"], "");
}

// What is accepted as a name is a name in addresses, too.
TEST_F(StatesTest, NamesAreReachableOrRefused) {
  start_with_states();
  const std::string id = post("/v1/states", R"({"prompt": "a"})")["id"];
  for (const std::string name :
       {"a/b", "..", ".", "a\\\\b", "/", "a/../b", "\\t", "\\u0000", "\\u0085"}) {
    const std::string given = R"("name": ")" + name + "\"";
    send("PATCH", "/v1/states/" + id, "{" + given + "}", 400);
    post("/v1/states/" + id + "/fork", "{" + given + "}", 400);
    post("/v1/states", R"({"prompt": "a", )" + given + "}", 400);
    const std::string save = R"("save_state": {)" + given + "}}";
    post("/v1/completions", R"({"prompt": "a", )" + save, 400);
    post("/v1/chat/completions", R"({"messages": [{"role": "user", "content": "a"}], )" + save,
         400);
    post("/v1/responses", R"({"input": "a", )" + save, 400);
  }
  upload(download(id), "?name=a%2Fb", 400);
  upload(download(id), "?name=..", 400);
  upload(download(id), "?name=a&name=b", 400);
  upload(download(id), "?name=a%2", 400);
  EXPECT_EQ(stored(), 1u);
  for (const std::string name :
       {"...", ".a", "50%", "a%2Fb", "a+b", "a?b#c&d=e", " a ", "%2e%2e", "[a]", "-x", "content",
        "fork", "latest", "ä ✿", "~", "'\"", "resp_a", ";", "a:b@c"}) {
    send("PATCH", "/v1/states/" + id, Json({{"name", name}}).dump());
    std::string segment;
    for (const char c : name) segment += fmt::format("%{:02X}", uint8_t(c));
    EXPECT_EQ(get("/v1/states/" + segment)["id"], id) << name;
    EXPECT_EQ(get("/v1/states/" + segment)["name"], name);
    EXPECT_EQ(post("/v1/completions",
                   Json({{"state", name}, {"max_tokens", 1}}).dump())["usage"]["prompt_tokens"],
              2);
  }
}

// Stores of earlier versions have names with a slash.
TEST_F(StatesTest, OldNamesStayReachable) {
  start_with_states();
  const std::string id = post("/v1/states", R"({"prompt": "a", "name": "a:b"})")["id"];
  stop();
  support::rewrite_record(dir_ / ("states/" + id + ".json"), R"("a:b")", R"("a/b")");
  start_with_states();
  EXPECT_EQ(get("/v1/states/" + id)["name"], "a/b");
  EXPECT_EQ(
      post("/v1/completions", R"({"state": "a/b", "max_tokens": 1})")["usage"]["prompt_tokens"], 2);
  EXPECT_EQ(send("PATCH", "/v1/states/" + id, R"({"note": 7})")["name"], "a/b");
  send("PATCH", "/v1/states/" + id, R"({"name": "b/a"})", 400);
  EXPECT_EQ(send("PATCH", "/v1/states/" + id, R"({"name": "c"})")["name"], "c");
  EXPECT_EQ(get("/v1/states/c")["id"], id);
}

TEST_F(StatesTest, AParentIsFoundByItsName) {
  start_with_states();
  const std::string root = post("/v1/states", R"({"prompt": "a", "name": "root"})")["id"];
  const std::string child = post("/v1/states/root/fork", "{}")["id"];
  EXPECT_EQ(get("/v1/states?parent=root")["data"][0]["id"], child);
  get("/v1/states?tag=%4", 400);
  get("/v1/states?tag=a&tag=b", 400);
}

TEST_F(StatesTest, ANameIsForOneState) {
  start_with_states();
  post("/v1/states", R"({"prompt": "a", "name": "one"})");
  const std::string two = post("/v1/states", R"({"prompt": "b", "name": "two"})")["id"];
  EXPECT_EQ(post("/v1/states", R"({"prompt": "a", "name": "one"})", 409)["error"]["code"],
            "name_taken");
  post("/v1/states/two/fork", R"({"name": "one"})", 409);
  send("PATCH", "/v1/states/two", R"({"name": "one"})", 409);
  post("/v1/states/" + two, R"({"name": "two"})");  // its own
  post("/v1/completions", R"({"prompt": "a", "save_state": {"name": "one"}})", 409);
  upload(download("one"), "?name=one", 409);
  const Json many =
      post("/v1/completions", R"({"prompt": "a", "n": 2, "save_state": {"name": "three"}})", 400);
  EXPECT_EQ(many["error"]["param"], "save_state.name");
  EXPECT_EQ(stored(), 2u);
}

TEST_F(StatesTest, ForksAndChildrenOutliveTheirParent) {
  start_with_states();
  const Json root = post("/v1/states", R"({"prompt": "ab", "name": "root"})");
  const Json fork = post("/v1/states/root/fork", R"({"name": "side", "tags": ["f"]})");
  EXPECT_EQ(fork["parent"], root["id"]);
  EXPECT_EQ(fork["checksum"], root["checksum"]);
  const Json gone = send("DELETE", "/v1/states/root");
  EXPECT_EQ(gone, Json({{"id", root["id"]}, {"object", "state.deleted"}, {"deleted", true}}));
  send("DELETE", "/v1/states/root", "", 404);
  EXPECT_EQ(get("/v1/states/side"), fork);
  EXPECT_EQ(
      post("/v1/completions", R"({"state": "side", "max_tokens": 3})")["usage"]["prompt_tokens"],
      3);
}

TEST_F(StatesTest, WhatIsNotThereIsNotFound) {
  start_with_states();
  const std::string unknown = new_state_id();
  for (const std::string& id : {unknown, std::string("nobody"), std::string("index.sqlite"),
                                std::string("%C3"), std::string(300, 'x')}) {
    EXPECT_EQ(get("/v1/states/" + id, 404)["error"]["code"], "state_not_found");
    get("/v1/states/" + id + "/content", 404);
  }
  for (const char* id : {"..", "%2e%2e", "..%2fx", "a%00b", "%2fetc%2fpasswd", "a%5cb"}) {
    get(std::string("/v1/states/") + id, 400);
    get(std::string("/v1/states/") + id + "/content", 400);
  }
  const Json answer = post("/v1/completions", R"({"prompt": "a", "state": "../x"})", 404);
  EXPECT_EQ(answer["error"]["param"], "state");
  post("/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "state": ")" + unknown + R"("})", 404);
  EXPECT_EQ(get("/v1/states?parent=../x")["data"], Json::array());
  post("/v1/states", R"({"name": "x"})", 400);
  post("/v1/states", R"({"prompt": ["a", "b"]})", 400);
  post("/v1/states", R"({"prompt": [300]})", 400);
  post("/v1/states", R"({"response": "resp_x"})", 404);
}

}  // namespace
}  // namespace anser
