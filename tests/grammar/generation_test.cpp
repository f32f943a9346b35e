// Models that know nothing write what a schema wants: 1,000 seeds, whole engines, schedulers.
#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <random>

#include "anser/generate.h"
#include "anser/scheduler.h"
#include "grammar/constraints.h"
#include "grammar/validate.h"
#include "support/engines.h"
#include "support/errors.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;
using Json = nlohmann::json;

const char* const kSchemas[] = {
    R"({"type":"object"})",
    R"({"type":"object","properties":{"name":{"type":"string","minLength":1,"maxLength":8},
        "age":{"type":"integer","minimum":0,"maximum":130},"tags":{"type":"array","maxItems":3,
        "items":{"enum":["red","green","gr\u00fcn",7]}},"ok":{"type":["boolean","null"]}},
        "required":["name","age"],"additionalProperties":false})",
    R"({"$defs":{"node":{"type":"object","properties":{"value":{"type":"number","minimum":-1.5,
        "exclusiveMaximum":10},"children":{"type":"array","items":{"$ref":"#/$defs/node"}}},
        "required":["value","children"]}},"$ref":"#/$defs/node"})",
    R"({"anyOf":[{"type":"object","properties":{"kind":{"const":"a"},"x":{"type":"integer"}},
        "required":["kind"]},{"type":"object","properties":{"kind":{"const":"b"},
        "y":{"type":"string","pattern":"^[a-z]{1,5}(-[0-9]+)?$"}},"required":["kind","y"],
        "additionalProperties":{"type":"number"}}]})",
    R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string","maxLength":5}],
        "items":{"allOf":[{"type":"number"},{"minimum":2}]},"minItems":3,"maxItems":5})",
};

// Ends a text in the shortest way that bytes can, as what may follow is tried out; for prefixes.
std::string shortest_end(const ConstraintMatcher& from) {
  // Breadth first over few bytes at a time would do for small grammars; a text within deep lists
  // needs a direction, so bytes that close something are tried first.
  static const std::string kOrder = [] {
    std::string order = "\"}]0123456789:, -eulrfasntdbckxyioghmvpqwz{[.";
    for (int byte = 255; byte > 0; --byte) {
      if (order.find(char(byte)) == std::string::npos) order += char(byte);
    }
    return order;
  }();
  std::string text;
  ConstraintMatcher at = from;
  for (int steps = 0; steps < 5000 && !at.complete(); ++steps) {
    bool found = false;
    for (const char byte : kOrder) {
      ConstraintMatcher next = at;
      if (!next.accept({&byte, 1})) continue;
      at = next;
      text += byte;
      found = true;
      break;
    }
    if (!found) break;
  }
  return at.complete() ? text : "dead end";
}

void expect_right(const Json& schema, const Generated& written,
                  const std::shared_ptr<const Constraint>& constraint,
                  std::map<StopReason, int>& seen) {
  ++seen[written.reason];
  std::string text = written.text;
  ConstraintMatcher matcher(constraint);
  if (written.reason == StopReason::length) {
    // Cut off, maybe within a character: a beginning of what is right.
    Tokenizer tokenizer = Tokenizer::bytes();
    text = tokenizer.decode(written.tokens);
    ASSERT_TRUE(matcher.accept(text)) << text;
    text += shortest_end(matcher);
  }
  const Json value = Json::parse(text, nullptr, false);
  ASSERT_FALSE(value.is_discarded()) << text;
  EXPECT_TRUE(Validator(schema).valid(value)) << text;
}

class GrammarGeneration : public testing::Test {
 protected:
  GrammarGeneration() {
    write_gguf(dir_ / "m.gguf", random_model({.vocab = 256, .width = 64, .layers = 1, .ffn = 64}),
               {.type = Ggml::f32});
    model_ = std::make_unique<Model>(Model::open(dir_ / "m.gguf"));
    engine_ = Engine::create(*model_, {.device = Device::cpu, .threads = 1});
  }

  GenerateOptions options(std::shared_ptr<const Constraint> constraint, uint64_t seed) const {
    GenerateOptions options;
    options.max_tokens = 120;
    options.stop_tokens.clear();
    options.sampling.seed = seed;
    options.sampling.temperature = seed % 7 == 0 ? 0.0f : 0.5f + 0.25f * float(seed % 5);
    options.sampling.top_p = seed % 3 == 0 ? 1.0f : 0.9f;
    options.sampling.top_k = seed % 4 == 0 ? 20 : 0;
    options.sampling.presence = 0.4f * float(seed % 6);
    options.sampling.frequency = 0.2f * float(seed % 2);
    options.constraint = std::move(constraint);
    return options;
  }

  State begun(uint64_t seed) {
    State state = model_->initial_state();
    engine_->forward(state, as_tokens(random_tokens(3, 256, seed)));
    return state;
  }

