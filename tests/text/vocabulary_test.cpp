// The written forms of vocabularies, and what is refused.
#include "text/vocabulary.h"

#include <gtest/gtest.h>

#include "anser/error.h"
#include "anser/tokenizer.h"
#include "text/python_literal.h"
#include "text/small_vocabulary.h"

namespace anser {
namespace {

std::string literal_bytes(std::string_view literal) {
  std::string bytes;
  const char* problem = parse_python_literal(literal, bytes);
  return problem == nullptr ? bytes : std::string("error: ") + problem;
}

TEST(PythonLiteral, MeansWhatPythonSays) {
  using namespace std::string_literals;
  EXPECT_EQ(literal_bytes("'abc'"), "abc");
  EXPECT_EQ(literal_bytes("\"it's\""), "it's");
  EXPECT_EQ(literal_bytes("'it\\'s'"), "it's");
  EXPECT_EQ(literal_bytes("' '"), " ");
  EXPECT_EQ(literal_bytes("'\\\\'"), "\\");
  EXPECT_EQ(literal_bytes("'\\n\\t\\r\\a\\b\\f\\v'"), "\n\t\r\a\b\f\v");
  EXPECT_EQ(literal_bytes("'\\x00'"), "\0"s);
  EXPECT_EQ(literal_bytes("b'\\x00\\xfF'"), "\0\xff"s);
  EXPECT_EQ(literal_bytes("B\"\\xe4\""), "\xe4");
  EXPECT_EQ(literal_bytes("'\\101\\0'"), "A\0"s);
  EXPECT_EQ(literal_bytes("b'\\377'"), "\xff");
  // In a string \x80 is U+0080, two bytes; in a bytes literal it is one byte.
  EXPECT_EQ(literal_bytes("'\\x80'"), "\xc2\x80");
  EXPECT_EQ(literal_bytes("b'\\x80'"), "\x80");
  EXPECT_EQ(literal_bytes("'\\u4f60'"), "\xe4\xbd\xa0");
  EXPECT_EQ(literal_bytes("'\\U0001f600'"), "\xf0\x9f\x98\x80");
  EXPECT_EQ(literal_bytes("'\xe4\xbd\xa0'"), "\xe4\xbd\xa0");
  EXPECT_EQ(literal_bytes("'\\u07ff\\u0800'"), "\xdf\xbf\xe0\xa0\x80");
}

TEST(PythonLiteral, RefusesTheRest) {
  for (const char* bad : {"",
                          "'",
                          "\"",
                          "b",
                          "b'",
                          "abc",
                          "'abc",
                          "abc'",
                          "'abc\"",
                          "'a'b'",
                          "'''a'''",
                          "'abc\\'",
                          "'\\'",
                          "'\\q'",
                          "'\\x1'",
                          "'\\xg0'",
                          "'\\x 1'",
                          "'\\u123'",
                          "'\\U0001f60'",
                          "'\\ud800'",
                          "'\\U00110000'",
                          "'\\N{DIGIT ONE}'",
                          "b'\\u1234'",
                          "b'\xc3\xa9'",
                          "'\xff'",
                          "b'\\400'",
                          "r'a'",
                          "u'a'",
                          "bb'a'",
                          "'a' "}) {
    EXPECT_EQ(literal_bytes(bad).substr(0, 7), "error: ") << bad;
  }
}

TEST(Vocabulary, ReadsLines) {
  const auto entries = parse_vocabulary("3 'a b' 3\n1 ' ' 1\r\n\n7 b'\\xff' 1", "here");
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].id, 3);
  EXPECT_EQ(entries[0].bytes, "a b");
  EXPECT_EQ(entries[1].bytes, " ");
  EXPECT_EQ(entries[2].id, 7);
  EXPECT_EQ(entries[2].line, 4);
  EXPECT_EQ(entries[2].bytes, "\xff");
}

