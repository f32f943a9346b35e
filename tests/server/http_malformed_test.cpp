// What is no HTTP, or could be read in two ways.
#include <gtest/gtest.h>

#include <random>

#include "server/http_refusals.h"

namespace anser::http {
namespace {

struct Bad {
  const char* bytes;
  int status;
};

const Bad kBad[] = {
    {"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", 400},
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
