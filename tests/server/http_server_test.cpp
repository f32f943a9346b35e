// Requests and whole answers: what a well-behaved client sees.
#include "server/http/server.h"

#include <gtest/gtest.h>

#include <deque>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "anser/error.h"
#include "server/http_client.h"

namespace anser::http {
namespace {

// Answers with what it was asked.
void echo(Request request, std::shared_ptr<Reply> reply) {
  reply->send(200, "text/plain",
              request.method + " " + request.path + " [" + request.query + "] " + request.body,
              {{"X-Agent", std::string(request.headers["user-AGENT"])}});
}

TEST(HttpServer, AnswersSeveralRequestsOnOneConnection) {
  Server server(any_port(), echo);
  server.start();
  Client client(server.port());
  for (int i = 0; i < 3; ++i) {
    client.send(get("/a/" + std::to_string(i) + "?b=c", "User-Agent: goose\r\n"));
    const Answer answer = client.read_answer();
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "GET /a/" + std::to_string(i) + " [b=c] ");
    EXPECT_EQ(answer.headers["content-type"], "text/plain");
    EXPECT_EQ(answer.headers["X-Agent"], "goose");
    EXPECT_NE(answer.headers["Date"], "");
    EXPECT_EQ(answer.headers["Connection"], "");
  }
  client.send(post("/p", std::string(300'000, 'x')));
  EXPECT_EQ(client.read_answer().body, "POST /p [] " + std::string(300'000, 'x'));
  EXPECT_EQ(server.connections(), 1u);
}

TEST(HttpServer, ClosesWhenAsked) {
  Server server(any_port(), echo);
  server.start();
  Client client(server.port());
  client.send(get("/", "Connection: close\r\n"));
  const Answer answer = client.read_answer();
  EXPECT_EQ(answer.body, "GET / [] ");
  EXPECT_EQ(answer.headers["Connection"], "close");
  EXPECT_TRUE(client.at_end());
  EXPECT_FALSE(client.broken());
}

TEST(HttpServer, AnswersPipelinedRequestsInOrderWhateverIsReadyFirst) {
  std::mutex mutex;
  std::deque<std::thread> threads;
  Server server(any_port(), [&](Request request, std::shared_ptr<Reply> reply) {
    const std::lock_guard lock(mutex);
    threads.emplace_back([request, reply, wait = 15 - 5 * int(threads.size())] {
      std::this_thread::sleep_for(milliseconds(wait));
      reply->send(200, "text/plain", request.path);
    });
  });
  server.start();
  Client client(server.port());
  client.send(get("/1") + get("/2") + post("/3", "GET /smuggled HTTP/1.1\r\n\r\n") + get("/4"));
  for (const char* path : {"/1", "/2", "/3", "/4"}) EXPECT_EQ(client.read_answer().body, path);
  for (std::thread& thread : threads) thread.join();
}

// More than is read ahead, and the answers are not read meanwhile.
TEST(HttpServer, AnswersThousandsOfPipelinedRequests) {
  Server server(any_port(), echo);
  server.start();
  Client client(server.port());
  std::string requests;
  const std::string chunked =
      " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
  for (int i = 0; i < 3000; ++i) {
    const std::string path = "/" + std::to_string(i);
    requests += i % 2 == 0 ? get(path) : "POST " + path + chunked;
  }
  std::thread sender([&] { client.send(requests); });
  int right = 0;
  for (int i = 0; i < 3000; ++i) {
    const std::string path = "/" + std::to_string(i);
    right += client.read_answer().body ==
             (i % 2 == 0 ? "GET " + path + " [] " : "POST " + path + " [] x");
  }
  sender.join();
  EXPECT_EQ(right, 3000);
}

TEST(HttpServer, HeadHasTheLengthButNoBody) {
  Server server(any_port(), echo);
  server.start();
  Client client(server.port());
  client.send("HEAD /abc HTTP/1.1\r\nHost: x\r\n\r\n" + get("/next"));
  const Answer head = client.read_answer(true);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers["Content-Length"], "13");
  EXPECT_EQ(client.read_answer().body, "GET /next [] ");
}

TEST(HttpServer, KnowsHttp10) {
  Server server(any_port(), echo);
  server.start();
  Client client(server.port());
  client.send("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const Answer answer = client.read_answer();
  EXPECT_EQ(answer.body, "GET /a [] ");
  EXPECT_EQ(answer.headers["Connection"], "keep-alive");
  client.send("GET /b HTTP/1.0\r\n\r\n");
  EXPECT_EQ(client.read_answer().body, "GET /b [] ");
  EXPECT_TRUE(client.at_end());
}

TEST(HttpServer, SaysContinueToWhomExpectsIt) {
  Server server(any_port(), echo);
  server.start();
  Client client(server.port());
  client.send("POST /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("body");
  EXPECT_EQ(client.read_answer().body, "POST /e [] body");
}

TEST(HttpServer, ReadsChunkedBodies) {
  Server server(any_port(), echo);
  server.start();
  Client client(server.port());
  client.send("POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (const char* piece :
       {"3\r\nabc\r\n", "A;name=value\r\n01234", "56789\r\n0", "\r\nUser-Agent: x\r\n\r\n"}) {
    client.send(piece);
    std::this_thread::sleep_for(milliseconds(5));
  }
  const Answer answer = client.read_answer();
  EXPECT_EQ(answer.body, "POST /c [] abc0123456789");
  EXPECT_EQ(answer.headers["X-Agent"], "");  // trailers are no headers
}

TEST(HttpServer, AHandlerThatThrowsOrForgetsGives500AndTheServerGoesOn) {
  std::mutex mutex;
  std::string fault;
  Options options = any_port();
  options.error_body = [](int status, const std::string& message) {
    return ErrorBody{"application/json", std::to_string(status) + ": " + message};
  };
  options.on_fault = [&](const std::string& what) {
    const std::lock_guard lock(mutex);
    fault = what;
  };
  Server server(options, [](Request request, std::shared_ptr<Reply> reply) {
    if (request.path == "/throw") throw std::runtime_error("a bug");
    if (request.path == "/stream") {
      reply->begin(200, "text/event-stream");
      reply->write("data: 1\n\n");
      throw 7;
    }
    if (request.path == "/field") reply->send(200, "text/plain", "", {{"X", "a\r\nSet-Cookie: b"}});
  });
  server.start();
  for (const char* path : {"/throw", "/forget", "/field"}) {
    Client client(server.port());
    client.send(get(path));
    const Answer answer = client.read_answer();
    EXPECT_EQ(answer.status, 500) << path;
    EXPECT_EQ(answer.headers["Content-Type"], "application/json");
    EXPECT_EQ(answer.body, "500: internal error: nothing answered this request");
    if (path == std::string("/throw")) {
      const std::lock_guard lock(mutex);
      EXPECT_EQ(fault, "a bug");
    }
  }
  Client client(server.port());
  client.send(get("/stream"));
  const std::string bytes = client.read_to_end();
  EXPECT_EQ(bytes.find("\r\n0\r\n\r\n"), bytes.npos) << "a broken stream must not look complete";
}

TEST(HttpServer, SaysWhereItCannotListen) {
  Server first(any_port(), echo);
  first.start();
  Options options;
  options.port = first.port();
  Server second(options, echo);
  try {
    second.start();
    FAIL() << "two servers on one port";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("cannot listen on 127.0.0.1 port "), std::string::npos)
        << error.what();
  }
  options.host = "no.such.host.invalid";
  EXPECT_THROW(Server(options, echo).start(), Error);
}

// ---- the end

TEST(HttpServer, StopsAfterRunningAnswers) {
  std::shared_ptr<Reply> streaming, waiting;
  std::mutex mutex;
  Server server(any_port(), [&](Request request, std::shared_ptr<Reply> reply) {
    const std::lock_guard lock(mutex);
    if (request.path == "/stream") reply->begin(200, "text/plain");
    (request.path == "/stream" ? streaming : waiting) = reply;
  });
  server.start();
  const uint16_t port = server.port();
  Client stream(port), whole(port), idle(port);
  stream.send(get("/stream"));
  whole.send(get("/whole"));
  ASSERT_TRUE(soon([&] {
    const std::lock_guard lock(mutex);
    return streaming && waiting;
  }));

  std::thread stopping([&] { server.stop(std::chrono::seconds(30)); });
  EXPECT_TRUE(idle.at_end());
  EXPECT_TRUE(streaming->write("still "));
  EXPECT_TRUE(streaming->write("there"));
  streaming->end();
  waiting->send(200, "text/plain", "late");
  EXPECT_EQ(stream.read_answer().body, "still there");
  const Answer late = whole.read_answer();
  EXPECT_EQ(late.body, "late");
  EXPECT_EQ(late.headers["Connection"], "close");
  EXPECT_TRUE(stream.at_end());
  EXPECT_TRUE(whole.at_end());
  stream.close();
  whole.close();
  stopping.join();
  EXPECT_EQ(server.connections(), 0u);
}

TEST(HttpServer, StopCutsOffWhatDoesNotEnd) {
  std::shared_ptr<Reply> reply;
  std::atomic<int> gone = 0;
  std::atomic<bool> asked = false;
  auto server = std::make_unique<Server>(any_port(), [&](Request, std::shared_ptr<Reply> r) {
    r->begin(200, "text/plain");
    r->on_close([&] { ++gone; });
    reply = r;
    asked = true;
  });
  server->start();
  Client client(server->port());
  client.send(get("/"));
  ASSERT_TRUE(soon([&] { return asked.load(); }));
  server->stop(milliseconds(20));
  EXPECT_EQ(gone, 1);
  server.reset();
  EXPECT_TRUE(reply->closed());
  EXPECT_FALSE(reply->write("to nobody"));
  reply->end();
}

}  // namespace
}  // namespace anser::http
