// What all connections may hold in memory together.
#include <gtest/gtest.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "server/http/server.h"
#include "server/http_client.h"

namespace anser::http {
namespace {

constexpr uint64_t kBudget = 4 << 20, kLarge = 1 << 20;

Options small_budget() {
  Options options = any_port();
  options.all_answer_bytes = kBudget;
  return options;
}

// "/large" has a megabyte, all else a few bytes.
void large_or_small(const Request& request, const std::shared_ptr<Reply>& reply) {
  reply->send(200, "text/plain", std::string(request.path == "/large" ? kLarge : 5, 'x'));
}

TEST(HttpBudget, AnswersThatNobodyReadsAreBoundedTogether) {
  const Options options = small_budget();
  Server server(options, large_or_small);
  server.start();
  std::vector<Client> clients;
  for (int i = 0; i < 30; ++i) {
    clients.emplace_back(server.port(), 4096);
    clients.back().send(get("/large"));
    EXPECT_TRUE(soon([&] { return options.load->refused + options.load->answer_bytes > 0; }));
    EXPECT_LE(options.load->answer_bytes, kBudget + 30 * (64 << 10));
  }
  EXPECT_TRUE(soon([&] { return options.load->refused > 0; }));

  Client small(server.port());  // there is always room for it
  small.send(get("/small"));
  EXPECT_EQ(small.read_answer().body, "xxxxx");

  // Who does not read gives way after a while, and answers can be had again.
  EXPECT_TRUE(soon([&] {
    Client another(server.port());
    another.send(get("/large"));
    const Answer answer = another.read_answer();
    EXPECT_EQ(answer.headers["Retry-After"], answer.status == 503 ? "1" : "");
    return answer.status == 200 && answer.body.size() == kLarge;
  }));
  EXPECT_GT(options.load->cut, 0u);
  for (Client& client : clients) client.close();
  EXPECT_TRUE(soon([&] { return options.load->answer_bytes == 0; }));
}

TEST(HttpBudget, AnAnswerThatNeverFitsSaysSo) {
  const Options options = small_budget();
  Server server(options, [](const Request&, const std::shared_ptr<Reply>& reply) {
    reply->send(200, "text/plain", std::string(kBudget + 1, 'x'));
  });
  server.start();
  Client client(server.port());
  client.send(get("/"));
  const Answer answer = client.read_answer();
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.headers["Retry-After"], "") << "it will not fit later, either";
  EXPECT_NE(answer.body.find("4194305 bytes"), std::string::npos) << answer.body;
  client.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");  // has no body that would wait
  EXPECT_EQ(client.read_head().status, 200);
}

// Streams that are not read in time have a limit each, and one together.
TEST(HttpBudget, StreamsCountToo) {
  const Options options = small_budget();
  std::mutex mutex;
  std::vector<std::shared_ptr<Reply>> replies;
  Server server(options, [&](const Request&, std::shared_ptr<Reply> reply) {
    reply->begin(200, "text/event-stream");
    const std::lock_guard lock(mutex);
    replies.push_back(std::move(reply));
  });
  server.start();
  std::vector<Client> clients;
  for (size_t i = 0; i < 20; ++i) {
    clients.emplace_back(server.port(), 4096);
    clients.back().send(get("/"));
    EXPECT_TRUE(soon([&] {
      const std::lock_guard lock(mutex);
      return replies.size() == i + 1;
    }));
  }
  const std::lock_guard lock(mutex);
  size_t open = 0;
  const std::string event(100'000, 'x');
  for (const auto& reply : replies) {
    bool goes_on = true;
    for (int i = 0; i < 9 && goes_on; ++i) goes_on = reply->write(event);
    open += goes_on ? 1 : 0;
    EXPECT_LE(options.load->answer_bytes, kBudget + 20 * (64 << 10));
  }
  EXPECT_GT(open, 2u);
  EXPECT_LT(open, 20u);
  replies.clear();
}

// A body counts for as long as somebody works on it.
TEST(HttpBudget, ABodyCountsUntilItsRequestIsGone) {
  Options options = any_port();
  options.all_body_bytes = 6000;
  std::mutex mutex;
  std::vector<Request> requests;
  Server server(options, [&](Request request, const std::shared_ptr<Reply>& reply) {
    reply->send(200, "text/plain", "taken");
    const std::lock_guard lock(mutex);
    requests.push_back(std::move(request));
  });
  server.start();
  const std::string request = post("/", std::string(4000, 'x'));
  const auto ask = [&] {
    Client client(server.port());
    client.send(request);
    return client.read_answer().status;
  };
  EXPECT_EQ(ask(), 200);
  EXPECT_EQ(options.load->body_bytes, 4000u);
  Client second(server.port());
  second.send(request.substr(0, request.size() - 1));
  EXPECT_EQ(second.read_answer().status, 503);
  {
    const std::lock_guard lock(mutex);
    requests.clear();
  }
  EXPECT_TRUE(soon([&] { return options.load->body_bytes == 0; }));
  EXPECT_EQ(ask(), 200);
}

// A few that send large bodies and never end them keep nobody out.
TEST(HttpBudget, SmallBodiesFindRoomBesideLargeOnesThatStop) {
  Options options = any_port();
  options.all_body_bytes = 1 << 20;
  Server server(options, [](const Request& request, const std::shared_ptr<Reply>& reply) {
    reply->send(200, "text/plain", std::to_string(request.body.size()));
  });
  server.start();
  const std::string large = post("/", std::string(600 << 10, 'x'));
  Client first(server.port()), second(server.port());
  first.send(large.substr(0, large.size() - 1));
  ASSERT_TRUE(soon([&] { return options.load->body_bytes >= (600 << 10) - 1; }));
  second.send(large.substr(0, large.size() - 1));
  EXPECT_EQ(second.read_answer().status, 503);
  Client filling(server.port());
  const std::string rest = post("/", std::string((424 << 10) + 1, 'x'));
  filling.send(rest.substr(0, rest.size() - 1));
  ASSERT_TRUE(soon([&] { return options.load->body_bytes >= (1 << 20) - 1; }));
  Client small(server.port());
  small.send(post("/", std::string(200, 'x')));
  EXPECT_EQ(small.read_answer().body, "200");
  Client larger(server.port());
  larger.send(post("/", std::string(2000, 'x')));
  EXPECT_EQ(larger.read_answer().status, 503);
}

// A stream of pieces, each of which is made when the one before has gone.
class Pieces {
 public:
  Pieces(std::shared_ptr<Reply> reply, int count) : reply_(std::move(reply)), left_(count) {}
  static void next(const std::shared_ptr<Pieces>& self) {
    EXPECT_LE(self->reply_->pending(), 200u) << "nothing but the head";
    if (self->left_-- == 0) return self->reply_->end();
    if (!self->reply_->write(std::string(100'000, 'x'))) return;
    self->reply_->on_drained([self] { next(self); });
  }

 private:
  const std::shared_ptr<Reply> reply_;
  int left_;
};

TEST(HttpBudget, AStreamOfAnyLengthWaitsForItsClient) {
  static constexpr int kPieces = 100;
  const Options options = small_budget();
  Server server(options, [](const Request& request, const std::shared_ptr<Reply>& reply) {
    std::optional<uint64_t> length;
    if (request.path == "/length") length = kPieces * 100'000;
    reply->begin(200, "text/plain", {}, length);
    Pieces::next(std::make_shared<Pieces>(reply, kPieces));
  });
  server.start();
  for (const char* path : {"/length", "/chunks"}) {
    Client client(server.port(), 4096);
    client.send(get(path));
    for (int i = 0; i < 3; ++i) {
      EXPECT_LE(options.load->answer_bytes, 200'000u);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    const Answer answer = client.read_answer();
    EXPECT_EQ(answer.body.size(), kPieces * 100'000u);
    EXPECT_EQ(answer.headers["Content-Length"], path[1] == 'l' ? "10000000" : "");
    client.send(get("/length"));  // the connection goes on
    EXPECT_EQ(client.read_answer().body.size(), kPieces * 100'000u);
  }
}

TEST(HttpBudget, AStreamThatEndsBeforeItsLengthDoesNotLookComplete) {
  Server server(any_port(), [](const Request&, const std::shared_ptr<Reply>& reply) {
    reply->begin(200, "text/plain", {}, 10);
    reply->write("five!");
    reply->end();
  });
  server.start();
  Client client(server.port());
  client.send(get("/"));
  client.read_to_end();
  EXPECT_TRUE(client.broken());
}

}  // namespace
}  // namespace anser::http
