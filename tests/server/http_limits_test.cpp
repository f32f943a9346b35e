// What is refused: too much, too slow, too many.
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "server/http_refusals.h"

namespace anser::http {
namespace {

TEST(HttpLimits, OfSizesEachHasItsError) {
  Server server(tight(), accept_all);
  server.start();
  const uint16_t port = server.port();
  const std::string chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  expect_refused(port, get("/", "X: " + std::string(1000, 'x') + "\r\n"), 431,
                 "more than 1000 bytes");
  expect_refused(port, get("/" + std::string(100'000, 'x')), 431, "more than 1000 bytes");
  expect_refused(port, "GET /" + std::string(2000, 'x'), 431, "more than 1000 bytes");
  expect_refused(port, post("/", std::string(5001, 'x')), 413, "more than 5000 bytes");
  expect_refused(
      port, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5001\r\n\r\n",
      413, "more than 5000 bytes");
  expect_refused(port, chunked + "1388\r\n" + std::string(5000, 'x') + "\r\n1\r\nx\r\n", 413,
                 "more than 5000 bytes");
  expect_refused(port, chunked + "ffffffffffffff\r\n", 413, "more than 5000 bytes");
  expect_refused(port, chunked + "1;" + std::string(3000, 'x'), 431, "more than 1000 bytes");

  Client client(port);
  client.send(post("/", std::string(5000, 'x')));
  EXPECT_EQ(client.read_answer().body, "5000");
}

std::string repeated(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

// However short a header's fields are, and however the client cuts it.
TEST(HttpLimits, OfSizesHoldForAllPiecesTogether) {
  Server server(tight(), accept_all);
  server.start();
  const uint16_t port = server.port();
  const std::string head = "GET / HTTP/1.1\r\nHost: x";
  expect_refused(port, head + repeated("\r\nA:", 2000), 431, "");
  expect_refused(port, head + repeated("\r\nLonger: field", 100), 431, "more than 1000 bytes");
  expect_refused(port, head + repeated("\r\nA:", 100) + "\r\n\r\n", 431, "more than 100 header");
  {
    // A piece leaves a field unread that the next one ends.
    Client client(port);
    for (int i = 0; i < 200; ++i) {
      client.send(i == 0 ? head + "\r\nA" : ":\r\nA");
      std::this_thread::sleep_for(milliseconds(1));
    }
    EXPECT_EQ(client.read_answer().status, 431);
  }
  const std::string chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  expect_refused(port, chunked + "0\r\n" + repeated("T: u\r\n", 1000), 431, "more than 1000 bytes");
  expect_refused(port, chunked + "0\r\n" + repeated("Trailer: u\r\n", 90) + "\r\n", 431,
                 "more than 1000 bytes");
  expect_refused(port, chunked + "0\r\n" + repeated("T:\r\n", 101) + "\r\n", 431,
                 "more than 100 header fields");
  expect_refused(port, chunked + repeated("1;a=b\r\nx\r\n", 300), 431, "more than 1000 bytes");
  expect_refused(port, chunked + repeated("0", 40) + "1\r\nx\r\n", 431, "more than 1000 bytes");

  Client client(port);
  client.send(head + repeated("\r\nA:", 99) + "\r\n\r\n");
  EXPECT_EQ(client.read_answer().status, 200);
  client.send(chunked + repeated("1\r\nx\r\n", 3000) + "0;a=b\r\n" + repeated("T: u\r\n", 99) +
              "\r\n");
  EXPECT_EQ(client.read_answer().body, "3000");
}

// Longer than the limit by one byte, or not, in every way of cutting it.
TEST(HttpLimits, OfAHeaderIsExact) {
  const std::string head = "GET / HTTP/1.1\r\nHost: x\r\nX: ", end = "\r\n\r\n";
  for (const size_t size : {999u, 1000u, 1001u}) {
    const std::string bytes = head + std::string(size - head.size() - end.size(), 'x') + end;
    for (const size_t piece : {1u, 2u, 7u, 500u, 5000u}) {
      const std::string read = read_in_pieces(bytes, [=](size_t at) { return at + piece; });
      EXPECT_EQ(read.substr(0, 4), size <= 1000 ? "DGET" : "R431") << size << " " << piece;
    }
  }
}

// A body that is much larger than what the system's buffers hold is not waited for.
TEST(HttpLimits, ALargeBodyIsRefusedWhileItIsStillSent) {
  Server server(tight(), accept_all);
  server.start();
  expect_refused(server.port(), post("/", std::string(8 << 20, 'x')), 413, "more than 5000 bytes");
}

TEST(HttpLimits, OfAllBodiesTogether) {
  Options options = tight();
  options.all_body_bytes = 6000;
  options.threads = 1;  // so that who sends first is read first
  Server server(options, accept_all);
  server.start();
  const std::string half =
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4001\r\n\r\n" + std::string(4000, 'x');
  Client first(server.port());
  first.send(half);
  Client second(server.port());
  second.send(half);
  const Answer answer = second.read_answer();
  EXPECT_EQ(answer.status, 503);
  EXPECT_NE(answer.headers["Retry-After"], "");
  first.send("x");
  EXPECT_EQ(first.read_answer().body, "4001");
  Client third(server.port());  // there is room again
  third.send(half + "x");
  EXPECT_EQ(third.read_answer().body, "4001");
}

// Large bodies that come slowly do not keep out small ones.
TEST(HttpLimits, OfAllBodiesTogetherLeaveRoomForSmallOnes) {
  Options options = any_port();
  options.all_body_bytes = 8 << 20;
  Server server(options, accept_all);
  server.start();
  Client large(server.port());
  large.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8388609\r\n\r\n" +
             std::string(8 << 20, 'x'));
  ASSERT_TRUE(soon([&] { return options.load->body_bytes == 8 << 20; }));
  Client small(server.port());
  small.send(post("/", std::string(2048, 'x')));
  EXPECT_EQ(small.read_answer().body, "2048");
  Client more(server.port());
  more.send(post("/", std::string(2049, 'x')));
  EXPECT_EQ(more.read_answer().status, 503);
}

TEST(HttpLimits, OfConnections) {
  Options options = tight();
  options.connections = 3;
  Server server(options, accept_all);
  server.start();
  std::vector<Client> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back(server.port());
    clients.back().send(get("/"));
    EXPECT_EQ(clients.back().read_answer().status, 200);
  }
  expect_refused(server.port(), "", 503, "more than 3 connections");
  expect_refused(server.port(), get("/"), 503, "more than 3 connections");
  clients[1].close();
  EXPECT_TRUE(soon([&] { return server.connections() == 2; }));
  Client another(server.port());
  another.send(get("/"));
  EXPECT_EQ(another.read_answer().status, 200);
}

// Clients that keep all places, with requests that do not end or with none, keep others out for a
// second; a request that is being answered keeps its place.
TEST(HttpLimits, OfConnectionsThatWaitDoNotKeepOthersOut) {
  Options options = tight();
  options.connections = 4;
  std::shared_ptr<Reply> held;
  std::promise<void> asked;
  Server server(options, [&](Request request, std::shared_ptr<Reply> reply) {
    if (request.path != "/held") return accept_all(std::move(request), std::move(reply));
    held = std::move(reply);
    asked.set_value();
  });
  server.start();
  Client answered(server.port());
  answered.send(get("/held"));
  asked.get_future().wait();
  std::vector<Client> greedy;
  for (const char* begin : {"GET / HTTP/1.1\r\n", "", "POST / HTTP/1.1\r\nHost: x\r\n"}) {
    greedy.emplace_back(server.port());
    greedy.back().send(begin);
  }
  ASSERT_TRUE(soon([&] { return server.connections() == 4; }));
  int status = 503;
  EXPECT_TRUE(soon([&] {
    Client client(server.port());
    client.send(get("/", "Connection: close\r\n"));
    status = client.read_answer().status;
    if (status == 503) std::this_thread::sleep_for(milliseconds(50));
    return status == 200;
  }));
  held->send(200, "text/plain", "held");
  EXPECT_EQ(answered.read_answer().body, "held");
}

// Nor do those that read nothing; who reads keeps the place.
TEST(HttpLimits, OfConnectionsWhoseAnswersAreNotReadDoNotKeepOthersOut) {
  Options options = tight();
  options.connections = 3;
  Server server(options, [&](Request request, std::shared_ptr<Reply> reply) {
    const size_t bytes = request.path == "/large" ? 20 << 20 : 4;
    reply->send(200, "text/plain", std::string(bytes, 'x'));
  });
  server.start();
  Client reads(server.port(), 4096);
  std::vector<Client> greedy;
  for (int i = 0; i < 2; ++i) greedy.emplace_back(server.port(), 4096).send(get("/large"));
  reads.send(get("/large"));
  ASSERT_TRUE(soon([&] { return server.connections() == 3; }));
  int status = 503;
  EXPECT_TRUE(soon([&] {
    for (int i = 0; i < 50; ++i) EXPECT_NE(reads.read_some(), "");
    Client client(server.port());
    client.send(get("/", "Connection: close\r\n"));
    status = client.read_answer().status;
    if (status == 503) std::this_thread::sleep_for(milliseconds(50));
    return status == 200;
  }));
  EXPECT_NE(reads.read_some(), "");
}

TEST(HttpLimits, OfTime) {
  Options options = tight();
  options.read_timeout = milliseconds(60);
  options.idle_timeout = milliseconds(120);
  Server server(options, accept_all);
  server.start();
  expect_refused(server.port(), "GET / HT", 408, "within 60 ms");
  expect_refused(server.port(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", 408,
                 "within 60 ms");

  // A byte now and then does not help, wherever it stands.
  const std::string chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const auto& [first, dripped] : std::vector<std::pair<std::string, std::string>>{
           {"", "x"},
           {"GET / HTTP/1.1\r\nHost: x\r\n", "X: y\r\n"},
           {chunked, "1\r\nx\r\n"},
           {chunked + "1;", "e"},
           {chunked + "0\r\n", "T: u\r\n"}}) {
    Client slow(server.port());
    slow.send(first);
    std::thread dripping([&, &dripped = dripped] {
      for (int i = 0; i < 30; ++i) {
        slow.send(dripped);
        std::this_thread::sleep_for(milliseconds(10));
      }
    });
    EXPECT_EQ(slow.read_answer().status, 408) << first << dripped;
    dripping.join();
  }

  Client idle(server.port());
  EXPECT_TRUE(idle.at_end()) << "before the first request";
  Client kept(server.port());
  kept.send(get("/"));
  EXPECT_EQ(kept.read_answer().status, 200);
  EXPECT_TRUE(kept.at_end()) << "after it";
}

// An answer may take any time, however short the others are.
TEST(HttpLimits, OfTimeAreNotTheHandlers) {
  Options options = tight();
  options.read_timeout = options.idle_timeout = options.write_timeout = milliseconds(20);
  std::vector<std::thread> threads;
  Server server(options, [&](Request, std::shared_ptr<Reply> reply) {
    threads.emplace_back([reply] {
      std::this_thread::sleep_for(milliseconds(150));
      reply->send(200, "text/plain", "at last");
    });
  });
  server.start();
  Client client(server.port());
  client.send(get("/"));
  EXPECT_EQ(client.read_answer().body, "at last");
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace anser::http
