// Each allocation of a server fails once: a request is refused, or its connection ends, and the
// next one is answered as ever.
#include <gtest/gtest.h>

#include "server/states_fixture.h"
#include "support/failing_memory.h"

namespace anser {
namespace {

using namespace support;

// What is smaller is met by the reserve that the program keeps.
constexpr size_t kLarge = 1000;

class NoMemoryInServer : public StatesTest {
 protected:
  // All that comes until the server closes the connection.
  std::string exchange(const std::string& path, const std::string& body) {
    std::string request = http::post(path, body);
    request.insert(request.find("\r\n") + 2, "Connection: close\r\n");
    Client client(server_->port());
    client.send(request);
    return client.read_to_end();
  }
  void expect_survival(const std::string& path, const std::string& body) {
    int answered = 0, refused = 0;
    const int times = refuse_memory([&](int n) {
      const FailingMemory failing(n, kLarge);
      const std::string answer = exchange(path, body);
      const std::string status = answer.substr(0, 12);
      EXPECT_TRUE(status.empty() || status == "HTTP/1.1 200" || status == "HTTP/1.1 503" ||
                  status == "HTTP/1.1 500")
          << "allocation " << n << ": " << answer;
      status == "HTTP/1.1 200" ? ++answered : ++refused;
      // Nothing half: what looks whole is.
      if (status == "HTTP/1.1 200" && answer.find("Content-Length") != std::string::npos) {
        EXPECT_TRUE(answer.ends_with("}")) << "allocation " << n << ": " << answer;
      }
    });
    EXPECT_GT(times, 2);
    EXPECT_GT(answered, 0);
    EXPECT_GT(refused, 0);
    EXPECT_EQ(ask(http::get("/health")).status, 200);
    EXPECT_TRUE(exchange(path, body).starts_with("HTTP/1.1 200"));
    EXPECT_TRUE(http::soon([&] { return server_->connections() == 0; }));
    EXPECT_EQ(scheduler_->stats().running, 0);
  }
};

TEST_F(NoMemoryInServer, AnAnswerInOne) {
  start_with_states();
  expect_survival("/v1/completions",
                  R"({"prompt":"abc","max_tokens":3,"logprobs":1,"save_state":{"tags":["t"]}})");
}

TEST_F(NoMemoryInServer, AStream) {
  start_with_states();
  expect_survival("/v1/completions", R"({"prompt":"abc","max_tokens":3,"stream":true})");
}

}  // namespace
}  // namespace anser
