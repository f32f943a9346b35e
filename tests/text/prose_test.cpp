// Where a sentence ends, and how a line joins on.
#include "text/prose.h"

#include <gtest/gtest.h>

namespace anser {
namespace {

bool ends(std::string_view text) {
  SentenceEnd sentence;
  // In pieces: what is found must not depend on how a text is cut.
  for (const char c : text) sentence.read(std::string_view(&c, 1));
  SentenceEnd whole;
  whole.read(text);
  EXPECT_EQ(whole.here(), sentence.here()) << text;
  return sentence.here();
}

TEST(SentenceEnd, AfterAMark) {
  for (const char* text :
       {"The goose slept.", "Did it?", "It did!", "She waited...", "\"Come,\" he said.",
        "\"Come!\"", "\"Come.\"", "(It came.)", "He said 'come.'", "Line one\n", "\n",
        "\"A quote left open\nIt ended."}) {
    EXPECT_TRUE(ends(text)) << text;
  }
}

TEST(SentenceEnd, NotElsewhere) {
  for (const char* text :
       {"", "The goose", "The goose,", "The goose. ", "The goose slept. T", "\"Come.", "\"Come!",
        "Then Mr.", "Then (Mrs.", "Dr.", "\"", "He said:", "gans\xc3\xa4"}) {
    EXPECT_FALSE(ends(text)) << text;
  }
}

TEST(JoinedLine, IsSetOffByOneSpaceWhereItNeedsOne) {
  EXPECT_EQ(joined_line("and then", false), " and then");
  EXPECT_EQ(joined_line("  and then \r\n", false), " and then");
  EXPECT_EQ(joined_line("and then", true), "and then");
  EXPECT_EQ(joined_line(", and then", false), ", and then");
  EXPECT_EQ(joined_line("! Then", false), "! Then");
  EXPECT_EQ(joined_line("\"Come,\" he said.", false), " \"Come,\" he said.");
  EXPECT_EQ(joined_line(" \t\r", false), "");
  EXPECT_EQ(joined_line("", true), "");
}

}  // namespace
}  // namespace anser