  TempDir dir_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(GrammarGeneration, AThousandSeedsNeverWriteInvalidJson) {
  std::map<StopReason, int> seen;
  for (const char* schema : kSchemas) {
    const auto constraint = Constraint::json_schema(model_->tokenizer(), 256, schema);
    const Json parsed = Json::parse(schema);
    for (uint64_t seed = 1; seed <= 1000; ++seed) {
      SCOPED_TRACE(testing::Message() << schema << " seed " << seed);
      State state = begun(seed);
      const Generated written = generate(*engine_, state, options(constraint, seed));
      expect_right(parsed, written, constraint, seen);
      if (HasFatalFailure() || HasNonfatalFailure()) return;
    }
  }
  // Both ends have been seen often enough to mean something.
  EXPECT_GT(seen[StopReason::complete], 300);
  EXPECT_GT(seen[StopReason::length], 300);
}

TEST_F(GrammarGeneration, TheSameSeedIsTheSameTextWhateverWasWrittenBefore) {
  const auto fresh = [&] { return Constraint::json_schema(model_->tokenizer(), 256, kSchemas[1]); };
  const auto shared = fresh();
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    State one = begun(seed), other = begun(seed);
    EXPECT_EQ(generate(*engine_, one, options(shared, seed)).tokens,
              generate(*engine_, other, options(fresh(), seed)).tokens);
    EXPECT_TRUE(one == other);
  }
}

class Collector final : public Reader {
 public:
  bool on_text(std::string_view piece, std::vector<TokenDetails>) override {
    text += piece;
    return true;
  }
  void on_end(Finished result) override {
    const std::lock_guard lock(mutex_);
    finished = std::move(result);
    ended_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_; });
  }
  std::string text;
  Finished finished;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
};

TEST_F(GrammarGeneration, TheSchedulerWritesTheSame) {
  std::vector<std::shared_ptr<const Constraint>> constraints;
  for (const char* schema : kSchemas) {
    constraints.push_back(Constraint::json_schema(model_->tokenizer(), 256, schema));
  }
  constraints.push_back(nullptr);
  std::vector<std::shared_ptr<Collector>> readers;
  const auto alone = Engine::create(*model_, {.device = Device::cpu, .threads = 1});
  {
    Scheduler scheduler(*alone, {.max_batch = 8});
    for (uint64_t seed = 1; seed <= 30; ++seed) {
      Order order{model_->initial_state(), as_tokens(random_tokens(3, 256, seed))};
      order.generation = options(constraints[seed % constraints.size()], seed);
      order.keep_state = true;
      readers.push_back(std::make_shared<Collector>());
      ASSERT_NE(scheduler.submit(std::move(order), readers.back()), 0u);
    }
    for (const auto& reader : readers) reader->wait();
  }
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    State state = begun(seed);
    const Generated written =
        generate(*engine_, state, options(constraints[seed % constraints.size()], seed));
    EXPECT_EQ(readers[seed - 1]->finished.error, "");
    EXPECT_EQ(readers[seed - 1]->text, written.text);
    EXPECT_EQ(readers[seed - 1]->finished.tokens, written.tokens);
    EXPECT_EQ(readers[seed - 1]->finished.reason, written.reason);
    EXPECT_TRUE(readers[seed - 1]->finished.state == state);
  }
}

TEST_F(GrammarGeneration, BansYieldWhereNothingElseIsAllowed) {
  const auto constraint = Constraint::json_schema(model_->tokenizer(), 256, R"({"const":"aa"})");
  GenerateOptions wanted = options(constraint, 1);
  wanted.sampling.banned = {'a'};
  State state = begun(1);
  EXPECT_EQ(Json::parse(generate(*engine_, state, wanted).text), "aa");
  // Where something else is, they hold.
  wanted.constraint = Constraint::json_schema(model_->tokenizer(), 256, R"({"enum":["a","b"]})");
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    wanted.sampling.seed = seed;
    state = begun(seed);
    EXPECT_EQ(Json::parse(generate(*engine_, state, wanted).text), "b");
  }
}

TEST_F(GrammarGeneration, AStopTokenThatTheSchemaNeedsIsAnError) {
  GenerateOptions wanted = options(Constraint::json_object(model_->tokenizer(), 256), 1);
  wanted.stop_tokens = {'}'};
  State state = begun(1);
  expect_error({"125", "constraint"}, [&] { generate(*engine_, state, wanted); });
}

