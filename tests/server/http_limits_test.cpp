// What is refused: too much, too slow, too many, and what is no HTTP.
#include <gtest/gtest.h>

#include <future>
#include <random>
#include <thread>

#include "server/http/request_reader.h"
#include "server/http/server.h"
#include "server/http_client.h"

namespace anser::http {
namespace {

// Small limits; errors as the API would want them.
Options tight() {
  Options options = any_port();
  options.header_bytes = 1000;
  options.body_bytes = 5000;
  options.error_body = [](int status, const std::string& message) {
    return ErrorBody{"application/json", "{\"error\":{\"code\":" + std::to_string(status) +
                                             ",\"message\":\"" + message + "\"}}"};
  };
  return options;
}

void accept_all(Request request, std::shared_ptr<Reply> reply) {
  reply->send(200, "text/plain", std::to_string(request.body.size()));
}

// The server answers `bytes` with `status` in the API's form, and closes.
void expect_refused(uint16_t port, const std::string& bytes, int status,
                    const std::string& message) {
  SCOPED_TRACE(bytes.substr(0, 120));
  Client client(port);
  client.send(bytes);
  const Answer answer = client.read_answer();
  EXPECT_EQ(answer.status, status);
  EXPECT_EQ(answer.headers["Content-Type"], "application/json");
  EXPECT_EQ(answer.headers["Connection"], "close");
  EXPECT_NE(answer.body.find("\"code\":" + std::to_string(status)), std::string::npos)
      << answer.body;
  EXPECT_NE(answer.body.find(message), std::string::npos) << answer.body;
  EXPECT_TRUE(client.at_end());
  EXPECT_FALSE(client.broken()) << "the client may lose the answer";
}

// Reads `bytes` in pieces that end where `cut` says; the first character tells how it went.
std::string read_in_pieces(std::string_view bytes, const std::function<size_t(size_t)>& cut) {
  RequestReader reader(1000, 5000);
  std::string rest;
  for (size_t at = 0; at < bytes.size();) {
    const size_t end = std::min(bytes.size(), cut(at));
    rest += bytes.substr(at, end - at);
    at = end;
    RequestReader::Step step;
    do {
      size_t used = 0;
      step = reader.read(rest, used);
      EXPECT_LE(used, rest.size());
      rest.erase(0, used);
    } while (step == RequestReader::Step::header);
    if (step == RequestReader::Step::refused) return "R" + std::to_string(reader.status());
    if (step == RequestReader::Step::done) {
      const Request request = reader.take();
      std::string text =
          "D" + request.method + request.path + "?" + request.query + request.body + "|";
      for (const auto& [name, value] : request.headers) text += name + "=" + value + ";";
      return text;
    }
  }
  return "M";
}

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

// ---- what is no HTTP, or could be read in two ways

struct Bad {
  const char* bytes;
  int status;
};

const Bad kBad[] = {
    {"\r\n\r\n", 400},
    {"GET\r\n\r\n", 400},
    {"GET /\r\n\r\n", 400},
    {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505},
    {"GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505},
    {"GET / http/1.1\r\nHost: x\r\n\r\n", 505},
    {"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
    {"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
    {"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 505},
    {"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
    {"GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
    {"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
    {"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
    {"CONNECT host:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
    {"\x16\x03\x01\x02\x01\xfc\x03\x03", 400},  // TLS
    {"GET / HTTP/1.1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: x\r\nX: y\r\n\tz\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: x\r\nX:\r\n \r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: u\r\n v\r\n\r\n",
     400},
    {"GET / HTTP/1.1\r\nHost: x\r\nX\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: x\r\nX: a\x01\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", 400},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\na", 400},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na", 400},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\na", 400},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1\r\n\r\na", 400},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: "
     "chunked\r\n\r\n0\r\n\r\n",
     400},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: "
     "5\r\n\r\n0\r\n\r\n",
     400},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
     "chunked\r\n\r\n0\r\n\r\n",
     400},
    {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\nContent-Length: 1\r\n\r\na", 417},
};

TEST(HttpLimits, WhatIsNoHttpOrCouldBeReadInTwoWays) {
  Server server(tight(), accept_all);
  server.start();
  for (const Bad& bad : kBad) expect_refused(server.port(), bad.bytes, bad.status, "");
  Client client(server.port());
  client.send(get("/"));
  EXPECT_EQ(client.read_answer().status, 200);
}

TEST(HttpLimits, BytesMeanTheSameHoweverTheyAreCut) {
  std::vector<std::string> texts = {get("/a?b=c", "X: y\r\nx: z\r\n"), post("/", "some body"),
                                    "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
                                    "chunked\r\n\r\n3;e=f\r\nabc\r\n02\r\nde\r\n0\r\nT: u\r\n\r\n"};
  EXPECT_EQ(read_in_pieces(texts[2], [](size_t at) { return at + 1; }).substr(0, 13),
            "DPOST/?abcde|");
  for (const Bad& bad : kBad) texts.push_back(bad.bytes);
  for (const std::string& text : texts) {
    const std::string whole = read_in_pieces(text, [](size_t) { return std::string::npos; });
    for (size_t end = 1; end < text.size(); ++end) {
      EXPECT_EQ(read_in_pieces(text, [=](size_t at) { return at < end ? end : std::string::npos; }),
                whole)
          << text.substr(0, end) << " -- " << text.substr(end);
    }
    EXPECT_EQ(read_in_pieces(text, [](size_t at) { return at + 1; }), whole) << text;
  }
}

// Bytes at random, and good requests with a few of theirs changed: nothing but answers comes back,
// and the server goes on.
TEST(HttpLimits, RandomBytes) {
  Server server(tight(), accept_all);
  server.start();
  std::mt19937 random(20);
  const std::vector<std::string> good = {
      get("/a?b=c"), post("/", "some body"), get("/x", "Connection: close\r\n"),
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"};
  for (int i = 0; i < 300; ++i) {
    std::string bytes;
    if (i % 3 == 0) {
      bytes.resize(random() % 3000);
      for (char& c : bytes) c = char(random());
    } else {
      for (int k = 0; k < 3; ++k) bytes += good[random() % good.size()];
      for (int k = 0; k < 4; ++k) bytes[random() % bytes.size()] = char(random());
    }
    Client client(server.port());
    client.send(bytes);
    client.half_close();
    const std::string answers = client.read_to_end();
    EXPECT_TRUE(answers.empty() || answers.rfind("HTTP/1.1 ", 0) == 0) << answers;
  }
  Client client(server.port());
  client.send(get("/"));
  EXPECT_EQ(client.read_answer().status, 200);
  client.close();
  EXPECT_TRUE(soon([&] { return server.connections() == 0; }));
}

}  // namespace
}  // namespace anser::http
