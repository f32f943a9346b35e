// A system that allows no more threads.
#include <gtest/gtest.h>

#include "anser/error.h"
#include "anser/scheduler.h"
#include "server/errands.h"
#include "server/http/server.h"
#include "server/http_client.h"
#include "support/engines.h"
#include "support/failing_threads.h"

namespace anser {
namespace {

using namespace support;

TEST(NoMoreThreads, ErrandsEnd) {
  if (!FailingThreads::works()) GTEST_SKIP() << "threads cannot be refused here";
  EXPECT_EQ(refuse_threads([] { Errands(3, 10).wait(); }), 3);
}

TEST(NoMoreThreads, AnHttpServerEnds) {
  if (!FailingThreads::works()) GTEST_SKIP() << "threads cannot be refused here";
  http::Options options = http::any_port();
  options.threads = 3;
  const int refused = refuse_threads([&] {
    http::Server server(options, [](http::Request, std::shared_ptr<http::Reply> reply) {
      reply->send(200, "text/plain", "here");
    });
    server.start();
    http::Client client(server.port());
    client.send(http::get("/"));
    EXPECT_EQ(client.read_answer().status, 200);
  });
  EXPECT_GE(refused, 3);
}

TEST(NoMoreThreads, AnEngineAndAScheduler) {
  if (!FailingThreads::works()) GTEST_SKIP() << "threads cannot be refused here";
  const Model model = Model::embedded();
  const int refused = refuse_threads([&] {
    const auto engine = Engine::create(model, {.device = Device::cpu, .threads = 3});
    const Scheduler scheduler(*engine);
  });
  // Two of the engine, the scheduler's own, and at least one that prepares masks.
  EXPECT_GE(refused, 4);
}

}  // namespace
}  // namespace anser
