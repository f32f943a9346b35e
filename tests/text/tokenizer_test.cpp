// Longest-match tokenization: against an obvious implementation, and against recorded ids of the
// World vocabulary where that is at hand.
#include "anser/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "anser/error.h"
#include "support/test_data.h"
#include "text/byte_trie.h"
#include "text/small_vocabulary.h"

namespace anser {
namespace {

// What the trie must find, by trying all lengths.
std::vector<Token> slow_encode(const std::map<std::string, Token>& ids, std::string_view text) {
  size_t longest = 0;
  for (const auto& [bytes, id] : ids) longest = std::max(longest, bytes.size());
  std::vector<Token> tokens;
  while (!text.empty()) {
    size_t length = std::min(longest, text.size());
    while (!ids.contains(std::string(text.substr(0, length)))) --length;
    tokens.push_back(ids.at(std::string(text.substr(0, length))));
    text.remove_prefix(length);
  }
  return tokens;
}

std::string hex_literal(const std::string& bytes) {
  std::string literal = "b'";
  for (const char c : bytes) literal += fmt::format("\\x{:02x}", uint8_t(c));
  return literal + "'";
}

TEST(Tokenizer, CountsWhatItWouldEncode) {
  const AddedToken added[] = {{300, "<mark>", false}};
  const Tokenizer tokenizer = Tokenizer::bytes().with_added(added);
  for (const std::string text : {"", "a", "abc", "a<mark>b<mark>", "<mar"}) {
    const size_t count = tokenizer.encode(text).size();
    EXPECT_EQ(tokenizer.count(text), count) << text;
    for (size_t most = 0; most < 8; ++most) {
      EXPECT_EQ(tokenizer.count(text, most), std::min(count, most + 1)) << text;
    }
  }
}

TEST(Tokenizer, LongestMatchOnRandomVocabularies) {
  std::mt19937 random(1);
  for (int round = 0; round < 40; ++round) {
    // Few letters make many shared prefixes; all 256 make wide nodes.
    const int letters = round % 4 == 0 ? 256 : 2 + round % 3;
    const auto draw = [&](size_t length) {
      std::string bytes;
      for (size_t i = 0; i < length; ++i) bytes += char(97 + random() % letters);
      return bytes;
    };
    std::string text = byte_lines();
    std::map<std::string, Token> ids;
    for (int byte = 0; byte < 256; ++byte) ids[std::string(1, char(byte))] = byte + 1;
    for (int i = 0; i < 300; ++i) {
      const std::string bytes = draw(2 + random() % 7);
      const Token id = 300 + Token(random() % 100000);  // gaps, and no order
      const bool id_taken =
          std::ranges::any_of(ids, [&](const auto& entry) { return entry.second == id; });
      if (id_taken || !ids.emplace(bytes, id).second) continue;
      text += fmt::format("{} {} {}\n", id, hex_literal(bytes), bytes.size());
    }
    const Tokenizer tokenizer = Tokenizer::from_vocabulary(text, "random");
    for (const auto& [bytes, id] : ids) EXPECT_EQ(tokenizer.bytes_of(id), bytes);
    for (const size_t length : {0, 1, 2, 10, 3000}) {
      const std::string sample = draw(length);
      const std::vector<Token> tokens = tokenizer.encode(sample);
      EXPECT_EQ(tokens, slow_encode(ids, sample));
      EXPECT_EQ(tokenizer.decode(tokens), sample);
    }
  }
}

// Prefixes of a long token are walked again and again; the shorter tokens must still be found.
TEST(Tokenizer, FallsBackToTheLastMatchOnTheWay) {
  const std::string text = byte_lines() + "257 'aa' 2\n258 'aaaaaaab' 8\n259 'aaaa' 4\n";
  const Tokenizer tokenizer = Tokenizer::from_vocabulary(text, "small");
  EXPECT_EQ(tokenizer.encode("aaaaaaa"), (std::vector<Token>{259, 257, 98}));
  EXPECT_EQ(tokenizer.encode("aaaaaaab"), std::vector<Token>{258});
  EXPECT_EQ(tokenizer.encode("aaaaaaaab"), (std::vector<Token>{259, 259, 99}));
  EXPECT_EQ(tokenizer.encode("aaa"), (std::vector<Token>{257, 98}));
}

TEST(Tokenizer, Bytes) {
  const Tokenizer tokenizer = Tokenizer::bytes();
  std::string all;
  std::vector<Token> expected;
  for (int byte = 0; byte < 256; ++byte) {
    all += char(byte);
    expected.push_back(byte);
  }
  EXPECT_EQ(tokenizer.encode(all), expected);
  EXPECT_EQ(tokenizer.decode(expected), all);
  EXPECT_EQ(tokenizer.size(), 256);
  EXPECT_TRUE(tokenizer.is_byte_level());
  EXPECT_EQ(tokenizer.source(), "bytes");
  EXPECT_TRUE(tokenizer.encode("").empty());
}

TEST(Tokenizer, IdsWithoutBytesAreEmpty) {
  const Tokenizer tokenizer = Tokenizer::from_vocabulary(byte_lines() + "400 'ab' 2\n", "small");
  for (const Token id : {0, 257, 399, 401, 1 << 30, -1, -2147483647}) {
    EXPECT_EQ(tokenizer.bytes_of(id), "") << id;
  }
  EXPECT_EQ(tokenizer.size(), 401);
  EXPECT_EQ(tokenizer.decode(std::vector<Token>{98, 0, -5, 400, 99999}), "aab");
}

TEST(Tokenizer, CopiesOutliveTheOriginal) {
  Tokenizer copy = Tokenizer::bytes();
  {
    const Tokenizer original = Tokenizer::from_vocabulary(byte_lines(), "original");
    copy = original;
  }
  EXPECT_EQ(copy.encode("a"), std::vector<Token>{98});
  EXPECT_EQ(copy.source(), "original");
}

TEST(Tokenizer, AVocabularyFileThatDoesNotExist) {
  EXPECT_THROW(Tokenizer::from_vocabulary_file("/no/such/vocabulary.txt"), Error);
}

TEST(ByteTrie, EmptyAndWide) {
  const ByteTrie none({});
  EXPECT_EQ(none.longest("abc").value, -1);
  EXPECT_EQ(none.longest("").value, -1);

  // All pairs of bytes: 257 nodes with 256 children each, which fill blocks completely.
  std::vector<std::string> pairs;
  for (int i = 0; i < 65536; ++i) pairs.push_back({char(i >> 8), char(i & 255)});
  std::vector<ByteTrie::Entry> entries;
  for (int i = 0; i < 65536; ++i) entries.push_back({pairs[size_t(i)], i});
  const ByteTrie trie(entries);
  for (int i = 0; i < 65536; ++i) {
    const ByteTrie::Match match = trie.longest(pairs[size_t(i)] + "x");
    ASSERT_EQ(match.value, i);
    ASSERT_EQ(match.length, 2u);
  }
  EXPECT_EQ(trie.longest("a").value, -1);
}

TEST(ByteTrie, MemoryStaysProportional) {
  // Random strings leave many nodes of few children: the waste must stay bounded.
  std::mt19937 random(2);
  std::vector<std::string> strings;
  for (int i = 0; i < 20000; ++i) {
    std::string bytes;
    for (int k = 0; k < 6; ++k) bytes += char(random());
    strings.push_back(bytes);
  }
  std::sort(strings.begin(), strings.end());
  std::vector<ByteTrie::Entry> entries;
  for (size_t i = 0; i < strings.size(); ++i) entries.push_back({strings[i], int32_t(i)});
  const ByteTrie trie(entries);
  EXPECT_LT(trie.slots(), size_t{2} * 20000 * 6);  // twice the most nodes that there can be
}

// --- the World vocabulary ---

void check_recorded_ids(const Tokenizer& tokenizer) {
  ANSER_TEST_DATA_OR_SKIP(path, "world-tokenizer-vectors.json");
  const auto vectors = nlohmann::json::parse(std::ifstream(path));
  EXPECT_GE(vectors.size(), 20u);
  for (const auto& vector : vectors) {
    std::string text;
    if (vector.contains("text")) {
      text = vector["text"].get<std::string>();
    } else {
      const std::string hex = vector["hex"].get<std::string>();
      for (size_t i = 0; i < hex.size(); i += 2) {
        text += char(std::stoi(hex.substr(i, 2), nullptr, 16));
      }
    }
    const auto ids = vector["ids"].get<std::vector<Token>>();
    EXPECT_EQ(tokenizer.encode(text), ids) << text;
    EXPECT_EQ(tokenizer.decode(ids), text);
  }
}

// Ids from the published documentation of the vocabulary; needs no file of test data.
void check_known_ids(const Tokenizer& tokenizer) {
  const auto expect = [&](std::string_view text, std::vector<Token> ids) {
    EXPECT_EQ(tokenizer.encode(text), ids) << text;
  };
  expect("Hello, world!", {33155, 45, 40213, 34});
  expect("\n\n", {261});
  expect("\r\n", {263});
  expect("User: hi\n\nAssistant: <think>\n</think>",
         {24281, 59, 4571, 261, 5585, 41693, 59, 295, 35762, 63, 11, 754, 35762, 63});
  expect("\t\tint main() {\n    return 0;\n}\n",
         {257, 7865, 31356, 472, 358, 28352, 42178, 283, 60, 11, 126, 11});
  expect("1234567890", {632, 654, 676, 698, 710});
  expect(std::string_view("\0\x7f", 2), {1, 128});
  expect("\xff\xfe\x80", {256, 255, 129});
  expect("\xe4\xbd", {3030});
  expect("ab\xc3(", {1734, 196, 41});
  expect("\xf0\x9f\x98", {3319, 153});
  expect(std::string(128, ' '), {65529});
  expect(std::string(3, ' ') + "x", {3340, 121});
  EXPECT_EQ(tokenizer.size(), 65530);
  EXPECT_FALSE(tokenizer.is_byte_level());
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(tokenizer.bytes_of(byte + 1), std::string(1, char(byte)));
  }
}

TEST(WorldTokenizer, FromTheFile) {
  ANSER_TEST_DATA_OR_SKIP(path, "rwkv_vocab_v20230424.txt");
  const Tokenizer tokenizer = Tokenizer::from_vocabulary_file(path);
  EXPECT_EQ(tokenizer.source(), path);
  check_known_ids(tokenizer);
  check_recorded_ids(tokenizer);
}

TEST(WorldTokenizer, BuiltIn) {
  if (!Tokenizer::has_builtin_world()) {
    EXPECT_THROW(Tokenizer::builtin_world(), Error);
    GTEST_SKIP() << "built without the World vocabulary";
  }
  const Tokenizer tokenizer = Tokenizer::builtin_world();
  EXPECT_EQ(tokenizer.source(), "built in");
  check_known_ids(tokenizer);
  check_recorded_ids(tokenizer);
}

TEST(WorldTokenizer, EveryTokenComesBack) {
  ANSER_TEST_DATA_OR_SKIP(path, "rwkv_vocab_v20230424.txt");
  const Tokenizer tokenizer = Tokenizer::from_vocabulary_file(path);
  for (Token id = 1; id < tokenizer.size(); ++id) {
    ASSERT_EQ(tokenizer.encode(tokenizer.bytes_of(id)), std::vector<Token>{id});
  }
}

}  // namespace
}  // namespace anser
