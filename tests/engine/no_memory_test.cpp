// Each allocation of a schedule fails once: texts fail, the scheduler goes on.
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "anser/scheduler.h"
#include "support/engines.h"
#include "support/failing_memory.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

class Listener final : public Reader {
 public:
  bool on_text(std::string_view piece, std::vector<TokenDetails>) override {
    const std::lock_guard lock(mutex_);
    text_ += piece;
    return true;
  }
  void on_end(Finished finished) override {
    const std::lock_guard lock(mutex_);
    ++ends_;
    finished_ = std::move(finished);
    changed_.notify_all();
  }
  // Whether it ended within ten seconds, once.
  bool ended() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return ends_ > 0; }) &&
           ends_ == 1;
  }
  const Finished& finished() const { return finished_; }
  const std::string& text() const { return text_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
  Finished finished_;
  int ends_ = 0;
};

class NoMemory : public testing::Test {
 protected:
  NoMemory() {
    write_gguf(dir_ / "m.gguf", random_model({.vocab = 256, .width = 64, .layers = 2, .ffn = 64}),
               {.type = Ggml::q8_0});
    model_ = std::make_unique<Model>(Model::open(dir_ / "m.gguf"));
    engine_ = Engine::create(*model_, {.device = Device::cpu, .threads = 2});
  }
  Order order(uint64_t seed) const {
    Order order{model_->initial_state(), as_tokens(random_tokens(40, 256, seed / 2))};
    order.generation.max_tokens = 6;
    order.generation.sampling.seed = seed;
    order.generation.stop_tokens.clear();
    order.generation.stop = {"never said"};
    order.top_logprobs = 2;
    order.keep_state = true;
    order.checkpoints = {20};
    return order;
  }
  // All at once. Nothing of a text that was not taken.
  std::vector<std::shared_ptr<Listener>> write(Scheduler& scheduler) {
    std::vector<std::shared_ptr<Listener>> listeners;
    for (uint64_t seed = 0; seed < 4; ++seed) {
      listeners.push_back(std::make_shared<Listener>());
      EXPECT_NE(scheduler.submit(order(seed), listeners.back()), 0u);
    }
    return listeners;
  }

  TempDir dir_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(NoMemory, FailsTextsAndNotTheScheduler) {
  SchedulerOptions options;
  options.max_batch = 3;  // the fourth waits
  Scheduler scheduler(*engine_, options);
  const auto expected = write(scheduler);
  for (const auto& each : expected) ASSERT_TRUE(each->ended());
  int failed = 0, whole = 0;
  const int refused = refuse_memory([&](int n) {
    const FailingMemory failing(n);
    const auto listeners = write(scheduler);
    for (size_t i = 0; i < listeners.size(); ++i) {
      ASSERT_TRUE(listeners[i]->ended()) << "allocation " << n << ", text " << i;
      const Finished& finished = listeners[i]->finished();
      if (!finished.error.empty()) {
        ++failed;
        EXPECT_EQ(finished.error, "out of memory");
        EXPECT_TRUE(finished.no_memory);
        continue;
      }
      ++whole;
      EXPECT_EQ(listeners[i]->text(), expected[i]->text()) << "allocation " << n;
      EXPECT_TRUE(finished.state == expected[i]->finished().state) << "allocation " << n;
    }
  });
  EXPECT_GT(refused, 20);
  EXPECT_GT(failed, 0);
  EXPECT_GT(whole, failed);  // most fail alone
}

}  // namespace
}  // namespace anser
