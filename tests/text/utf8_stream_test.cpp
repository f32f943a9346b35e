// Expected texts are what Python's bytes.decode("utf-8", errors="replace") gives.
#include "text/utf8_stream.h"

#include <gtest/gtest.h>

#include <random>

#include "text/utf8.h"

namespace anser {
namespace {

#define FFFD "\xEF\xBF\xBD"

std::string streamed(std::string_view bytes) {
  Utf8Stream stream;
  std::string out;
  stream.push(bytes, out);
  stream.flush(out);
  return out;
}

struct Case {
  std::string bytes;
  std::string text;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"", ""},
      {"plain", "plain"},
      {std::string("\0a", 2), std::string("\0a", 2)},
      {"\xc3\xa9", "\xc3\xa9"},
      {"\xe4\xbd\xa0\xe5\xa5\xbd", "\xe4\xbd\xa0\xe5\xa5\xbd"},
      {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
      // The limits of every range of well-formed sequences.
      {"\x7f\xc2\x80\xdf\xbf", "\x7f\xc2\x80\xdf\xbf"},
      {"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf",
       "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"},
      {"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
      // One beyond the limits: overlong, surrogate, too large.
      {"\xc0\x80", FFFD FFFD},
      {"\xc1\xbf", FFFD FFFD},
      {"\xe0\x9f\xbf", FFFD FFFD FFFD},
      {"\xed\xa0\x80", FFFD FFFD FFFD},
      {"\xf0\x8f\xbf\xbf", FFFD FFFD FFFD FFFD},
      {"\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD},
      {"\xf5\x80\x80\x80", FFFD FFFD FFFD FFFD},
      {"\xff\xfe", FFFD FFFD},
      // Lonely continuation bytes are one each; a truncated sequence is one.
      {"\x80\xbf", FFFD FFFD},
      {"\xc3", FFFD},
      {"\xe4\xbd", FFFD},
      {"\xf0\x9f\x98", FFFD},
      {"a\xc3(", "a" FFFD "("},
      {"\xe4\xbdz", FFFD "z"},
      {"\xf0\x9f\x98\xc3\xa9", FFFD "\xc3\xa9"},
      {"\xf0\x9f\xf0\x9f\x98\x80", FFFD "\xf0\x9f\x98\x80"},
      {"\xe4\xe4\xe4\xbd\xa0", FFFD FFFD "\xe4\xbd\xa0"},
      // The example of the Unicode standard, table 3-8 and 3-11.
      {"\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64",
       FFFD FFFD FFFD "b" FFFD "c" FFFD FFFD "d"},
      {"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", FFFD FFFD FFFD FFFD "A"},
  };
  return all;
}

TEST(Utf8Stream, ReplacesMaximalSubparts) {
  for (const Case& c : cases()) EXPECT_EQ(streamed(c.bytes), c.text);
}

TEST(Utf8Stream, DoesNotDependOnTheCuts) {
  for (const Case& c : cases()) {
    for (size_t first = 0; first <= c.bytes.size(); ++first) {
      for (size_t second = first; second <= c.bytes.size(); ++second) {
        Utf8Stream stream;
        std::string out;
        stream.push(std::string_view(c.bytes).substr(0, first), out);
        EXPECT_TRUE(is_valid_utf8(out));
        stream.push(std::string_view(c.bytes).substr(first, second - first), out);
        EXPECT_TRUE(is_valid_utf8(out));
        stream.push(std::string_view(c.bytes).substr(second), out);
        stream.flush(out);
        EXPECT_EQ(out, c.text);
      }
    }
  }
}

TEST(Utf8Stream, GivesACharacterOutAsSoonAsItIsComplete) {
  const std::string text = "a\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80";
  Utf8Stream stream;
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    stream.push(text.substr(i, 1), out);
    // Everything is out but the beginning of a character.
    size_t complete = i + 1;
    while (!is_valid_utf8(text.substr(0, complete))) --complete;
    EXPECT_EQ(out, text.substr(0, complete));
  }
}

TEST(Utf8Stream, IsAsNewAfterFlush) {
  Utf8Stream stream;
  std::string out;
  stream.push("\xf0\x9f", out);
  stream.flush(out);
  stream.flush(out);
  stream.push("\x98\x80z", out);
  EXPECT_EQ(out, FFFD FFFD FFFD "z");
}

TEST(Utf8, EveryCodePoint) {
  for (uint32_t code_point = 0; code_point <= 0x10ffff; ++code_point) {
    std::string text;
    const bool surrogate = code_point >= 0xd800 && code_point <= 0xdfff;
    ASSERT_EQ(append_utf8(code_point, text), !surrogate);
    if (surrogate) continue;
    ASSERT_TRUE(is_valid_utf8(text));
    ASSERT_EQ(streamed(text), text);
    ASSERT_FALSE(is_valid_utf8(text.substr(0, text.size() - 1)) && text.size() > 1);
  }
  std::string text;
  EXPECT_FALSE(append_utf8(0x110000, text));
  EXPECT_FALSE(append_utf8(0xffffffff, text));
  EXPECT_EQ(text, "");
}

TEST(Utf8, ValidityAgreesWithTheStream) {
  std::mt19937 random(3);
  // Bytes at which something happens, so that valid sequences come by chance.
  const std::string bytes = "a\x7f\x80\x8f\x90\x9f\xa0\xbf\xc1\xc2\xe0\xe1\xed\xf0\xf1\xf4\xf5";
  int valid = 0;
  for (int round = 0; round < 200000; ++round) {
    std::string text;
    for (size_t i = random() % 5; i-- > 0;) text += bytes[random() % bytes.size()];
    const bool same = streamed(text) == text;
    ASSERT_EQ(is_valid_utf8(text), same);
    valid += same;
  }
  EXPECT_GT(valid, 1000);  // else the test would say nothing about valid texts
}

}  // namespace
}  // namespace anser