TEST_F(GrammarGeneration, AStopTokenComesExactlyWhereTheTextIsComplete) {
  // The byte 0 is never part of JSON.
  const auto constraint =
      Constraint::json_schema(model_->tokenizer(), 256, R"({"type":"integer"})");
  GenerateOptions wanted = options(constraint, 1);
  wanted.stop_tokens = {0};
  Sampler sampler(wanted.sampling);
  sampler.constrain(constraint, wanted.stop_tokens);
  const std::vector<float> logits(256, 0.0f);
  const auto can_be = [&](Token token) {
    for (const Candidate& c : sampler.distribution(logits)) {
      if (c.id == token) return true;
    }
    return false;
  };
  EXPECT_FALSE(can_be(0));
  sampler.accept('-', "-");
  EXPECT_FALSE(can_be(0));
  EXPECT_FALSE(can_be('-'));
  sampler.accept('4', "4");
  EXPECT_TRUE(can_be(0));
  EXPECT_TRUE(can_be('2'));
  EXPECT_FALSE(can_be('.'));
  EXPECT_FALSE(sampler.ended());
  Sampler fork = sampler;
  fork.accept('2', "2");
  EXPECT_TRUE(can_be('3'));
  expect_error({"120"}, [&] { sampler.accept('x', "x"); });
}

// Where something may follow it does, as long as the text is to be; where nothing may, it ends.
TEST_F(GrammarGeneration, TheLeastNumberOfTokensHoldsWhereTheSchemaLeavesRoom) {
  const auto integer =
      Constraint::json_schema(model_->tokenizer(), 256, R"({"type":"integer","minimum":1,
                                                           "maximum":999999999})");
  const auto fixed = Constraint::json_schema(model_->tokenizer(), 256, R"({"const":"aa"})");
  for (const std::vector<Token>& ends : {std::vector<Token>{0}, std::vector<Token>{}}) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      GenerateOptions wanted = options(integer, seed);
      wanted.stop_tokens = ends;
      wanted.min_tokens = 7;
      State state = begun(seed);
      const Generated text = generate(*engine_, state, wanted);
      EXPECT_GE(text.tokens.size(), 7u);
      EXPECT_TRUE(Json::parse(text.text).is_number()) << text.text;
      if (ends.empty()) {
        EXPECT_EQ(text.tokens.size(), 7u);
      }
      wanted.constraint = fixed;
      state = begun(seed);
      EXPECT_EQ(Json::parse(generate(*engine_, state, wanted).text), "aa");
    }
  }
}

TEST(GrammarTokens, TheEmbeddedModelWritesWhatTheSchemaWants) {
  const Model model = Model::embedded();
  const auto engine = Engine::create(model, {.device = Device::cpu, .threads = 1});
  State start = model.initial_state();
  engine->forward(start, model.tokenizer().encode("Once upon a time"));
  for (const char* schema : kSchemas) {
    const auto constraint =
        Constraint::json_schema(model.tokenizer(), model.hyperparameters().vocab, schema);
    const Json parsed = Json::parse(schema);
    for (uint64_t seed = 1; seed <= 4; ++seed) {
      SCOPED_TRACE(testing::Message() << schema << " seed " << seed);
      GenerateOptions wanted;
      wanted.max_tokens = 100;
      wanted.sampling.seed = seed;
      wanted.constraint = constraint;
      State state = start;
      const Generated written = generate(*engine, state, wanted);
      ConstraintMatcher matcher(constraint);
      const std::string text = model.tokenizer().decode(written.tokens);
      ASSERT_TRUE(matcher.accept(text)) << text;
      const Json value = Json::parse(text + shortest_end(matcher), nullptr, false);
      ASSERT_FALSE(value.is_discarded()) << text;
      EXPECT_TRUE(Validator(parsed).valid(value)) << text;
      EXPECT_TRUE(written.reason == StopReason::length || matcher.complete()) << text;
    }
  }
}

// The walk over the vocabulary finds exactly the tokens that can be taken one by one.
TEST(GrammarTokens, AllowedAreThoseThatCanBeTaken) {
  const Model model = Model::embedded();
  const Tokenizer& tokenizer = model.tokenizer();
  const int vocab = model.hyperparameters().vocab;
  std::mt19937 random(1);
  for (const char* schema : kSchemas) {
    const auto constraint = Constraint::json_schema(tokenizer, vocab, schema);
    for (int text = 0; text < 3; ++text) {
      ConstraintMatcher at(constraint);
      for (int step = 0; step < 25 && at.open(); ++step) {
        const std::span<const uint64_t> allowed = at.allowed();
        std::vector<Token> may_come;
        for (Token id = 0; id < vocab; ++id) {
          const bool bit = (allowed[size_t(id) / 64] >> id % 64 & 1) != 0;
          const std::string_view bytes = tokenizer.bytes_of(id);
          ConstraintMatcher next = at;
          ASSERT_EQ(bit, !bytes.empty() && next.accept(bytes)) << schema << " token " << id;
          if (bit) may_come.push_back(id);
        }
        ASSERT_FALSE(may_come.empty()) << schema;
        at.accept(tokenizer.bytes_of(may_come[random() % may_come.size()]));
      }
    }
  }
}

}  // namespace
}  // namespace anser
