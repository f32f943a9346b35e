// Text files as editors leave them.
#include "text/plain_text.h"

#include <gtest/gtest.h>

#include <random>

#include "anser/error.h"
#include "text/utf8.h"
#include "text/utf8_stream.h"

namespace anser {
namespace {

TEST(PlainText, HasNoByteOrderMark) {
  EXPECT_EQ(plain_text("\xef\xbb\xbf"
                       "a\r\n",
                       "f"),
            "a\r\n");
  EXPECT_EQ(plain_text("a\xef\xbb\xbf", "f"), "a\xef\xbb\xbf");
  EXPECT_EQ(plain_text("\xef\xbb", "f"), "\xef\xbb");
  EXPECT_EQ(plain_text("", "f"), "");
}

TEST(PlainText, RefusesUtf16ByName) {
  for (const char* bytes : {"\xff\xfe"
                            "a",
                            "\xfe\xff"
                            "a"}) {
    try {
      plain_text(bytes, "poem.txt");
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("poem.txt: the text is in UTF-16"),
                std::string::npos);
    }
  }
}

TEST(PlainText, LinesEndAsOnUnix) {
  EXPECT_EQ(plain_lines("\xef\xbb\xbf"
                        "a\r\n\r\nb\rc\n\r",
                        "f"),
            "a\n\nb\rc\n\r");
}

// What a stream holds back is the unfinished end, whatever came before.
TEST(UnfinishedEnd, IsWhatAStreamHoldsBack) {
  std::mt19937 random(1);
  const std::string bytes = "a\x80\xbf\xa0\x9f\xc3\xc1\xe0\xe4\xed\xef\xf0\xf4\xf5\xff";
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (int n = int(random() % 7); n > 0; --n) text += bytes[random() % bytes.size()];
    Utf8Stream stream;
    std::string out;
    stream.push(text, out);
    EXPECT_EQ(unfinished_end(text).size(), stream.held()) << testing::PrintToString(text);
    EXPECT_TRUE(text.ends_with(unfinished_end(text)));
    EXPECT_EQ(whole_characters(text), out);
    // Four bytes tell.
    const std::string end = text.substr(text.size() - std::min<size_t>(text.size(), 4));
    EXPECT_EQ(unfinished_end(end), unfinished_end(text));
  }
}

}  // namespace
}  // namespace anser
