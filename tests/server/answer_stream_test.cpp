// An answer taken apart while it is written: the same parts however it is cut.
#include "server/openai/answer_stream.h"

#include <gtest/gtest.h>

#include <random>

namespace anser::openai {
namespace {

using Kind = AnswerStream::Part::Kind;

struct Whole {
  std::string reasoning, content, calls;
  bool operator==(const Whole&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Whole& whole) {
  return out << '[' << whole.reasoning << "] [" << whole.content << "] [" << whole.calls << ']';
}

const std::vector<Tool> kTools = {{"time", "", {}}, {"weather", "", {}}};

void add(const std::vector<AnswerStream::Part>& parts, Whole& whole) {
  for (const auto& part : parts) {
    if (part.kind == Kind::reasoning) whole.reasoning += part.text;
    if (part.kind == Kind::content) whole.content += part.text;
    if (part.kind == Kind::call) whole.calls += part.name + part.text;
  }
}

Whole whole_of(const std::string& opening, const std::string& text,
               const std::vector<Tool>& tools) {
  AnswerStream stream(opening, tools);
  Whole whole;
  add(stream.push(text), whole);
  add(stream.finish(), whole);
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    AnswerStream again(opening, tools);
    Whole cut;
    for (size_t at = 0; at < text.size();) {
      const size_t size = 1 + random() % 5;
      add(again.push(text.substr(at, size)), cut);
      at += size;
    }
    add(again.finish(), cut);
    EXPECT_EQ(cut, whole) << text;
  }
  return whole;
}

TEST(AnswerStream, WordsLoseTheWhiteSpaceAroundThem) {
  EXPECT_EQ(whole_of("", " Hello \n there \n\n", {}), (Whole{"", "Hello \n there", ""}));
  EXPECT_EQ(whole_of("", "", {}), Whole());
  EXPECT_EQ(whole_of("", " \n ", {}), Whole());
}

TEST(AnswerStream, ThoughtsComeApart) {
  EXPECT_EQ(whole_of(" <think", ">\nhm < 3 </thin \n</think>\n Yes. ", {}),
            (Whole{"hm < 3 </thin", "Yes.", ""}));
  EXPECT_EQ(whole_of(" <think>\n</think", "> Yes.", {}), (Whole{"", "Yes.", ""}));
  EXPECT_EQ(whole_of("", " <think>a</think>b", {}), (Whole{"a", "b", ""}));
  EXPECT_EQ(whole_of(" <think", ">cut off", {}), (Whole{"cut off", "", ""}));
  EXPECT_EQ(whole_of("", "<thinker>", {}), (Whole{"", "<thinker>", ""}));
  EXPECT_EQ(whole_of("", "a <think>b</think>", {}), (Whole{"", "a <think>b</think>", ""}));
  EXPECT_EQ(whole_of("", "<thin", {}), (Whole{"", "<thin", ""}));
}

TEST(AnswerStream, CallsComeAsAWhole) {
  const std::string call = "```json\n{\"name\": \"time\", \"arguments\": {\"zone\": 1}}\n```";
  EXPECT_EQ(whole_of("", " " + call, kTools), (Whole{"", "", "time{\"zone\":1}"}));
  EXPECT_EQ(whole_of(" ```json", "\n{\"name\": \"weather\"}\n```\n", kTools),
            (Whole{"", "", "weather{}"}));
  EXPECT_EQ(whole_of(" <think>", "so</think>\n" + call, kTools),
            (Whole{"so", "", "time{\"zone\":1}"}));
  EXPECT_EQ(whole_of("", call, {}), (Whole{"", call, ""}));
  const std::string unknown = "```json\n{\"name\": \"fly\"}\n```", broken = "```json\n{\"name\"";
  EXPECT_EQ(whole_of("", unknown, kTools), (Whole{"", unknown, ""}));
  EXPECT_EQ(whole_of("", broken, kTools), (Whole{"", broken, ""}));
}

TEST(AnswerStream, ACallEndsWithItsObject) {
  // Its strings may have fences in them, and the model may have stopped before its own.
  const std::string code = R"({"name": "time", "arguments": {"a": "```json\n\"{}\\", "b": [{}]}})";
  const Whole call = {"", "", R"(time{"a":"```json\n\"{}\\","b":[{}]})"};
  EXPECT_EQ(whole_of(" ```json", "\n" + code, kTools), call);
  EXPECT_EQ(whole_of(" ```json", " " + code + "\n```\nThat is all.", kTools), call);
  EXPECT_EQ(whole_of(" ```json", code + "\n``", kTools), call);
  EXPECT_EQ(whole_of(" ```json", code + "`x", kTools), (Whole{"", "```json" + code + "`x", ""}));
  EXPECT_EQ(whole_of(" ```json", code + code, kTools), (Whole{"", "```json" + code + code, ""}));
  EXPECT_EQ(whole_of(" ```json", "}" + code, kTools), (Whole{"", "```json}" + code, ""}));
}

TEST(AnswerStream, WordsComeAtOnce) {
  AnswerStream stream("", kTools);
  EXPECT_EQ(stream.push("He")[0].text, "He");
  EXPECT_EQ(stream.push("llo ")[0].text, "llo");
  EXPECT_EQ(stream.push("you")[0].text, " you");
}

}  // namespace
}  // namespace anser::openai
