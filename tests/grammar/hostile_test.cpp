// Schemas that cost much hurt nobody: they are refused in time, by name and in a kilobyte; and one
// that is accepted makes no other text wait.
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "anser/generate.h"
#include "anser/scheduler.h"
#include "grammar/constraints.h"
#include "grammar/hostile_schemas.h"
#include "support/errors.h"
#include "text/utf8.h"

namespace anser {
namespace {

using namespace support;
using Clock = std::chrono::steady_clock;

// On a busy machine, in a program that is not optimised. What an idle one needs is a hundredth.
constexpr double kSecondsToCompile = 30, kLongestGap = 5;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void expect_bounded(const std::string& error) {
  EXPECT_LE(error.size(), 1024u);
  EXPECT_TRUE(is_valid_utf8(error)) << error;
}

TEST(HostileSchemas, AreCompiledOrRefusedInTime) {
  const std::vector<HostileSchema> all = hostile_schemas();
  EXPECT_GE(all.size(), 50u);
  for (const HostileSchema& schema : all) {
    SCOPED_TRACE(schema.name);
    const Clock::time_point begin = Clock::now();
    try {
      byte_constraint(schema.text);
    } catch (const Error& error) {
      expect_bounded(error.what());
    }
    EXPECT_LT(seconds_since(begin), kSecondsToCompile);
  }
}

TEST(HostileSchemas, NamedOnesAreRefusedForWhatTheyAre) {
  const std::pair<const char*, const char*> wrong[] = {
      {R"({"type":"integer","anyOf":[{"$ref":"#"}]})", "circle"},
      {R"({"type":"integer","allOf":[{"$ref":"#"}]})", "circle"},
      {R"({"type":"string","pattern":"^(a{1000}){1000}$"})", "states"},
  };
  for (const auto& [schema, word] : wrong) {
    expect_error({word}, [&, text = schema] { byte_constraint(text); });
  }
}

// What is said of it is cut between characters, and says where.
TEST(HostileSchemas, ErrorsRepeatAHundredCharacters) {
  const std::string long_name = repeated(5000, "ž");
  for (const std::string& schema :
       {R"({"required":")" + long_name + "\"}",
        R"({"properties":{")" + long_name + R"(":{"not":1}}})",
        R"({"$ref":"#/)" + long_name + "\"}", R"({"type":")" + long_name + "\"}",
        R"({"minimum":")" + long_name + "\"}", R"({"minItems":")" + long_name + "\"}",
        R"({"pattern":"()" + long_name + "\"}"}) {
    const std::string error = error_of([&] { byte_constraint(schema); });
    expect_bounded(error);
    EXPECT_LT(error.size(), 600u) << error;
    EXPECT_NE(error.find("the schema"), std::string::npos) << error;
    EXPECT_NE(error.find(repeated(90, "ž")), std::string::npos) << error;
    EXPECT_EQ(error.find(repeated(101, "ž")), std::string::npos) << error;
  }
}

// The budget is one for all functions, and the blame is his who spends most of it.
TEST(HostileSchemas, ManyFunctionsShareABudget) {
  const Constraint::Function good = {"good", R"({"properties":{"a":{"type":"string"}}})"};
  std::vector<Constraint::Function> functions(50, good);
  functions[30] = {"bad", with_pattern("^(a{1000}){1000}$")};
  functions[30].parameters = R"({"properties":{"a":)" + functions[30].parameters + "}}";
  const auto compile = [&] { Constraint::json_call(Tokenizer::bytes(), 256, functions); };
  try {
    compile();
    ADD_FAILURE() << "no Error was thrown";
  } catch (const Constraint::FunctionError& error) {
    EXPECT_EQ(error.index, 30u);
    EXPECT_NE(std::string(error.what()).find("`bad`"), std::string::npos) << error.what();
  }
  // Each is small, all together are not.
  functions.assign(20'000, good);
  const Clock::time_point begin = Clock::now();
  try {
    compile();
    ADD_FAILURE() << "no Error was thrown";
  } catch (const Constraint::FunctionError& error) {
    ADD_FAILURE() << "one is blamed for all: " << error.what();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("too much together"), std::string::npos);
  }
  EXPECT_LT(seconds_since(begin), kSecondsToCompile);
  // A circle is its own function's.
  functions.assign(5, good);
  functions[3].parameters = R"({"type":"object","anyOf":[{"$ref":"#"}]})";
  try {
    compile();
    ADD_FAILURE() << "no Error was thrown";
  } catch (const Constraint::FunctionError& error) {
    EXPECT_EQ(error.index, 3u);
  }
}

// Waits for a text's end, and knows the longest time between two pieces of it.
class Watcher final : public Reader {
 public:
  bool on_text(std::string_view piece, std::vector<TokenDetails>) override {
    const std::lock_guard lock(mutex_);
    const Clock::time_point now = Clock::now();
    if (pieces_++ > 0) {
      longest_ = std::max(longest_, std::chrono::duration<double>(now - last_).count());
    }
    last_ = now;
    text_ += piece;
    changed_.notify_all();
    return true;
  }
  void on_end(Finished finished) override {
    const std::lock_guard lock(mutex_);
    finished_ = std::move(finished);
    ended_ = true;
    changed_.notify_all();
  }
  Finished wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_; });
    return std::move(finished_);
  }
  void wait_for_pieces(int more) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&, from = pieces_] { return ended_ || pieces_ >= from + more; });
  }
  double longest_gap() {
    const std::lock_guard lock(mutex_);
    return longest_;
  }
  std::string text() {
    const std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int pieces_ = 0;
  Clock::time_point last_;
  double longest_ = 0;
  std::string text_;
  Finished finished_;
  bool ended_ = false;
};