std::string vocabulary_error(const std::string& text) {
  try {
    Tokenizer::from_vocabulary(text, "voc.txt");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Vocabulary, ErrorsNameTheLineAndTheFault) {
  const auto expect_fault = [](const std::string& line, const std::string& fault) {
    const std::string error = vocabulary_error(byte_lines() + line);
    EXPECT_NE(error.find("voc.txt, line 257: "), std::string::npos) << line << " -> " << error;
    EXPECT_NE(error.find(fault), std::string::npos) << line << " -> " << error;
  };
  expect_fault("300", "with a space between");
  expect_fault("300 'ab'", "with a space between");
  expect_fault("x 'ab' 2", "id is not a number");
  expect_fault("-3 'ab' 2", "id is not a number");
  expect_fault("+3 'ab' 2", "id is not a number");
  expect_fault(" 300 'ab' 2", "id is not a number");
  expect_fault("99999999999999999999 'ab' 2", "id is not a number");
  expect_fault("1048577 'ab' 2", "larger than 1048576");
  expect_fault("300 'ab' 3", "has 2 bytes, the last column says 3");
  expect_fault("300 'ab' two", "byte length is not a number");
  expect_fault("300 'ab' ", "byte length is not a number");
  expect_fault("300 ab 2", "does not start with a quote");
  expect_fault("300 'ab 2", "does not end with its quote");
  expect_fault("300 'a\\q' 2", "unknown escape");
  expect_fault("300 '' 0", "cannot be empty");
  expect_fault("256 'ab' 2", "id 256 is already that of line 256");
  expect_fault("300 'a' 1", "`a` is already that of line 98");
  expect_fault("300 '" + std::string(1025, 'x') + "' 1025", "longer than 1024");
}

TEST(Vocabulary, ToleratesWindowsLinesAndNoLastNewline) {
  const Tokenizer unix_lines = Tokenizer::from_vocabulary(byte_lines() + "257 'ab' 2\n", "a");
  const Tokenizer windows = Tokenizer::from_vocabulary(byte_lines("\r\n") + "257 'ab' 2", "b");
  EXPECT_EQ(unix_lines.encode("xab"), windows.encode("xab"));
  EXPECT_EQ(windows.encode("xab"), (std::vector<Token>{'x' + 1, 257}));
  EXPECT_EQ(windows.size(), 258);
}

TEST(Vocabulary, ToleratesAByteOrderMarkAndNamesUtf16) {
  const Tokenizer marked = Tokenizer::from_vocabulary("\xef\xbb\xbf" + byte_lines("\r\n"), "a");
  EXPECT_EQ(marked.encode("ab"), (std::vector<Token>{'a' + 1, 'b' + 1}));
  EXPECT_NE(vocabulary_error("\xff\xfe" + byte_lines()).find("UTF-16"), std::string::npos);
}

// Then no token ends a text, unless somebody says which.
TEST(Vocabulary, IdZeroMayBeACharacter) {
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text += fmt::format("{} b'\\x{:02x}' 1\n", byte, byte);
  const Tokenizer tokenizer = Tokenizer::from_vocabulary(text + "256 'ab' 2\n", "a");
  EXPECT_EQ(tokenizer.encode(std::string("\0ab", 3)), (std::vector<Token>{0, 256}));
  EXPECT_EQ(tokenizer.encode_document("ab"), std::vector<Token>{256});
  EXPECT_EQ(tokenizer.bos(), std::nullopt);
  EXPECT_TRUE(tokenizer.eos().empty());
  const Tokenizer ended = tokenizer.with_ends(std::nullopt, std::vector<Token>{300, 256, 300});
  EXPECT_EQ(ended.eos(), (std::vector<Token>{300, 256}));
  EXPECT_EQ(ended.encode_document("ab"), (std::vector<Token>{300, 256}));
  EXPECT_EQ(tokenizer.with_ends(5, {}).encode_document("ab"), (std::vector<Token>{5, 256}));
}

TEST(Vocabulary, OtherwiseIdZeroBeginsAndEndsATextBesidesWhatIsSaid) {
  const Tokenizer tokenizer = Tokenizer::from_vocabulary(byte_lines(), "a");
  EXPECT_EQ(tokenizer.encode_document("a"), (std::vector<Token>{0, 'a' + 1}));
  EXPECT_EQ(tokenizer.eos(), std::vector<Token>{0});
  const Tokenizer ended = tokenizer.with_ends(7, std::vector<Token>{11, 0});
  EXPECT_EQ(ended.eos(), (std::vector<Token>{0, 11}));
  EXPECT_EQ(ended.bos(), 7);
  EXPECT_TRUE(ended == tokenizer);  // the texts are the same
}

TEST(AddedTokens, AreFoundWholeBeforeAllOthers) {
  const Tokenizer plain =
      Tokenizer::from_vocabulary(byte_lines() + "257 '.<' 2\n258 'ab' 2\n", "a");
  const std::vector<AddedToken> added = {
      {300, "<|end|>", true}, {301, "<tool>"}, {302, "<tool>s"}, {303, "ab"}, {0, "<s>", true}};
  const Tokenizer tokenizer = plain.with_added(added);
  // The longest match at '.' would be ".<".
  EXPECT_EQ(tokenizer.encode("ab.<|end|>"), (std::vector<Token>{258, '.' + 1, 300}));
  EXPECT_EQ(plain.encode("ab.<").size(), 2u);
  EXPECT_EQ(tokenizer.encode("<tool><tool>s<too"),
            (std::vector<Token>{301, 302, '<' + 1, 't' + 1, 'o' + 1, 'o' + 1}));
  // A control token that is written has no text; others have.
  EXPECT_EQ(tokenizer.decode(std::vector<Token>{258, 300, 301, 0}), "ab<tool>");
  // What the vocabulary has keeps its id; the name of the end is no way to write it.
  EXPECT_EQ(tokenizer.encode("ab"), std::vector<Token>{258});
  EXPECT_EQ(tokenizer.bytes_of(303), "ab");
  EXPECT_EQ(tokenizer.encode("<s>").size(), 3u);
  EXPECT_EQ(tokenizer.size(), 304);
  EXPECT_EQ(tokenizer.added().size(), 4u);
  EXPECT_FALSE(tokenizer == plain);
  // Again, with one that replaces.
  const Tokenizer more = tokenizer.with_added(std::vector<AddedToken>{{301, "<call>"}});
  EXPECT_EQ(more.encode("<call>"), std::vector<Token>{301});
  EXPECT_EQ(more.encode("<tool>").size(), 6u);
  EXPECT_EQ(more.encode("<|end|>"), std::vector<Token>{300});
}

TEST(AddedTokens, TheEndsStay) {
  const Tokenizer plain = Tokenizer::from_vocabulary(byte_lines(), "a");
  const std::vector<AddedToken> added = {{0, "<x>"}};
  const Tokenizer ended = plain.with_ends(9, std::vector<Token>{9});
  EXPECT_EQ(plain.with_added(std::vector<AddedToken>{{300, "<x>"}}).eos(), std::vector<Token>{0});
  // Id 0 has a text now.
  EXPECT_EQ(ended.with_added(added).eos(), std::vector<Token>{9});
  EXPECT_TRUE(plain.with_added(added).eos().empty());
  EXPECT_EQ(plain.with_added(added).bos(), std::nullopt);
}

TEST(AddedTokens, BadOnesAreErrors) {
  const Tokenizer plain = Tokenizer::from_vocabulary(byte_lines(), "a");
  for (const AddedToken& bad : {AddedToken{-1, "x"}, AddedToken{1 << 21, "x"}, AddedToken{300, ""},
                                AddedToken{300, std::string(2000, 'x')}}) {
    EXPECT_THROW(plain.with_added(std::span(&bad, 1)), Error);
  }
}

TEST(Vocabulary, TheLargestIdIsAllowed) {
  const Tokenizer tokenizer = Tokenizer::from_vocabulary(byte_lines() + "1048576 'ab' 2", "a");
  EXPECT_EQ(tokenizer.encode("ab"), std::vector<Token>{1048576});
  EXPECT_EQ(tokenizer.bytes_of(1048575), "");
  EXPECT_EQ(tokenizer.size(), 1048577);
}

TEST(Vocabulary, NamesTheMissingByte) {
  std::string text = byte_lines();
  const std::string line = "66 b'\\x41' 1\n";
  text.erase(text.find(line), line.size());
  EXPECT_NE(vocabulary_error(text).find("single byte 0x41"), std::string::npos);
  EXPECT_NE(vocabulary_error("").find("single byte 0x00"), std::string::npos);
}

// What a GGUF writer makes of a vocabulary: Python's repr without the quotes.
std::vector<std::string> escaped_bytes() {
  std::vector<std::string> tokens = {"<s>"};
  for (int byte = 0; byte < 256; ++byte) {
    if (byte == '\\' || byte == '\'') {
      tokens.push_back(std::string("\\") + char(byte));
    } else if (byte == '\t' || byte == '\n' || byte == '\r') {
      tokens.push_back(byte == '\t' ? "\\t" : byte == '\n' ? "\\n" : "\\r");
    } else if (byte >= ' ' && byte <= '~') {
      tokens.push_back(std::string(1, char(byte)));
    } else {
      tokens.push_back(fmt::format("\\x{:02x}", byte));
    }
  }
  return tokens;
}

TEST(EscapedVocabulary, UnescapesEveryByte) {
  std::vector<std::string> tokens = escaped_bytes();
  tokens.push_back("a\\\\n");  // a, backslash, n
  tokens.push_back("[PAD258]");
  std::vector<int64_t> types(tokens.size(), 1);
  types[0] = 3;
  types[258] = 5;
  const Tokenizer tokenizer = Tokenizer::from_escaped(tokens, types, "m.gguf");
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(tokenizer.bytes_of(byte + 1), std::string(1, char(byte)));
  }
  EXPECT_EQ(tokenizer.bytes_of(0), "");
  EXPECT_EQ(tokenizer.bytes_of(257), "a\\n");
  EXPECT_EQ(tokenizer.bytes_of(258), "");
  EXPECT_EQ(tokenizer.size(), 258);
  EXPECT_FALSE(tokenizer.is_byte_level());
}

