#include "engine/stop_matcher.h"

#include <gtest/gtest.h>

#include <random>

#include "anser/error.h"

namespace anser {
namespace {

struct Outcome {
  std::string text;
  bool stopped = false;
  bool operator==(const Outcome&) const = default;
};

// By definition: the stop string that is complete first; of several that end there, the longest.
Outcome obvious(const std::vector<std::string>& stops, const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (text.substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) return {text.substr(0, end - longest), true};
  }
  return {text, false};
}

// How much of `text` could still be the beginning of a stop string.
size_t undecided(const std::vector<std::string>& stops, const std::string& text) {
  size_t longest = 0;
  for (const std::string& stop : stops) {
    for (size_t n = 1; n < stop.size() && n <= text.size(); ++n) {
      if (text.ends_with(stop.substr(0, n))) longest = std::max(longest, n);
    }
  }
  return longest;
}

TEST(StopMatcher, AgreesWithTheDefinitionOnRandomTexts) {
  std::mt19937 random(4);
  const auto draw = [&](size_t length) {
    std::string text;
    for (size_t i = 0; i < length; ++i) text += char('a' + random() % 2);
    return text;
  };
  int stopped = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> stops;
    for (size_t n = random() % 4; n-- > 0;) stops.push_back(draw(2 + random() % 6));
    const std::string text = draw(random() % 20);
    StopMatcher matcher(stops);
    Outcome outcome;
    for (size_t at = 0; at < text.size() && !outcome.stopped;) {
      const size_t size = std::min<size_t>(random() % 4, text.size() - at);
      outcome.stopped = matcher.push(text.substr(at, size), outcome.text);
      at += size;
      if (outcome.stopped) break;
      // Exactly what is undecided is held back, never more.
      EXPECT_EQ(outcome.text, text.substr(0, at - undecided(stops, text.substr(0, at))));
    }
    if (!outcome.stopped) matcher.flush(outcome.text);
    ASSERT_EQ(outcome, obvious(stops, text)) << text;
    stopped += outcome.stopped;
  }
  EXPECT_GT(stopped, 4000);
  EXPECT_LT(stopped, 16000);
}

TEST(StopMatcher, TheLongestOfTwoThatEndTogether) {
  StopMatcher matcher({"\nUser:", "\n\nUser:"});
  std::string out;
  EXPECT_FALSE(matcher.push("Hi.\n", out));
  EXPECT_EQ(out, "Hi.");
  EXPECT_FALSE(matcher.push("\nUse", out));
  EXPECT_EQ(out, "Hi.");
  EXPECT_TRUE(matcher.push("r: x", out));
  EXPECT_EQ(out, "Hi.");
}

TEST(StopMatcher, AFailedBeginningIsGivenOut) {
  StopMatcher matcher({"\n\nUser:"});
  std::string out;
  EXPECT_FALSE(matcher.push("a\n\nUse", out));
  EXPECT_FALSE(matcher.push("ful", out));
  EXPECT_EQ(out, "a\n\nUseful");
  EXPECT_FALSE(matcher.push("\n\nUs", out));
  matcher.flush(out);
  EXPECT_EQ(out, "a\n\nUseful\n\nUs");
}

TEST(StopMatcher, IsAsNewAfterAStopAndAfterFlush) {
  StopMatcher matcher({"ab"});
  std::string out;
  EXPECT_TRUE(matcher.push("xab", out));
  EXPECT_FALSE(matcher.push("ya", out));
  matcher.flush(out);
  EXPECT_FALSE(matcher.push("b", out));
  EXPECT_EQ(out, "xyab");
}

TEST(StopMatcher, HoldsWholeCharacters) {
  // U+273F and U+273E share their first two bytes.
  StopMatcher matcher({"\u273f!"});
  std::string out;
  EXPECT_FALSE(matcher.push("\u273e\u273f", out));
  EXPECT_EQ(out, "\u273e");
  EXPECT_TRUE(matcher.push("!", out));
  EXPECT_EQ(out, "\u273e");
}

TEST(StopMatcher, WithoutStopsNothingIsHeld) {
  StopMatcher matcher({});
  std::string out;
  EXPECT_FALSE(matcher.push("anything", out));
  EXPECT_EQ(out, "anything");
}

TEST(StopMatcher, RefusesWhatCannotMatch) {
  EXPECT_THROW(StopMatcher({"a", ""}), Error);
  EXPECT_THROW(StopMatcher({"\xff"}), Error);
  EXPECT_THROW(StopMatcher({"\xe4\xbd"}), Error);
}

// A periodic stop string on periodic text is the worst case of searching anew at every piece; here
// it must cost the same as any other. (Quadratic would be 10^11 steps and time out.)
TEST(StopMatcher, LongStopStringsAreLinear) {
  const std::string stop = std::string(300000, 'a') + "b";
  StopMatcher matcher({stop});
  std::string out;
  for (int i = 0; i < 600000; ++i) ASSERT_FALSE(matcher.push("a", out));
  EXPECT_EQ(out.size(), 300000u);
  EXPECT_TRUE(matcher.push("b", out));
  EXPECT_EQ(out.size(), 300000u);
}

}  // namespace
}  // namespace anser
