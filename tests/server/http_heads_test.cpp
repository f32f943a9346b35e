// What is answered before a body has come, and what may stand around a request.
#include <gtest/gtest.h>

#include <atomic>

#include "server/http/router.h"
#include "server/http_client.h"

namespace anser::http {
namespace {

class HttpHeads : public testing::Test {
 protected:
  void SetUp() override {
    Router router;
    const auto echo = [](Request request, std::shared_ptr<Reply> reply) {
      std::string text = request.method + " " + request.body;
      for (const auto& [name, value] : request.captures) text += name + "=" + value;
      reply->send(200, "text/plain", text);
    };
    router.add("GET", "/open", echo);
    router.add("POST", "/open", echo);
    router.add("GET", "/models/{id...}", echo);
    router.add("POST", "/guarded", echo, [this](const Request& header) {
      ++asked_;
      const bool good = header.headers["Key"] == "good";
      return good ? std::nullopt : std::optional(Refusal{401, "no key", {{"X-Why", "key"}}});
    });
    Options options = any_port();
    options.body_bytes = 1000;
    options.idle_timeout = milliseconds(300);
    options.body_refusal = std::bind_front(&Router::refusal, router);
    server_ = std::make_unique<Server>(options, std::move(router));
    server_->start();
  }
  static std::string head(const std::string& line, const std::string& fields) {
    return line + " HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n";
  }
  // The first line of what comes, which may be "100 Continue".
  std::string first_line(const std::string& bytes) {
    Client client(server_->port());
    client.send(bytes);
    return client.read_until("\r\n");
  }