TEST(EscapedVocabulary, TypesSayWhatATokenIs) {
  std::vector<std::string> tokens = escaped_bytes();
  tokens.erase(tokens.begin() + 'A' + 1);
  tokens.insert(tokens.begin() + 'A' + 1, "<0x41>");
  for (const char* more : {"<|tool|>", "<|end|>", "<unk>", "[PAD]", "plain", "a\\x0ab"}) {
    tokens.push_back(more);
  }
  std::vector<int64_t> types(tokens.size(), 1);
  types[0] = 3;
  types['A' + 1] = 6;
  types[257] = 4;
  types[258] = 3;
  types[259] = 2;
  types[260] = 5;
  types[261] = 0;
  types[262] = 4;
  const Tokenizer tokenizer = Tokenizer::from_escaped(tokens, types, "m.gguf");
  EXPECT_EQ(tokenizer.bytes_of('A' + 1), "A");
  EXPECT_EQ(tokenizer.encode("x<|tool|><|end|>plain"),
            (std::vector<Token>{'x' + 1, 257, 258, 261}));
  EXPECT_EQ(tokenizer.decode(std::vector<Token>{257, 258, 259, 260, 261}), "<|tool|>plain");
  EXPECT_EQ(tokenizer.encode("a\nb"), std::vector<Token>{262});
  EXPECT_EQ(tokenizer.encode("<unk>").size(), 5u);
  EXPECT_EQ(tokenizer.eos(), std::vector<Token>{0});
}

