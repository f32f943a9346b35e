// Which requests of browsers are served, and what pages of other origins are told.
#include "server/web_policy.h"

#include <gtest/gtest.h>

#include "server/http/router.h"
#include "server/http_client.h"

namespace anser {
namespace {

using http::Headers;
using http::Request;

Request request(const std::string& method, const std::string& path, const std::string& host,
                const Headers& headers = {}) {
  Request request;
  request.method = method;
  request.path = path;
  request.host = host;
  request.headers = headers;
  return request;
}

// 0: it is served.
int status(const WebPolicy& policy, const Request& request) {
  const auto refusal = policy.refusal(request);
  return refusal ? refusal->status : 0;
}

const WebPolicy kPlain({});

TEST(WebPolicy, NamesOfHosts) {
  EXPECT_EQ(host_name("LocalHost:8080"), "localhost");
  EXPECT_EQ(host_name("a.example."), "a.example");
  EXPECT_EQ(host_name("127.0.0.1:"), "127.0.0.1");
  EXPECT_EQ(host_name("[::1]:80"), "[::1]");
  for (const char* bad : {"", ":80", "a:b", "a:123456", "a/b", "u@a", "[::1", "[a]", "::1",
                          "[::1]x", "a b", "a,b", "a:80:80", "[::1%25eth0]", "\xc3\xa4"}) {
    EXPECT_EQ(host_name(bad), "") << bad;
  }
}

TEST(WebPolicy, NamesOfOrigins) {
  EXPECT_EQ(origin_name("HTTP://A.example:80"), "http://a.example");
  EXPECT_EQ(origin_name("https://a.example:443"), "https://a.example");
  EXPECT_EQ(origin_name("http://a.example:443"), "http://a.example:443");
  EXPECT_EQ(origin_name("http://[::1]:3000"), "http://[::1]:3000");
  EXPECT_EQ(origin_name("chrome-extension://abcdef"), "chrome-extension://abcdef");
  for (const char* bad : {"", "null", "*", "a.example", "http://", "://a", "http://a/",
                          "http://a/b", "http://a,http://b", "ht tp://a", "http://u@a"}) {
    EXPECT_EQ(origin_name(bad), "") << bad;
  }
}

TEST(WebPolicy, OnlyHostsThatNobodyElseCanNameAreServed) {
  for (const char* good :
       {"localhost", "localhost:8080", "LOCALHOST.", "a.localhost:1", "127.0.0.1", "127.0.0.1:8080",
        "192.168.1.5:8080", "0.0.0.0:80", "[::1]:8080"}) {
    EXPECT_EQ(status(kPlain, request("GET", "/v1/models", good)), 0) << good;
  }
  for (const char* bad : {"", "evil.test", "evil.test:8080", "localhost.evil.test", "notlocalhost",
                          "127.0.0.1.evil.test", "localhost@evil.test", "evil.test/localhost",
                          "127.0.0.1:80@evil", ".localhost.", "gpubox"}) {
    for (const char* path : {"/", "/v1/models", "/metrics", "/v1/states/x", "/nothing"}) {
      EXPECT_EQ(status(kPlain, request("GET", path, bad)),
                bad == std::string(".localhost.") ? 0 : 403)
          << bad;
    }
    EXPECT_EQ(status(kPlain, request("GET", "/health", bad)), 0) << bad;
  }
  const auto refusal = kPlain.refusal(request("GET", "/", "evil.test"));
  EXPECT_NE(refusal->message.find("--allowed-host"), std::string::npos);
  EXPECT_NE(refusal->message.find("\"evil.test\""), std::string::npos);
  EXPECT_LT(kPlain.refusal(request("GET", "/", std::string(15'000, 'x')))->message.size(), 1000u);

  const WebPolicy named({.allowed_hosts = {"gpubox"}});
  EXPECT_EQ(status(named, request("GET", "/metrics", "GPUbox:8080")), 0);
  EXPECT_EQ(status(named, request("GET", "/metrics", "gpubox.evil.test")), 403);
}

TEST(WebPolicy, PagesOfOtherOriginsAreRefusedOnEverything) {
  const std::string host = "127.0.0.1:8080";
  const std::vector<Headers> foreign = {
      {{"Origin", "http://evil.test"}},
      {{"Origin", "http://127.0.0.1:3000"}},  // another port is another origin
      {{"Origin", "http://localhost:8080"}},
      {{"Origin", "http://127.0.0.1"}},
      {{"Origin", "null"}},
      {{"Origin", ""}},
      {{"Origin", "http://127.0.0.1:8080"}, {"Origin", "http://evil.test"}},
      {{"Origin", "file://127.0.0.1:8080"}},
      {{"Origin", "http://127.0.0.1:8080"}, {"Sec-Fetch-Site", "cross-site"}},
      {{"Sec-Fetch-Site", "cross-site"}},
      {{"Sec-Fetch-Site", "same-site"}},
      {{"Sec-Fetch-Site", "same-origin"}, {"Sec-Fetch-Site", "cross-site"}},
      {{"Sec-Fetch-Site", "to-come"}}};
  for (const Headers& headers : foreign) {
    SCOPED_TRACE(std::string(headers["Origin"]) + " " + std::string(headers["Sec-Fetch-Site"]));
    for (const char* method : {"GET", "HEAD", "POST", "DELETE", "PATCH", "OPTIONS"}) {
      for (const char* path : {"/", "/v1/states", "/metrics", "/tokenize", "/page/main.js"}) {
        EXPECT_EQ(status(kPlain, request(method, path, host, headers)), 403) << method << path;
      }
    }
    EXPECT_EQ(status(kPlain, request("GET", "/health", host, headers)), 0);
  }
  const auto refusal = kPlain.refusal(request("GET", "/", host, foreign[0]));
  EXPECT_NE(refusal->message.find("--cors-origin"), std::string::npos);
  EXPECT_NE(refusal->message.find("\"http://evil.test\""), std::string::npos);
}

TEST(WebPolicy, ItsOwnPageIsServed) {
  const auto asks = [&](const char* host, const char* origin) {
    return status(kPlain, request("POST", "/v1/states", host,
                                  {{"Origin", origin},
                                   {"Sec-Fetch-Site", "same-origin"},
                                   {"Content-Type", "application/json; charset=utf-8"},
                                   {"Content-Length", "2"}}));
  };
  EXPECT_EQ(asks("127.0.0.1:8080", "http://127.0.0.1:8080"), 0);
  EXPECT_EQ(asks("localhost", "http://localhost"), 0);
  EXPECT_EQ(asks("localhost:80", "http://localhost"), 0);
  EXPECT_EQ(asks("LocalHost:8080", "http://localhost:8080"), 0);
  EXPECT_EQ(asks("[::1]:8080", "http://[::1]:8080"), 0);
  EXPECT_EQ(asks("10.0.0.1", "https://10.0.0.1"), 0) << "a proxy has taken TLS off";
  EXPECT_EQ(asks("10.0.0.1:443", "https://10.0.0.1"), 0);
  EXPECT_EQ(asks("10.0.0.1:80", "https://10.0.0.1"), 403);
  for (const char* site : {"none", "same-origin"}) {  // typed in; loaded by the page
    EXPECT_EQ(status(kPlain, request("GET", "/v1/models", "localhost", {{"Sec-Fetch-Site", site}})),
              0);
  }
}

TEST(WebPolicy, ALinkMayLeadToThePageAndNowhereElse) {
  const auto link = [&](const char* method, const char* path, const char* mode,
                        const char* target) {
    return status(kPlain, request(method, path, "127.0.0.1:8080",
                                  {{"Sec-Fetch-Site", "cross-site"},
                                   {"Sec-Fetch-Mode", mode},
                                   {"Sec-Fetch-Dest", target}}));
  };
  EXPECT_EQ(link("GET", "/", "navigate", "document"), 0);
  EXPECT_EQ(link("GET", "/", "navigate", "iframe"), 403);
  EXPECT_EQ(link("GET", "/", "no-cors", "image"), 403);
  EXPECT_EQ(link("POST", "/", "navigate", "document"), 403);
  EXPECT_EQ(link("GET", "/v1/models", "navigate", "document"), 403);
}

TEST(WebPolicy, BodiesThatAFormCouldSendAreRefusedWhereAPageSendsThem) {
  const WebPolicy policy({.cors_origins = {"http://a.example"}});
  for (const char* origin : {"http://127.0.0.1:8080", "http://a.example"}) {
    const auto post = [&](const Headers& more) {
      Headers headers = {{"Origin", origin}};
      for (const auto& [name, value] : more) headers.add(name, value);
      return status(policy, request("POST", "/v1/states", "127.0.0.1:8080", headers));
    };
    for (const char* type :
         {"text/plain", "TEXT/plain; charset=utf-8", " text/plain ;", "",
          "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"}) {
      EXPECT_EQ(post({{"Content-Type", type}, {"Content-Length", "9"}}), 415) << type;
      EXPECT_EQ(post({{"Content-Type", type}, {"Transfer-Encoding", "chunked"}}), 415) << type;
      EXPECT_EQ(post({{"Content-Type", type}, {"Content-Length", "0"}}), 0) << "there is none";
    }
    EXPECT_EQ(post({{"Content-Length", "9"}}), 415);
    EXPECT_EQ(post({{"Content-Type", "application/json"}, {"Content-Length", "9"}}), 0);
    EXPECT_EQ(post({{"Content-Type", "application/octet-stream"}, {"Content-Length", "9"}}), 0);
  }
  // curl -d sends this type, and is no page.
  EXPECT_EQ(status(policy, request("POST", "/v1/completions", "localhost:8080",
                                   {{"Content-Type", "application/x-www-form-urlencoded"},
                                    {"Content-Length", "9"}})),
            0);
}

TEST(WebPolicy, WithAKeyNobodyElseIsKeptOut) {
  const WebPolicy policy({.with_key = true});
  EXPECT_EQ(status(policy, request("POST", "/v1/states", "evil.test",
                                   {{"Origin", "http://evil.test"}, {"Content-Length", "1"}})),
            0);
  EXPECT_EQ(policy.answer_fields(request("GET", "/", "evil.test", {{"Origin", "http://evil.test"}}),
                                 true)["Access-Control-Allow-Origin"],
            "");
}

TEST(WebPolicy, AnOriginThatIsLetInIsNotForeign) {
  const WebPolicy policy({.cors_origins = {"http://a.example", "https://b.example:8443"}});
  for (const char* origin : {"http://a.example", "https://b.example:8443"}) {
    const Request asked = request("GET", "/v1/models", "127.0.0.1:8080",
                                  {{"Origin", origin}, {"Sec-Fetch-Site", "cross-site"}});
    EXPECT_EQ(status(policy, asked), 0);
    const Headers fields = policy.answer_fields(asked, true);
    EXPECT_EQ(fields["Access-Control-Allow-Origin"], origin);
    EXPECT_EQ(fields["Vary"], "Origin");
    EXPECT_NE(fields["Access-Control-Expose-Headers"].find("Retry-After"), std::string::npos);
    EXPECT_EQ(fields.count("Access-Control-Allow-Methods"), 0);
  }
  for (const char* origin : {"https://a.example", "http://a.example:81", "https://b.example",
                             "null", "http://a.example.evil.test", "http://evil.test"}) {
    const Request asked = request("GET", "/v1/models", "127.0.0.1:8080", {{"Origin", origin}});
    EXPECT_EQ(status(policy, asked), 403) << origin;
    const Headers fields = policy.answer_fields(asked, true);
    EXPECT_EQ(fields.count("Access-Control-Allow-Origin"), 0) << origin;
    EXPECT_EQ(fields["Vary"], "Origin");
  }
  // A page's name does not become the server's.
  EXPECT_EQ(status(policy, request("GET", "/v1/models", "a.example")), 403);
}

TEST(WebPolicy, WhatIsSaidOfAnyOriginAndBeforeOneHasCome) {
  const WebPolicy any({.with_key = true, .cors_origins = {kAnyOrigin}});
  const Headers from_null = any.answer_fields(request("GET", "/", "x", {{"Origin", "null"}}), true);
  EXPECT_EQ(from_null["Access-Control-Allow-Origin"], "*");

  const WebPolicy one({.cors_origins = {"http://a.example"}});
  const WebPolicy two({.cors_origins = {"http://a.example", "http://b.example"}});
  EXPECT_EQ(one.answer_fields(Request(), false)["Access-Control-Allow-Origin"], "http://a.example");
  EXPECT_EQ(two.answer_fields(Request(), false).count("Access-Control-Allow-Origin"), 0);
  EXPECT_EQ(any.answer_fields(Request(), false)["Access-Control-Allow-Origin"], "*");
  EXPECT_EQ(one.answer_fields(Request(), true).count("Access-Control-Allow-Origin"), 0);
}

// ---- over HTTP

class WebPolicyServer : public testing::Test {
 protected:
  void start(WebPolicyOptions options) {
    const WebPolicy policy(std::move(options));
    http::Options listening = http::any_port();
    listening.body_bytes = 1000;
    listening.read_timeout = http::milliseconds(200);
    listening.refusal = std::bind_front(&WebPolicy::refusal, policy);
    listening.answer_fields = std::bind_front(&WebPolicy::answer_fields, policy);
    http::Router router;
    router.add("GET", "/text", [](const Request&, const auto& reply) {
      reply->send(200, "text/plain", "text", {{"X-Frame-Options", "SAMEORIGIN"}});
    });
    router.add("POST", "/text", [](const Request& request, const auto& reply) {
      reply->send(200, "text/plain", request.body);
    });
    router.add("GET", "/stream", [](const Request&, const auto& reply) {
      reply->begin(200, "text/event-stream");
      reply->write("data");
      reply->end();
    });
    router.add("GET", "/lost", [](const Request&, const auto&) {});
    server_ =
        std::make_unique<http::Server>(listening, policy.answering_preflights(std::move(router)));
    server_->start();
  }
  http::Answer ask(const std::string& text) {
    http::Client client(server_->port());
    client.send(text);
    return client.read_answer();
  }
  static std::string text(const std::string& line, const std::string& fields) {
    return line + " HTTP/1.1\r\nHost: localhost\r\n" + fields + "\r\n";
  }
  std::unique_ptr<http::Server> server_;
};

TEST_F(WebPolicyServer, EveryAnswerHasTheFieldsThatItsPageNeeds) {
  start({.cors_origins = {"http://a.example"}});
  const std::string from = "Origin: http://a.example\r\nSec-Fetch-Site: cross-site\r\n";
  const std::string big = "POST /text";
  const std::vector<std::pair<std::string, int>> asked = {
      {text("GET /text", from), 200},
      {text("GET /stream", from), 200},
      {text("GET /nothing", from), 404},
      {text("DELETE /text", from), 405},
      {text("GET /lost", from), 500},
      {text(big, from + "Content-Length: 2\r\n") + "ab", 415},
      {text(big, from + "Content-Type: a/b\r\nContent-Length: 2000\r\n"), 413},
      {text(big, from + "Content-Type: a/b\r\nContent-Length: 9\r\n"), 408},
      {text("GET /text", from + "X: " + std::string(20'000, 'x') + "\r\n"), 431},
      {text("GET /text", "X: " + std::string(20'000, 'x') + "\r\n" + from), 431},
      {text("GET /text", from + "Broken\r\n"), 400}};
  for (const auto& [bytes, status] : asked) {
    SCOPED_TRACE(bytes.substr(0, 100));
    const http::Answer answer = ask(bytes);
    EXPECT_EQ(answer.status, status);
    EXPECT_EQ(answer.headers["Access-Control-Allow-Origin"], "http://a.example");
    EXPECT_EQ(answer.headers["Vary"], "Origin");
    EXPECT_EQ(answer.headers["X-Content-Type-Options"], "nosniff");
    EXPECT_EQ(answer.headers.count("X-Frame-Options"), 1);
  }
}

TEST_F(WebPolicyServer, APreflightIsAnsweredAtEveryPath) {
  start({.with_key = true, .cors_origins = {"http://a.example"}});
  const std::string from = "Origin: http://a.example\r\nAccess-Control-Request-Method: POST\r\n";
  for (const char* path : {"/text", "/stream", "/nothing", "/"}) {
    const http::Answer answer =
        ask(text("OPTIONS " + std::string(path),
                 from + "Access-Control-Request-Headers: authorization,x-stainless-os\r\n"
                        "Access-Control-Request-Private-Network: true\r\n"));
    EXPECT_EQ(answer.status, 204) << path;
    EXPECT_EQ(answer.headers["Access-Control-Allow-Origin"], "http://a.example");
    EXPECT_NE(answer.headers["Access-Control-Allow-Methods"].find("DELETE"), std::string::npos);
    EXPECT_EQ(answer.headers["Access-Control-Allow-Headers"], "authorization,x-stainless-os");
    EXPECT_EQ(answer.headers["Access-Control-Allow-Private-Network"], "true");
    EXPECT_NE(answer.headers["Access-Control-Max-Age"], "");
    EXPECT_TRUE(answer.headers["Vary"].starts_with("Origin,"));
    EXPECT_EQ(answer.headers["Connection"], "") << "the request itself follows";
  }
  const http::Answer other = ask(
      text("OPTIONS /text", "Origin: http://evil.test\r\nAccess-Control-Request-Method: POST\r\n"));
  EXPECT_EQ(other.status, 405);
  EXPECT_EQ(other.headers.count("Access-Control-Allow-Origin"), 0);
  EXPECT_EQ(ask(text("OPTIONS /text", "Origin: http://a.example\r\n")).status, 405);
}

// "GET http://name/" asks for that name's host, whatever Host says.
TEST_F(WebPolicyServer, TheTargetsHostIsTheRequests) {
  start({});
  EXPECT_EQ(ask(text("GET /text", "")).status, 200);
  EXPECT_EQ(ask(text("GET http://localhost:80/text", "")).status, 200);
  EXPECT_EQ(ask(text("GET http://evil.test/text", "")).status, 403);
  EXPECT_EQ(ask("GET /text HTTP/1.0\r\nHost: localhost\r\n\r\n").status, 200);
  EXPECT_EQ(ask("GET /text HTTP/1.0\r\n\r\n").status, 403);
  EXPECT_EQ(ask("GET /text HTTP/1.1\r\nHost:\r\n\r\n").status, 403);
}

// It is told before it has sent its body, and gets no "100 Continue".
TEST_F(WebPolicyServer, ABodyThatIsRefusedIsNotWaitedFor) {
  start({});
  http::Client client(server_->port());
  client.send(text("POST /text",
                   "Origin: http://evil.test\r\nExpect: 100-continue\r\n"
                   "Content-Type: application/json\r\nContent-Length: 999\r\n"));
  EXPECT_TRUE(client.read_until("\r\n").starts_with("HTTP/1.1 403"));
}

}  // namespace
}  // namespace anser