class BesideHostileSchemas : public testing::Test {
 protected:
  Order order(std::shared_ptr<const Constraint> constraint, int max_tokens, uint64_t seed) const {
    Order order;
    order.state = model_.initial_state();
    order.prompt = model_.tokenizer().encode("Once upon a time");
    order.generation.max_tokens = max_tokens;
    order.generation.ignore_eos = constraint == nullptr;
    order.generation.sampling.seed = seed;
    order.generation.constraint = std::move(constraint);
    return order;
  }
  std::shared_ptr<const Constraint> constraint(const std::string& schema) const {
    return Constraint::json_schema(model_.tokenizer(), model_.hyperparameters().vocab, schema);
  }

  // Its beginning is what generate() writes.
  void expect_as_alone(const std::string& text, std::shared_ptr<const Constraint> constraint,
                       uint64_t seed) const {
    const Order alone = order(std::move(constraint), 40, seed);
    State state = alone.state;
    engine_->forward(state, alone.prompt);
    const std::string written = generate(*engine_, state, alone.generation).text;
    EXPECT_EQ(text.substr(0, written.size()), written);
  }

  const Model model_ = Model::embedded();
  const std::unique_ptr<Engine> engine_ =
      Engine::create(model_, {.device = Device::cpu, .threads = 2});
};

TEST_F(BesideHostileSchemas, OtherStreamsGoOn) {
  std::optional<Scheduler> scheduler(std::in_place, *engine_);
  const auto free_text = std::make_shared<Watcher>(), lists = std::make_shared<Watcher>();
  const Scheduler::Id first = scheduler->submit(order(nullptr, 1'000'000, 1), free_text);
  const auto endless = constraint(R"({"type":"array","minItems":999999999,
      "items":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}})");
  const Scheduler::Id second = scheduler->submit(order(endless, 1'000'000, 2), lists);
  lists->wait_for_pieces(1);
  for (const HostileSchema& schema : hostile_schemas()) {
    std::shared_ptr<const Constraint> hostile;
    try {
      hostile = constraint(schema.text);
    } catch (const Error&) {
      continue;
    }
    // Two texts of one request, which share what is known of it.
    const auto one = std::make_shared<Watcher>(), other = std::make_shared<Watcher>();
    scheduler->submit(order(hostile, 6, 1), one);
    scheduler->submit(order(hostile, 6, 2), other);
    for (const auto& watcher : {one, other}) {
      const Finished finished = watcher->wait();
      expect_bounded(finished.error);
      EXPECT_EQ(finished.ambiguous, !finished.error.empty()) << schema.name << finished.error;
    }
    free_text->wait_for_pieces(1);
    lists->wait_for_pieces(1);
    EXPECT_LT(free_text->longest_gap(), kLongestGap) << schema.name;
    EXPECT_LT(lists->longest_gap(), kLongestGap) << schema.name;
  }
  scheduler->cancel(first);
  scheduler->cancel(second);
  EXPECT_EQ(free_text->wait().error, "");
  EXPECT_EQ(lists->wait().error, "");
  const SchedulerStats stats = scheduler->stats();
  EXPECT_GT(stats.longest_step_s, 0);
  EXPECT_LT(stats.longest_step_s, kLongestGap);
  scheduler.reset();
  expect_as_alone(free_text->text(), nullptr, 1);
  expect_as_alone(lists->text(), endless, 2);
}

}  // namespace
}  // namespace anser
