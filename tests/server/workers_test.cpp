// Requests are prepared beside each other: small ones wait for no large one, HTTP's threads for
// none.
#include "server/workers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <mutex>
#include <new>
#include <stdexcept>
#include <thread>

#include "server/http/exchange.h"
#include "server/http/send_budget.h"
#include "server/openai/api_error.h"
#include "server/service_fixture.h"

namespace anser {
namespace {

using std::chrono::milliseconds;
constexpr size_t kLarge = Workers::kLargeBody + 1;

class WorkersTest : public testing::Test {
 protected:
  static std::shared_ptr<http::Exchange> exchange() {
    const auto options = std::make_shared<const http::Options>();
    return std::make_shared<http::Exchange>(
        http::Exchange::Form{}, options, std::make_shared<const std::atomic<bool>>(false),
        std::make_shared<http::SendBudget>(options->all_answer_bytes, options->load), [] {});
  }
  static Workers::Reply reply() { return std::make_shared<http::Reply>(exchange()); }
  // What would be sent, up to the end of its head's first line.
  static std::string first_line(http::Exchange& exchange) {
    std::string bytes;
    exchange.take(bytes);
    return bytes.substr(0, bytes.find('\r'));
  }

  std::mutex mutex_;
  std::vector<std::string> faults_;
  Workers workers_{[this](const std::string& what) {
    const std::lock_guard lock(mutex_);
    faults_.push_back(what);
  }};
};

TEST_F(WorkersTest, SmallRequestsPassLargeOnes) {
  std::latch release(1), done(10);
  std::atomic<int> large{0};
  for (int i = 0; i < 5; ++i) {
    workers_.start(kLarge, reply(), [&] {
      release.wait();
      ++large;
    });
  }
  for (int i = 0; i < 10; ++i) workers_.start(100, reply(), [&] { done.count_down(); });
  done.wait();  // for ever if they had to wait
  EXPECT_EQ(large, 0);
  EXPECT_FALSE(workers_.idle());
  release.count_down();
  workers_.wait();
  EXPECT_EQ(large, 5);
  EXPECT_TRUE(workers_.idle());
}

TEST_F(WorkersTest, TooManyAreRefusedButNoneThatHasBegun) {
  std::latch release(1);
  std::atomic<int> ran{0};
  const auto work = [&] {
    release.wait();
    ++ran;
  };
  int taken = 0;
  try {
    for (; taken < 1000; ++taken) workers_.start(kLarge, reply(), work);
    ADD_FAILURE() << "all were taken";
  } catch (const openai::ApiError& error) {
    EXPECT_EQ(error.status(), 429);
  }
  EXPECT_GE(taken, 64);
  workers_.go_on(kLarge, reply(), work);
  std::atomic<bool> small = false;
  workers_.start(0, reply(), [&] { small = true; });  // the other lane is free
  EXPECT_TRUE(http::soon([&] { return small.load(); }));
  release.count_down();
  workers_.wait();
  EXPECT_EQ(ran, taken + 1);
}

// What has been read takes many times the memory of what has not.
TEST_F(WorkersTest, WhatHasBegunComesBeforeWhatHasNot) {
  std::latch release(1);
  std::vector<int> order;
  workers_.start(kLarge, reply(), [&] { release.wait(); });
  for (int i = 0; i < 3; ++i) {
    workers_.start(kLarge, reply(), [&, i] {
      order.push_back(i);
      workers_.go_on(kLarge, reply(), [&, i] { order.push_back(10 + i); });
    });
  }
  release.count_down();
  workers_.wait();
  EXPECT_EQ(order, (std::vector{0, 10, 1, 11, 2, 12}));
}

TEST_F(WorkersTest, WhatIsThrownAnswers) {
  const auto refused = exchange(), broken = exchange(), no_memory = exchange();
  workers_.start(0, std::make_shared<http::Reply>(refused),
                 [] { throw openai::ApiError::bad_field("n", "no"); });
  workers_.start(0, std::make_shared<http::Reply>(broken),
                 [] { throw std::logic_error("not foreseen"); });
  workers_.start(0, std::make_shared<http::Reply>(no_memory), [] { throw std::bad_alloc(); });
  workers_.wait();
  EXPECT_EQ(first_line(*refused), "HTTP/1.1 400 Bad Request");
  EXPECT_EQ(first_line(*broken), "HTTP/1.1 500 Internal Server Error");
  EXPECT_EQ(first_line(*no_memory), "HTTP/1.1 503 Service Unavailable");
  const std::lock_guard lock(mutex_);
  EXPECT_EQ(faults_, std::vector<std::string>{"not foreseen"});
}

TEST_F(WorkersTest, NothingIsDoneForClientsThatHaveGone) {
  std::latch release(1);
  workers_.start(kLarge, reply(), [&] { release.wait(); });
  const auto gone = exchange();
  bool ran = false;
  workers_.start(kLarge, std::make_shared<http::Reply>(gone), [&] { ran = true; });
  gone->detach();
  release.count_down();
  workers_.wait();
  EXPECT_FALSE(ran);
}

TEST_F(WorkersTest, WaitsForWhatWorkAdds) {
  std::atomic<int> depth{0};
  std::function<void()> again = [&] {
    if (++depth < 20) workers_.go_on(depth % 2 == 0 ? 0 : kLarge, reply(), again);
  };
  workers_.start(0, reply(), again);
  workers_.wait();
  EXPECT_EQ(depth, 20);
}

// A body counts among all bodies until the last part of its request is done.
TEST(BodyShare, CountsUntilTheRequestIsGone) {
  http::Options options = http::any_port();
  options.body_bytes = 5'000;
  options.all_body_bytes = 6'000;
  std::mutex mutex;
  std::vector<std::pair<http::Request, std::shared_ptr<http::Reply>>> kept;
  http::Server server(options, [&](http::Request request, std::shared_ptr<http::Reply> reply) {
    const std::lock_guard lock(mutex);
    kept.emplace_back(std::move(request), std::move(reply));
  });
  server.start();
  const std::string request = http::post("/", std::string(4'000, 'x'));
  http::Client first(server.port()), second(server.port()), third(server.port());
  first.send(request);
  ASSERT_TRUE(http::soon([&] {
    const std::lock_guard lock(mutex);
    return kept.size() == 1;
  }));
  second.send(request);
  const http::Answer refused = second.read_answer();
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers["Retry-After"], "1");
  {
    const std::lock_guard lock(mutex);
    kept[0].second->send(200, "text/plain", "done");
    kept.clear();
  }
  EXPECT_EQ(first.read_answer().status, 200);
  third.send(request);
  ASSERT_TRUE(http::soon([&] {
    const std::lock_guard lock(mutex);
    return kept.size() == 1;
  }));
  const std::lock_guard lock(mutex);
  kept[0].second->send(200, "text/plain", "done");
  EXPECT_EQ(third.read_answer().status, 200);
  kept.clear();
}

class BusyServiceTest : public ServiceTest {};

// Both HTTP threads were busy for seconds with two such bodies.
TEST_F(BusyServiceTest, HealthAnswersBesideTwoBodiesOfSixteenMegabytes) {
  start();
  std::string body = R"({"prompt":"a","max_tokens":1,"extra":[)";
  while (body.size() < (size_t{15} << 20)) body += "{\"a\":[1.25,\"b\"]},";
  body += "0]}";
  Client clients[] = {Client(server_->port()), Client(server_->port())};
  std::vector<std::jthread> senders;
  for (Client& client : clients) {
    senders.emplace_back([&] { client.send(http::post("/v1/completions", body)); });
  }
  int slow = 0;
  constexpr int kAsked = 100;
  for (int i = 0; i < kAsked; ++i) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(ask(http::get("/health")).status, 200);
    slow += std::chrono::steady_clock::now() - start > milliseconds(250);
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_LE(slow, kAsked / 2);  // some may be the machine's own
  senders.clear();
  stop();
}

}  // namespace
}  // namespace anser
