#include "server/http/router.h"

#include <gtest/gtest.h>

#include "server/http_client.h"

namespace anser::http {
namespace {

TEST(HttpRequest, DecodesPercentEscapes) {
  EXPECT_EQ(percent_decoded("a%20b%2Fc%C3%a9"), "a b/c\xC3\xA9");
  EXPECT_EQ(percent_decoded(""), "");
  for (const char* broken : {"%", "%4", "a%zz", "%-1", "%%41", "%4\x80"}) {
    EXPECT_EQ(percent_decoded(broken), std::nullopt) << broken;
  }
}

TEST(HttpRequest, CutsPathsBeforeItDecodesThem) {
  using Segments = std::vector<std::string>;
  EXPECT_EQ(path_segments("/"), Segments{""});
  EXPECT_EQ(path_segments("/v1/a%20b"), (Segments{"v1", "a b"}));
  EXPECT_EQ(path_segments("/a//b/"), (Segments{"a", "", "b", ""}));
  EXPECT_EQ(path_segments("/..."), Segments{"..."});
  for (const char* bad : {"", "a", "/.", "/..", "/a/../b", "/%2e%2E", "/.%2e", "/a%2Fb", "/a%5cb",
                          "/a\\b", "/a%00", "/a%0a", "/%7F", "/a%", "/a%2"}) {
    EXPECT_EQ(path_segments(bad), std::nullopt) << bad;
  }
}

TEST(HttpRequest, FindsParametersOfTheQuery) {
  Request request;
  request.query = "a=1&b=x+y%26z&a=2&flag&bad=%4&=e";
  EXPECT_EQ(request.parameter("a"), "1");
  EXPECT_EQ(request.parameter("b"), "x y&z");
  EXPECT_EQ(request.parameter("flag"), "");
  EXPECT_EQ(request.parameter("bad"), std::nullopt);
  EXPECT_EQ(request.parameter("c"), std::nullopt);
  EXPECT_EQ(request.parameter("y&z"), std::nullopt);
}

TEST(HttpRouter, ChoosesByMethodAndPath) {
  Router router;
  const auto add = [&](const char* method, const char* pattern) {
    router.add(method, pattern, [=](Request request, std::shared_ptr<Reply> reply) {
      std::string text = std::string(method) + " " + pattern;
      for (const auto& [name, value] : request.captures) text += " " + name + "=" + value;
      reply->send(200, "text/plain", text);
    });
  };
  add("GET", "/");
  add("GET", "/v1/states");
  add("POST", "/v1/states");
  add("GET", "/v1/states/latest");
  add("GET", "/v1/states/{id}");
  add("DELETE", "/v1/states/{id}");
  add("POST", "/v1/states/{id}/fork/{name}");
  Options options;
  options.port = 0;
  Server server(options, router);
  server.start();
  Client client(server.port());
  const auto ask = [&](const std::string& method, const std::string& path) {
    client.send(method + " " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
    return client.read_answer(method == "HEAD");
  };

  EXPECT_EQ(ask("GET", "/").body, "GET /");
  EXPECT_EQ(ask("GET", "/?x=/v1/states").body, "GET /");
  EXPECT_EQ(ask("POST", "/v1/states").body, "POST /v1/states");
  EXPECT_EQ(ask("GET", "/v1/states/latest").body, "GET /v1/states/latest");
  EXPECT_EQ(ask("GET", "/v1/states/a%20b%25").body, "GET /v1/states/{id} id=a b%");
  EXPECT_EQ(ask("GET", "http://some.host/v1/states/7").body, "GET /v1/states/{id} id=7");
  EXPECT_EQ(ask("POST", "/v1/states/7/fork/x").body,
            "POST /v1/states/{id}/fork/{name} id=7 name=x");
  EXPECT_EQ(ask("HEAD", "/v1/states/7").status, 200);

  for (const char* path :
       {"/v1", "/v1/states/", "/v1//states", "/V1/states", "/v1/states/7/fork", "/v1/states/7/"}) {
    EXPECT_EQ(ask("GET", path).status, 404) << path;
  }
  EXPECT_EQ(ask("OPTIONS", "*").status, 204);
  const Answer wrong = ask("PUT", "/v1/states/7");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers["Allow"], "GET, HEAD, DELETE");
  EXPECT_EQ(ask("HEAD", "/v1/states/7/fork/x").status, 405);
  for (const char* path :
       {"/v1/states/..", "/v1/states/%2e%2e", "/v1/states/..%2f..%2fetc%2fpasswd",
        "/v1/states/a%00", "/v1/states/a%5Cb", "/../v1/states", "/v1/states/%zz"}) {
    EXPECT_EQ(ask("GET", path).status, 400) << path;
  }
}

}  // namespace
}  // namespace anser::http