  std::atomic<int> asked_ = 0;
  std::unique_ptr<Server> server_;
};

// Neither the body is waited for, which does not come here, nor is it asked for.
TEST_F(HttpHeads, WhatTheHeaderSaysIsAnsweredBeforeTheBody) {
  for (const char* body : {"Content-Length: 900\r\n", "Transfer-Encoding: chunked\r\n",
                           "Content-Length: 9\r\nExpect: 100-continue\r\n",
                           "Transfer-Encoding: chunked\r\nExpect: 100-Continue\r\n"}) {
    const std::string fields = body;
    EXPECT_TRUE(first_line(head("POST /guarded", fields)).starts_with("HTTP/1.1 401 ")) << body;
    EXPECT_TRUE(first_line(head("POST /nothing", fields)).starts_with("HTTP/1.1 404 ")) << body;
    EXPECT_TRUE(first_line(head("DELETE /open", fields)).starts_with("HTTP/1.1 405 ")) << body;
    EXPECT_TRUE(first_line(head("POST /%00", fields)).starts_with("HTTP/1.1 400 ")) << body;
  }
  const std::string large = "Content-Length: 1001\r\nExpect: 100-continue\r\n";
  EXPECT_TRUE(first_line(head("POST /open", large)).starts_with("HTTP/1.1 413 "));
  EXPECT_TRUE(
      first_line(head("POST /guarded", large + "Key: good\r\n")).starts_with("HTTP/1.1 413"));
  EXPECT_TRUE(first_line(head("POST /guarded", large)).starts_with("HTTP/1.1 401 "))
      << "how much is taken is told to those who may send it";
}

TEST_F(HttpHeads, ARefusalHasItsFields) {
  Client client(server_->port());
  client.send(head("POST /guarded", "Content-Length: 9\r\n"));
  const Answer refused = client.read_answer();
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.headers["X-Why"], "key");
  EXPECT_EQ(refused.headers["Connection"], "close");
  Client other(server_->port());
  other.send(head("PUT /open", "Content-Length: 9\r\n"));
  EXPECT_EQ(other.read_answer().headers["Allow"], "GET, HEAD, POST");
}

TEST_F(HttpHeads, WhoeverIsNotRefusedIsAskedForTheBody) {
  Client client(server_->port());
  client.send(head("POST /guarded", "Key: good\r\nContent-Length: 4\r\nExpect: 100-continue\r\n"));
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("body");
  EXPECT_EQ(client.read_answer().body, "POST body");
  EXPECT_EQ(asked_, 1);
}

// Then the handler's answer, which is the same, leaves the connection as it is.
TEST_F(HttpHeads, WithoutABodyTheConnectionGoesOn) {
  Client client(server_->port());
  for (const char* line : {"GET /nothing", "PUT /open", "DELETE /guarded"}) {
    client.send(head(line, ""));
    const Answer answer = client.read_answer();
    EXPECT_GE(answer.status, 404) << line;
    EXPECT_EQ(answer.headers["Connection"], "") << line;
  }
  client.send(head("GET /open", ""));
  EXPECT_EQ(client.read_answer().status, 200);
  EXPECT_EQ(asked_, 0);
}

TEST_F(HttpHeads, EmptyLinesBeforeARequestAreSkipped) {
  Client client(server_->port());
  client.send("\r\n" + head("GET /open", ""));
  EXPECT_EQ(client.read_answer().status, 200);
  // As old browsers end a body, in pieces, and between pipelined requests.
  client.send(head("POST /open", "Content-Length: 1\r\n") + "x\r\n");
  EXPECT_EQ(client.read_answer().body, "POST x");
  client.send("\r");
  client.send("\n\r\n" + head("GET /open", "") + "\r\n\r\n" + head("GET /open", ""));
  EXPECT_EQ(client.read_answer().status, 200);
  EXPECT_EQ(client.read_answer().status, 200);
  std::string eight;
  for (int i = 0; i < 8; ++i) eight += "\r\n";
  client.send(eight + head("GET /open", ""));
  EXPECT_EQ(client.read_answer().status, 200);
  client.send(eight + "\r\n" + head("GET /open", ""));
  EXPECT_EQ(client.read_answer().status, 400) << "they are not skipped for ever";
  for (const char* other : {"\n", "\r\r\n", " \r\n", "\r\n \r\n"}) {
    EXPECT_TRUE(first_line(other + head("GET /open", "")).starts_with("HTTP/1.1 400")) << other;
  }
}

// A connection on which nothing else comes is closed as one on which nothing does.
TEST_F(HttpHeads, EmptyLinesKeepNoConnectionOpen) {
  Client client(server_->port());
  client.send("\r\n\r");
  EXPECT_TRUE(client.at_end());
  EXPECT_FALSE(client.broken());
}

TEST_F(HttpHeads, TheServerAsAWholeIsAskedWithOptions) {
  Client client(server_->port());
  client.send(head("OPTIONS *", ""));
  const Answer answer = client.read_answer();
  EXPECT_EQ(answer.status, 204);
  EXPECT_EQ(answer.headers["Allow"], "GET, HEAD, POST, OPTIONS");
  EXPECT_EQ(answer.headers.count("Content-Length"), 0);
  client.send(head("GET *", ""));
  EXPECT_EQ(client.read_answer().status, 400);
  EXPECT_TRUE(first_line(head("OPTIONS *", "Content-Length: 9\r\n")).starts_with("HTTP/1.1 413 "));
  EXPECT_TRUE(
      first_line(head("OPTIONS /open", "Content-Length: 9\r\n")).starts_with("HTTP/1.1 405 "));
}

TEST_F(HttpHeads, ARestOfAPathIsOneName) {
  Client client(server_->port());
  const auto ask = [&](const std::string& path) {
    client.send(get(path));
    return client.read_answer();
  };
  for (const char* path : {"/models/RWKV/goose", "/models/RWKV%2Fgoose", "/models/RWKV%2fgoose",
                           "http://x/models/RWKV%2Fgoose?a=b"}) {
    EXPECT_EQ(ask(path).body, "GET id=RWKV/goose") << path;
  }
  EXPECT_EQ(ask("/models/goose").body, "GET id=goose");
  EXPECT_EQ(ask("/models/a/b%20c/d%3F%25").body, "GET id=a/b c/d?%");
  for (const char* path :
       {"/models", "/models/", "/models//", "/models/a/", "/models//a", "/models/a//b"}) {
    EXPECT_EQ(ask(path).status, 404) << path;
  }
  for (const char* path :
       {"/models/..", "/models/a/..", "/models/a/./b", "/models/a/%2e%2e/b", "/models/a%2F..%2Fb",
        "/models/a%2F%2E", "/models/a%5Cb", "/models/a%00", "/models/a/%0a", "/models/a/%zz"}) {
    EXPECT_EQ(ask(path).status, 400) << path;
  }
}

TEST(HttpMediaTypes, AreReadInAnyCaseAndWithParameters) {
  for (const char* good :
       {"application/json", "Application/JSON; Charset=UTF-8", " application/json ",
        "APPLICATION/JSON\t;x=\"a;b\"", "application/json;"}) {
    EXPECT_EQ(media_type(good), "application/json") << good;
  }
  for (const char* other : {"", ";", " ", "application/jsonx", "application/json x", "text/json"}) {
    EXPECT_NE(media_type(other), "application/json") << other;
  }
  EXPECT_EQ(media_type(" ;a"), "");
}

}  // namespace
}  // namespace anser::http
