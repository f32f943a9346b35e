#include "base/read_json.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace anser {
namespace {

using Ordered = nlohmann::ordered_json;
using Sorted = nlohmann::json;
using Kind = JsonFault::Kind;

template <class Json>
JsonFault fault_of(const std::string& text, const JsonLimits& limits = {}) {
  try {
    read_json<Json>(text, limits);
  } catch (const JsonFault& fault) {
    return fault;
  }
  ADD_FAILURE() << "nothing is wrong with " << text.substr(0, 100);
  return {Kind::syntax};
}

std::string object_of(size_t keys) {
  std::string text = "{";
  for (size_t i = 0; i < keys; ++i) {
    text += (i == 0 ? "\"k" : ",\"k") + std::to_string(i) + "\":" + std::to_string(i);
  }
  return text + "}";
}

TEST(ReadJson, ReadsWhatNlohmannReads) {
  for (const char* text :
       {"null", "true", "-1", "18446744073709551615", "1.5e3", "\"a\\u00e9\\ud83d\\ude00\"", "[]",
        "{}", " [1, [2, {}], {\"a\": [], \"b\": {\"c\": null}}] ",
        R"({"z": 1, "a": {"y": 2, "b": 3}, "m": [{"d": 4}, 5]})",
        R"({"b": 1, "a": 2, "b": 3, "c": {"x": 1, "x": [2]}, "a": 4})"}) {
    EXPECT_EQ(read_json<Ordered>(text).dump(), Ordered::parse(text).dump()) << text;
    EXPECT_EQ(read_json<Sorted>(text).dump(), Sorted::parse(text).dump()) << text;
  }
  for (const char* text : {"", "{", "[1,]", "{\"a\" 1}", "nul", "\"\xff\"", "1 2", "[1e999]",
                           "\"\\ud800\"", "{\"a\":1,}", "]"}) {
    EXPECT_EQ(fault_of<Ordered>(text).kind, Kind::syntax) << text;
    EXPECT_EQ(find_json<Sorted>(text), std::nullopt) << text;
  }
}

TEST(ReadJson, TheLastOfARepeatedKeyCountsUnlessItIsRefused) {
  EXPECT_EQ(read_json<Ordered>(R"({"b":1,"a":2,"b":3})").dump(), R"({"b":3,"a":2})");
  const JsonLimits once{.repeated_keys = false};
  for (const char* text : {R"({"b":1,"a":2,"b":3})", R"([{"b":1,"\u0062":{}}])"}) {
    for (const JsonFault& fault : {fault_of<Ordered>(text, once), fault_of<Sorted>(text, once)}) {
      EXPECT_EQ(fault.kind, Kind::repeated_key);
      EXPECT_EQ(fault.key, "b");
    }
  }
  EXPECT_TRUE(find_json<Ordered>(R"({"a":{"b":1},"b":[{"a":1},{"a":1}]})", once));
}

TEST(ReadJson, EveryLimitIsItsOwn) {
  const JsonLimits limits{.depth = 3, .keys = 5, .values = 8};
  EXPECT_TRUE(find_json<Ordered>("[[[1]]]", limits));
  EXPECT_EQ(fault_of<Ordered>("[[[[]]]]", limits).kind, Kind::too_deep);
  EXPECT_EQ(fault_of<Sorted>(R"({"a":[{"b":{}}]})", limits).kind, Kind::too_deep);
  EXPECT_TRUE(find_json<Sorted>(object_of(5), limits));
  EXPECT_EQ(fault_of<Sorted>(object_of(6), limits).kind, Kind::too_many_keys);
  EXPECT_EQ(fault_of<Ordered>(object_of(6), limits).kind, Kind::too_many_keys);
  EXPECT_TRUE(find_json<Ordered>("[1,2,3,4,[5],7]", limits));
  EXPECT_EQ(fault_of<Ordered>("[1,2,3,4,[5],7,8]", limits).kind, Kind::too_many_values);
  // No bracket is built that is too deep: a million of them take no memory and no recursion.
  EXPECT_EQ(fault_of<Ordered>(std::string(1'000'000, '[')).kind, Kind::too_deep);
}

// Each key was compared with all before it: 64 000 of them took 11 s in a release build.
TEST(ReadJson, ManyKeysTakeNoLongerThanTheirText) {
  const auto start = std::chrono::steady_clock::now();
  const JsonLimits none{.keys = size_t(-1), .values = size_t(-1)};
  EXPECT_EQ(read_json<Ordered>(object_of(200'000), none).size(), 200'000u);
  std::string same = "{";
  for (int i = 0; i < 200'000; ++i) same += "\"a\":1,";
  same.back() = '}';
  EXPECT_EQ(read_json<Ordered>(same, none).size(), 1u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(ReadJson, FaultsRepeatAHundredCharactersAtMost) {
  const std::string digits(1'000'000, '9');
  for (const std::string& text : {"[" + digits + "]", "[\"" + digits, "[" + digits + "x]",
                                  "{\"" + digits + "\":1,\"" + digits + "\":1}"}) {
    const JsonFault fault = fault_of<Ordered>(text, {.repeated_keys = false});
    EXPECT_LT(fault.words.size() + fault.key.size(), 250u);
    EXPECT_GT(fault.words.size() + fault.key.size(), 100u);
  }
}

TEST(CutText, CutsBetweenCharacters) {
  EXPECT_EQ(cut_text("abc", 3), "abc");
  EXPECT_EQ(cut_text("abcd", 3), "abc...");
  EXPECT_EQ(cut_text("äöü", 2), "äö...");
  EXPECT_EQ(cut_text("\U0001F600\U0001F600", 1), "\U0001F600...");
  EXPECT_EQ(cut_text(std::string(1000, '\x80'), 10).size(), 43u);  // which is no text
}

}  // namespace
}  // namespace anser
