// An answer taken apart while it is written: the same parts however it is cut.
#include "server/openai/answer_stream.h"

#include <gtest/gtest.h>

#include <random>

#include "text/chat/builtin_templates.h"

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

// Cut at every byte, and at random ones.
Whole whole_of(const std::string& opening, const std::string& text, const std::vector<Tool>& tools,
               const char* form_name = "chat") {
  const ChatTemplate& form = builtin_template(form_name);
  AnswerStream stream(form, opening, tools);
  Whole whole;
  add(stream.push(text), whole);
  add(stream.finish(), whole);
  for (size_t at = 0; at <= text.size(); ++at) {
    AnswerStream again(form, opening, tools);
    Whole cut;
    for (const std::string& piece : {text.substr(0, at), text.substr(at)}) {
      add(again.push(piece), cut);
    }
    add(again.finish(), cut);
    EXPECT_EQ(cut, whole) << text << " at " << at;
  }
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    AnswerStream again(form, opening, tools);
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
  AnswerStream stream(builtin_template("chat"), "", kTools);
  EXPECT_EQ(stream.push("He")[0].text, "He");
  EXPECT_EQ(stream.push("llo ")[0].text, "llo");
  EXPECT_EQ(stream.push("you")[0].text, " you");
}

// ---- the form of G1h and newer ----

TEST(AnswerStream, FlowerAnswers) {
  for (const char* form : {"flower", "markdown"}) {
    EXPECT_EQ(whole_of("<think", ">\nhm </thin \n</think>\n Yes. ", {}, form),
              (Whole{"hm </thin", "Yes.", ""}));
    EXPECT_EQ(whole_of("<think></think", "> Yes.", {}, form), (Whole{"", "Yes.", ""}));
    EXPECT_EQ(whole_of("<think></think>", "{}", {}, form), (Whole{"", "{}", ""}));
  }
}

TEST(AnswerStream, MarkdownCallsInAllShapes) {
  const std::string object = R"({"name": "time", "arguments": {"zone": 1}})";
  const Whole call = {"", "", "time{\"zone\":1}"};
  for (const std::string& text :
       {"**Tool Call:**\n```json\n" + object + "\n```", "**Tool Call:** ```json" + object + "```\n",
        "<tool_call>\n" + object + "\n</tool_call>", "<tool_call>" + object + "</tool_call>",
        "<tool_call>```json\n" + object + "\n```\n</tool_call>", "<tool_call>" + object,
        "```json\n" + object + "\n```", "```json\n" + object + "\n``",
        "**Tool Call:**\n" + object}) {
    EXPECT_EQ(whole_of("<think></think", ">\n" + text, kTools, "markdown"), call) << text;
    EXPECT_EQ(whole_of("<think", ">so\n</think>" + text, kTools, "markdown"),
              (Whole{"so", "", call.calls}));
    EXPECT_EQ(whole_of("<think></think", ">Let me see.\n\n" + text, kTools, "markdown"),
              (Whole{"", "Let me see.", call.calls}));
    // What it makes up behind is nobody's.
    EXPECT_EQ(
        whole_of("<think></think", ">" + text + "\n### Tool Output\nnoon", kTools, "markdown"),
        text.ends_with("``") && !text.ends_with("```")
            ? (Whole{"", text + "\n### Tool Output\nnoon", ""})
            : call)
        << text;
    // Without tools it is what it looks like.
    EXPECT_EQ(whole_of("<think></think", ">a" + text + "b", {}, "markdown"),
              (Whole{"", "a" + text + "b", ""}));
  }
  // Several.
  EXPECT_EQ(whole_of("",
                     "Both:\n**Tool Call:**\n```json\n" + object +
                         "\n```\n**Tool Call:**\n```json\n{\"name\": \"weather\", \"arguments\": "
                         "{\"place\": \"```\"}}\n```",
                     kTools, "markdown"),
            (Whole{"", "Both:", "time{\"zone\":1}weather{\"place\":\"```\"}"}));
  // Arguments in a string.
  EXPECT_EQ(whole_of("", R"(<tool_call>{"name":"time","arguments":"{\"zone\": 1}"}</tool_call>)",
                     kTools, "markdown"),
            call);
}

TEST(AnswerStream, WhatIsNoCallIsWords) {
  for (const std::string& text :
       {std::string("**Tool Call:**\n```json\n{\"name\": \"time\", \n```\nSorry."),
        std::string("**Tool Call:**\n```json\n{name: time}\n```"),
        std::string("```json\n{\"name\": \"fly\", \"arguments\": {}}\n``` is one"),
        std::string("```json\n[1, 2]\n``` and ```json\n{\"a\": 1}\n```"),
        std::string("<tool_call>{\"arguments\": {}}</tool_call>"), std::string("<tool_call> no"),
        std::string("**Tool Call:** none"), std::string("a **Tool Cal"), std::string("a <tool_"),
        std::string("a ```jso"), std::string("```json"),
        std::string("**Tool Call:**\n```json\n{\"na"),
        "```json\n{\"name\": \"time\", \"arguments\": " + std::string(100, '[') +
            std::string(100, ']') + "}\n```"}) {
    EXPECT_EQ(whole_of("<think></think", ">" + text, kTools, "markdown"), (Whole{"", text, ""}));
  }
  // One that is none does not hide the next.
  EXPECT_EQ(whole_of("", "<tool_call>x ```json\n{\"name\": \"time\"}\n```", kTools, "markdown"),
            (Whole{"", "<tool_call>x", "time{}"}));
}

// A client never sees the beginning of a call, nor waits for words that cannot be one.
TEST(AnswerStream, CallsAreHiddenAndWordsAreNot) {
  AnswerStream stream(builtin_template("markdown"), "<think></think>", kTools);
  EXPECT_EQ(stream.push("Well: *").at(0).text, "Well:");
  EXPECT_EQ(stream.push("*Tool").size(), 0u);
  EXPECT_EQ(stream.push("s** are").at(0).text, " **Tools** are");
  EXPECT_EQ(stream.push("\n**Tool Call:**\n```json\n{\"name\": \"time\"}").size(), 0u);
  const auto parts = stream.push("\n```");
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].kind, Kind::call);
}

TEST(AnswerStream, OtherMarksOfThoughts) {
  ChatTemplate form = builtin_template("chat");
  form.think_start = "[t]";
  form.think_end = "[/t]";
  AnswerStream stream(form, "[t", kTools);
  Whole whole;
  add(stream.push("]a <think>[/t]b"), whole);
  add(stream.finish(), whole);
  EXPECT_EQ(whole, (Whole{"a <think>", "b", ""}));
  form.think_start = form.think_end = "";
  AnswerStream plain(form, "", kTools);
  Whole words;
  add(plain.push("<think>a</think>b"), words);
  add(plain.finish(), words);
  EXPECT_EQ(words, (Whole{"", "<think>a</think>b", ""}));
}

}  // namespace
}  // namespace anser::openai