TEST(EscapedVocabulary, WithoutTypesIdZeroMayBeAByte) {
  std::vector<std::string> tokens = escaped_bytes();
  tokens.erase(tokens.begin());
  const Tokenizer tokenizer = Tokenizer::from_escaped(tokens, {}, "m.gguf");
  EXPECT_EQ(tokenizer.encode(std::string("\0a", 2)), (std::vector<Token>{0, 'a'}));
  EXPECT_TRUE(tokenizer.eos().empty());
}

TEST(EscapedVocabulary, AnyOtherEscapeIsTheCharacterItself) {
  std::vector<std::string> tokens = escaped_bytes();
  tokens.push_back("\\q\\\"\\u0041");
  EXPECT_EQ(Tokenizer::from_escaped(tokens, {}, "m").bytes_of(257), "q\"u0041");
}

TEST(EscapedVocabulary, WithoutTypesOnlyIdZeroHasNoBytes) {
  const Tokenizer tokenizer = Tokenizer::from_escaped(escaped_bytes(), {}, "m.gguf");
  EXPECT_EQ(tokenizer.bytes_of(0), "");
  EXPECT_EQ(tokenizer.encode("<s>").size(), 3u);
}

TEST(EscapedVocabulary, TheLowerIdOfADuplicateEncodes) {
  std::vector<std::string> tokens = escaped_bytes();
  tokens.push_back("ab");
  tokens.push_back("ab");
  const Tokenizer tokenizer = Tokenizer::from_escaped(tokens, {}, "m.gguf");
  EXPECT_EQ(tokenizer.encode("ab"), std::vector<Token>{257});
  EXPECT_EQ(tokenizer.bytes_of(258), "ab");
}

TEST(EscapedVocabulary, ErrorsNameTheToken) {
  const auto error_of = [](const std::string& token, std::vector<int64_t> types) -> std::string {
    std::vector<std::string> tokens = escaped_bytes();
    tokens.push_back(token);
    try {
      Tokenizer::from_escaped(tokens, types, "m.gguf");
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(error_of("a\\", {}).find("token 257 ends in a backslash"), std::string::npos);
  EXPECT_NE(error_of("\\x4", {}).find("token 257 has \\x without"), std::string::npos);
  EXPECT_NE(error_of("\\xg4", {}).find("token 257 has \\x without"), std::string::npos);
  EXPECT_NE(error_of(std::string(1025, 'a'), {}).find("token 257 is too long"), std::string::npos);
  std::vector<int64_t> types(258, 1);
  types[257] = 7;
  EXPECT_NE(error_of("a", types).find("type of token 257 is 7"), std::string::npos);
  types[257] = 6;
  EXPECT_NE(error_of("ab", types).find("token 257 is no byte"), std::string::npos);
  EXPECT_NE(error_of("a", {1, 1}).find("258 tokens but 2 token types"), std::string::npos);
  EXPECT_EQ(error_of("\\x41\\x4a", {}), "");
}

TEST(EscapedVocabulary, ByteLevelWithIdZero) {
  std::vector<std::string> tokens = escaped_bytes();
  tokens.erase(tokens.begin());
  const std::vector<int64_t> types(256, 1);
  EXPECT_TRUE(Tokenizer::from_escaped(tokens, types, "m.gguf").is_byte_level());
}

}  // namespace
}  // namespace anser
