// The search for the largest logits, against a plain one that sorts.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <random>

#include "cuda/candidate_search.h"

namespace anser {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Question {
  std::vector<float> logits;
  std::vector<LogitChange> changes;
  int most = 512;
  double temperature = 1;
};

// The first 22 bits of a number, in an order that is that of the numbers.
int64_t leading_bits(float x) {
  const int32_t bits = std::bit_cast<int32_t>(x + 0.0f);
  const int64_t ordered = bits >= 0 ? int64_t(bits) : -int64_t(bits & 0x7fffffff) - 1;
  return ordered >> 10;  // rounds down
}

struct Expected {
  std::vector<float> logits;  // changed
  std::vector<Token> above;
  Token best = -1;
  float max = -kInfinity;
  bool all = true;
  double rest = 0;

  explicit Expected(const Question& question) : logits(question.logits) {
    for (const LogitChange& change : question.changes) logits[size_t(change.id)] -= change.minus;
    std::map<int64_t, std::vector<Token>, std::greater<>> groups;
    for (size_t id = 0; id < logits.size(); ++id) {
      if (logits[id] == -kInfinity) continue;
      groups[leading_bits(logits[id])].push_back(Token(id));
      if (best < 0 || logits[id] > max) best = Token(id), max = logits[id];
    }
    if (question.most == 0) {
      all = false;  // nobody has looked
      return;
    }
    for (const auto& [bits, ids] : groups) {
      all = all && above.size() + ids.size() <= size_t(question.most);
      if (all) {
        above.insert(above.end(), ids.begin(), ids.end());
        continue;
      }
      for (const Token id : ids) {
        rest += std::exp((double(logits[size_t(id)]) - max) / question.temperature);
      }
    }
    std::sort(above.begin(), above.end());
  }
};

// Asks all at once.
void expect_found(CandidateSearch& search, const std::vector<Question>& questions) {
  const size_t vocab = questions[0].logits.size();
  cuda::Stream stream;
  std::vector<cuda::Buffer> rows;
  std::vector<const float*> pointers;
  std::vector<CandidateQuery> queries;
  for (const Question& question : questions) {
    rows.emplace_back(vocab * sizeof(float));
    pointers.push_back(rows.back().as<float>());
    stream.upload(rows.back().data(), question.logits.data(), vocab * sizeof(float));
    queries.push_back({question.changes, question.most, question.temperature});
  }
  search.queue(stream, int(vocab), pointers, queries);
  stream.wait();
  const auto found = search.found();
  ASSERT_EQ(found.size(), questions.size());
  for (size_t i = 0; i < found.size(); ++i) {
    SCOPED_TRACE(testing::Message()
                 << "row " << i << " of V " << vocab << ", most " << questions[i].most);
    const Expected expected(questions[i]);
    const Candidates& actual = found[i];
    EXPECT_TRUE(actual.well_formed);
    EXPECT_EQ(actual.vocab, vocab);
    EXPECT_EQ(actual.max, expected.max);
    if (expected.best < 0) continue;  // then there is nothing to choose from
    EXPECT_EQ(actual.best, expected.best);
    EXPECT_EQ(actual.all, expected.all);
    ASSERT_EQ(actual.above.size(), expected.above.size());
    for (size_t k = 0; k < expected.above.size(); ++k) {
      ASSERT_EQ(actual.above[k].id, expected.above[k]);
      ASSERT_EQ(actual.above[k].logit, expected.logits[size_t(expected.above[k])]);
    }
    EXPECT_LT(actual.rest_error, 1e-4);
    EXPECT_NEAR(actual.rest, expected.rest, expected.rest * actual.rest_error + 1e-30);
  }
}

Question random_question(std::mt19937& random, size_t vocab) {
  const auto pick = [&](std::initializer_list<double> values) {
    return values.begin()[random() % values.size()];
  };
  Question question;
  std::normal_distribution<float> normal(0, float(pick({0, 0.001, 1, 4, 30, 1e20})));
  const float shift = float(pick({0, 0, 10, -1000}));
  for (size_t i = 0; i < vocab; ++i) question.logits.push_back(normal(random) + shift);
  if (random() % 3 == 0) {
    for (float& logit : question.logits) logit = std::round(logit);  // 0 and -0 among them
  }
  for (size_t n = random() % 3 == 0 ? random() % (vocab + 1) : 0; n > 0; --n) {
    question.logits[random() % vocab] = -kInfinity;
  }
  for (size_t id = 0; id < vocab; ++id) {
    if (random() % 20 != 0) continue;
    question.changes.push_back({Token(id), float(pick({0, 0.5, 3, -2, double(kInfinity)}))});
  }
  question.most = int(pick({0, 1, 7, 72, 512, 512}));
  question.temperature = pick({1, 1, 0.6, 0.05, 40});
  return question;
}

TEST(CandidateSearch, FindsWhatSortingFinds) {
  std::mt19937 random(3);
  CandidateSearch search;
  for (const size_t vocab : {1u, 2u, 31u, 32u, 33u, 50u, 511u, 513u, 1000u, 5003u, 40000u}) {
    std::vector<Question> questions;
    for (int i = 0; i < (vocab > 10000 ? 2 : 8); ++i) {
      questions.push_back(random_question(random, vocab));
    }
    expect_found(search, questions);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(CandidateSearch, EveryTokenOfAWordOfMarks) {
  // The candidates fill words of marks and threads' shares of them, and are the last of a row.
  CandidateSearch search;
  Question first, last;
  for (int id = 0; id < 3000; ++id) {
    first.logits.push_back(float(-id));
    last.logits.push_back(float(id));
  }
  expect_found(search, {first, last});
}

TEST(CandidateSearch, RowsWithoutAPossibleToken) {
  CandidateSearch search;
  Question impossible{std::vector<float>(70, -kInfinity), {}, 512, 1};
  Question banned{std::vector<float>(70, 3.0f), {}, 512, 1};
  for (Token id = 0; id < 70; ++id) banned.changes.push_back({id, kInfinity});
  expect_found(search, {impossible, banned, {std::vector<float>(70, 3.0f), {}, 512, 1}});
}

TEST(CandidateSearch, SeesWhatIsNotANumber) {
  for (const float bad : {kNan, kInfinity, -kNan}) {
    for (const size_t at : {0u, 31u, 64u, 98u}) {
      for (const int most : {0, 512}) {
        std::vector<float> logits(99, 1.0f);
        logits[at] = bad;
        cuda::Stream stream;
        cuda::Buffer row(logits.size() * sizeof(float));
        stream.upload(row.data(), logits.data(), row.bytes());
        const float* pointer = row.as<float>();
        // A ban does not hide it.
        const LogitChange change = {Token(at), kInfinity};
        const CandidateQuery query = {{&change, size_t(at % 2)}, most, 1};
        CandidateSearch search;
        search.queue(stream, 99, {&pointer, 1}, {&query, 1});
        stream.wait();
        EXPECT_FALSE(search.found()[0].well_formed) << bad << " at " << at;
      }
    }
  }
}

TEST(CandidateSearch, IsTheSameEveryTime) {
  std::mt19937 random(4);
  Question question = random_question(random, 2500);
  question.most = 100;
  cuda::Stream stream;
  cuda::Buffer row(question.logits.size() * sizeof(float));
  stream.upload(row.data(), question.logits.data(), row.bytes());
  const float* pointer = row.as<float>();
  const CandidateQuery query = {question.changes, question.most, question.temperature};
  double rest = 0;
  for (int i = 0; i < 4; ++i) {
    CandidateSearch search;
    search.queue(stream, 2500, {&pointer, 1}, {&query, 1});
    stream.wait();
    if (i > 0) {
      EXPECT_EQ(search.found()[0].rest, rest);
    }
    rest = search.found()[0].rest;
  }
}

}  // namespace
}  // namespace anser
