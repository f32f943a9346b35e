// Streams, and clients that go, stop reading, or stop sending.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <mutex>
#include <thread>
#include <vector>

#include "server/http/server.h"
#include "server/http_client.h"

namespace anser::http {
namespace {

// A server whose replies the test holds. "/stream" has begun a stream, others wait for an answer.
class Held {
 public:
  explicit Held(Options options = any_port())
      : server(std::move(options), [this](Request request, std::shared_ptr<Reply> reply) {
          if (request.path == "/stream") reply->begin(200, "text/event-stream");
          reply->on_close([this] { ++gone; });
          const std::lock_guard lock(mutex_);
          replies_.push_back(std::move(reply));
        }) {
    server.start();
  }

  // The reply to the request that came n-th.
  std::shared_ptr<Reply> reply(size_t n = 0) {
    EXPECT_TRUE(soon([&] { return count() > n; })) << "the request did not arrive";
    const std::lock_guard lock(mutex_);
    return replies_.at(n);
  }
  size_t count() {
    const std::lock_guard lock(mutex_);
    return replies_.size();
  }

  std::atomic<int> gone = 0;

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<Reply>> replies_;

 public:
  Server server;  // its threads end before what they use
};

size_t threads_of_this_process() {
  const auto tasks = std::filesystem::directory_iterator("/proc/self/task");
  return size_t(std::distance(begin(tasks), end(tasks)));
}

TEST(HttpStream, ArrivesChunkByChunk) {
  Held held;
  Client client(held.server.port());
  client.send(get("/stream"));
  const Answer head = client.read_head();
  EXPECT_EQ(head.headers["Content-Type"], "text/event-stream");
  EXPECT_EQ(head.headers["Transfer-Encoding"], "chunked");
  const auto reply = held.reply();
  for (int i = 0; i < 5; ++i) {  // each is there before the next is written
    const std::string event = "data: " + std::to_string(i) + "\n\n";
    EXPECT_TRUE(reply->write(event));
    EXPECT_EQ(client.read_until("\n\n\r\n"), "9\r\n" + event + "\r\n");
  }
  EXPECT_TRUE(reply->write(""));  // must not be taken for the last chunk
  reply->end();
  EXPECT_EQ(client.read_until("\r\n\r\n"), "0\r\n\r\n");
  EXPECT_FALSE(reply->closed());

  client.send(get("/next"));  // the connection goes on
  held.reply(1)->send(200, "text/plain", "still there");
  EXPECT_EQ(client.read_answer().body, "still there");
  client.close();
  EXPECT_TRUE(soon([&] { return held.server.connections() == 0; }));
  EXPECT_EQ(held.gone, 0) << "both answers were complete";
}

// A handler that answers twice is wrong, and harms only itself: what was complete stands, and a
// stream is cut.
TEST(HttpStream, ASecondAnswerIsDroppedAndReported) {
  std::atomic<int> faults = 0;
  Options options = any_port();
  options.on_fault = [&](const std::string&) { ++faults; };
  Held held(options);
  Client client(held.server.port());
  client.send(get("/"));
  held.reply(0)->send(200, "text/plain", "first");
  held.reply(0)->send(400, "text/plain", "second");
  held.reply(0)->begin(200, "text/event-stream");
  EXPECT_FALSE(held.reply(0)->write("third"));
  held.reply(0)->end();
  EXPECT_EQ(client.read_answer().body, "first");
  EXPECT_EQ(faults, 4);
  client.send(get("/stream"));
  held.reply(1)->write("abc");
  held.reply(1)->send(400, "text/plain", "second");
  EXPECT_EQ(client.read_to_end().find("0\r\n\r\n"), std::string::npos);
  EXPECT_FALSE(held.reply(1)->write("more"));
  held.reply(1)->end();
  Client next(held.server.port());
  next.send(get("/"));
  held.reply(2)->end();  // before it has begun
  EXPECT_FALSE(held.reply(2)->write("x"));
  held.reply(2)->send(200, "text/plain", "still there");
  EXPECT_EQ(next.read_answer().body, "still there");
}

TEST(HttpStream, OfHttp10EndsWithTheConnectionAndOfHeadHasNoBody) {
  Held held;
  Client old(held.server.port());
  old.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  held.reply(0)->write("abc");
  held.reply(0)->end();
  const Answer answer = old.read_head();
  EXPECT_EQ(answer.headers["Transfer-Encoding"], "");
  EXPECT_EQ(answer.headers["Connection"], "close");
  EXPECT_EQ(old.read_to_end(), "abc");

  Client head(held.server.port());
  head.send("HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n");
  held.reply(1)->write("abc");
  held.reply(1)->end();
  EXPECT_EQ(head.read_head().headers["Transfer-Encoding"], "chunked");
  head.send(get("/next"));
  held.reply(2)->send(200, "text/plain", "next");
  EXPECT_EQ(head.read_answer().body, "next");
}

// As a scheduler does it: one thread writes to all.
TEST(HttpStream, HundredsAtATimeCostNoThreads) {
  constexpr size_t kStreams = 300;
  const size_t before = threads_of_this_process();
  Held held;
  std::vector<Client> clients;
  for (size_t i = 0; i < kStreams; ++i) {
    clients.emplace_back(held.server.port());
    clients.back().send(get("/stream"));
  }
  for (size_t i = 0; i < kStreams; ++i) held.reply(i);
  EXPECT_EQ(threads_of_this_process(), before + size_t(Options().threads));
  std::string expected;
  for (int event = 0; event < 20; ++event) {
    for (size_t i = 0; i < kStreams; ++i)
      held.reply(i)->write("data: " + std::to_string(event) + "\n\n");
    expected += "data: " + std::to_string(event) + "\n\n";
  }
  for (size_t i = 0; i < kStreams; ++i) held.reply(i)->end();
  size_t right = 0;
  for (Client& client : clients) right += client.read_answer().body == expected;
  EXPECT_EQ(right, kStreams);
  EXPECT_EQ(held.gone, 0);
}

// ---- clients that go

TEST(HttpStream, AClientThatClosesOrResetsIsNoticedWhileItsRequestWaits) {
  Held held;
  for (const char* path : {"/waits", "/stream"}) {
    for (const bool reset : {false, true}) {
      SCOPED_TRACE(std::string(path) + (reset ? " reset" : " closed"));
      const size_t n = held.count();
      Client client(held.server.port());
      client.send(get(path));
      const auto reply = held.reply(n);
      if (path == std::string("/stream")) client.read_until("\r\n\r\n");
      EXPECT_FALSE(reply->closed());
      reset ? client.reset() : client.close();
      EXPECT_TRUE(soon([&] { return size_t(held.gone) == n + 1; })) << "and nothing was written";
      EXPECT_TRUE(reply->closed());
      EXPECT_EQ(reply->pending(), 0u);
    }
  }
  EXPECT_FALSE(held.reply(3)->write("x"));
  held.reply(3)->end();
  held.reply(0)->send(200, "text/plain", "to nobody");
  bool called = false;
  held.reply(1)->on_close([&] { called = true; });  // it has gone already
  EXPECT_TRUE(called);
  EXPECT_TRUE(soon([&] { return held.server.connections() == 0; }));
  EXPECT_EQ(held.gone, 4);
}

TEST(HttpStream, AClientThatGoesInTheMidstOfAStreamIsNoticed) {
  Held held;
  Client client(held.server.port());
  client.send(get("/stream"));
  const auto reply = held.reply();
  reply->write("data: 1\n\n");
  client.read_until("\n\n\r\n");
  client.close();
  EXPECT_TRUE(soon([&] { return !reply->write("data: 2\n\n"); }));
  EXPECT_TRUE(soon([&] { return held.gone == 1; }));
}

// What would free the client's slot is freed itself when nobody needs it any more.
TEST(HttpStream, OnCloseIsDroppedWithTheAnswer) {
  Held held;
  Client client(held.server.port());
  client.send(get("/waits"));
  const auto reply = held.reply();
  auto token = std::make_shared<int>(0);
  const std::weak_ptr<int> watch = token;
  reply->on_close([token] { ++*token; });
  token.reset();
  EXPECT_FALSE(watch.expired());
  reply->send(200, "text/plain", "");
  EXPECT_TRUE(watch.expired());
}

// ---- clients that have said all they want to say, and read on

TEST(HttpStream, AHalfClosedClientIsServed) {
  Held held;
  Client whole(held.server.port()), stream(held.server.port()), pipelined(held.server.port());
  whole.send(get("/whole"));
  whole.half_close();
  const auto waiting = held.reply(0);
  stream.send(get("/stream"));
  const auto streaming = held.reply(1);
  stream.read_until("\r\n\r\n");
  stream.half_close();

  // The probes: what a client has to skip, and what changes nothing.
  EXPECT_EQ(whole.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(stream.read_until("0"), "0");
  EXPECT_TRUE(streaming->write("data: 1\n\n"));
  EXPECT_EQ(stream.read_until("\n\n\r\n"), "9\r\ndata: 1\n\n\r\n");
  streaming->end();
  EXPECT_EQ(stream.read_to_end(), "0\r\n\r\n");
  EXPECT_FALSE(waiting->closed());
  waiting->send(200, "text/plain", "late");
  EXPECT_EQ(whole.read_answer().body, "late");
  EXPECT_TRUE(whole.at_end());

  pipelined.send(get("/a") + get("/b"));
  pipelined.half_close();
  held.reply(2)->send(200, "text/plain", "a");
  EXPECT_EQ(pipelined.read_answer().body, "a");
  held.reply(3)->send(200, "text/plain", "b");
  EXPECT_EQ(pipelined.read_answer().body, "b");
  EXPECT_TRUE(pipelined.at_end());
  EXPECT_EQ(held.gone, 0);
}

TEST(HttpStream, AHalfClosedStreamThatEndsAfterTheProbeIsComplete) {
  Held held;
  Client client(held.server.port());
  client.send(get("/stream"));
  const auto reply = held.reply();
  client.read_until("\r\n\r\n");
  client.half_close();
  EXPECT_EQ(client.read_until("0"), "0");
  reply->end();
  EXPECT_EQ(client.read_to_end(), "0\r\n\r\n");  // "00" is a last chunk, too
}

// ---- clients that do not read

TEST(HttpStream, ASlowReaderIsCutOffAndCostsBoundedMemory) {
  Options options = any_port();
  options.stream_backlog_bytes = 256 << 10;
  Held held(options);
  Client client(held.server.port(), 4096);
  client.send(get("/stream"));
  const auto reply = held.reply();
  const std::string chunk(16 << 10, 'x');
  uint64_t most = 0, written = 0;
  while (reply->write(chunk) && written < (64u << 20)) {
    written += chunk.size();
    most = std::max(most, reply->pending());
    std::this_thread::yield();
  }
  EXPECT_LT(written, 8u << 20) << "the system took far more than it should";
  EXPECT_LE(most, options.stream_backlog_bytes + chunk.size() + 16);
  EXPECT_TRUE(reply->closed());
  EXPECT_TRUE(soon([&] { return held.gone == 1 && held.server.connections() == 0; }));
  EXPECT_EQ(reply->pending(), 0u);
  EXPECT_EQ(client.read_to_end().find("\r\n0\r\n\r\n"), std::string::npos);
}

TEST(HttpStream, AReaderWhoTakesNothingForTooLongIsCutOff) {
  Options options = any_port();
  options.write_timeout = milliseconds(50);
  Held held(options);
  Client client(held.server.port(), 4096);
  client.send(get("/whole"));
  held.reply()->send(200, "text/plain", std::string(4 << 20, 'x'));  // no bound for one body
  EXPECT_TRUE(soon([&] { return held.server.connections() == 0; }));
}

TEST(HttpStream, ASlowReaderGetsAllIfTheWriterHeedsPending) {
  Held held;
  Client client(held.server.port(), 4096);
  client.send(get("/stream"));
  const auto reply = held.reply();
  constexpr size_t kChunks = 400;
  std::thread writer([&] {
    const std::string chunk(16 << 10, 'x');
    for (size_t i = 0; i < kChunks; ++i) {
      EXPECT_TRUE(soon([&] { return reply->pending() < (512u << 10); }));
      EXPECT_TRUE(reply->write(chunk));
    }
    reply->end();
  });
  EXPECT_EQ(client.read_answer().body.size(), kChunks * (16u << 10));
  writer.join();
  EXPECT_EQ(held.gone, 0);
}

// Writers, ends and vanishing clients at the same time, for the sanitizers.
TEST(HttpStream, ClientsMayGoAtAnyMoment) {
  std::atomic<int> begun = 0, finished = 0;
  Server server(any_port(), [&](Request, std::shared_ptr<Reply> reply) {
    ++begun;
    std::thread([&finished, reply] {
      reply->begin(200, "text/event-stream");
      for (int i = 0; i < 100 && reply->write("data: some words\n\n"); ++i)
        std::this_thread::yield();
      reply->end();
      ++finished;
    }).detach();
  });
  server.start();
  for (int i = 0; i < 100; ++i) {
    Client client(server.port());
    client.send(get("/") + get("/"));
    if (i % 4 > 0) client.read_some();
    if (i % 4 == 2) client.half_close();
    if (i % 2 == 0) client.reset();
  }
  EXPECT_TRUE(soon([&] { return server.connections() == 0; }));
  server.stop(milliseconds(0));
  EXPECT_TRUE(soon([&] { return begun == finished; }));
  EXPECT_GE(begun, 75);
}

}  // namespace
}  // namespace anser::http
