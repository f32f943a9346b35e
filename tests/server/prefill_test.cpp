// Answers whose beginning the client has written, and what else says how messages are written.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "server/openai/answer_stream.h"
#include "server/openai/chat_prompt.h"
#include "server/states_fixture.h"
#include "text/chat/builtin_templates.h"
#include "text/chat/template_file.h"

namespace anser {
namespace {

using openai::AnswerStream;
using openai::Json;

#define FLOWER "\xE2\x9C\xBF"

constexpr char kCompletions[] = "/v1/completions", kChat[] = "/v1/chat/completions";

openai::ChatRequest read(const Json& messages, const Json& more = Json::object()) {
  openai::Limits limits;
  limits.vocab = 300;
  Json body = {{"messages", messages}};
  body.update(more);
  return openai::read_chat_request(openai::Fields(body), limits);
}

Json message(const char* role, const Json& content) {
  return {{"role", role}, {"content", content}};
}

std::string prompt(const Json& messages, const Json& more = Json::object(),
                   const char* form = "chat") {
  const openai::ChatRequest request = read(messages, more);
  return render_chat(request, form_for(builtin_template(form), request), false).text;
}

std::string refused_field(const Json& messages, const Json& more) {
  try {
    read(messages, more);
  } catch (const openai::ApiError& error) {
    return Json::parse(error.body())["error"]["param"];
  }
  return "nothing";
}

TEST(Prefill, TheLastAnswerIsContinued) {
  const Json user = message("user", "q"), answer = message("assistant", "Sure, ");
  const Json both = Json::array({user, answer});
  EXPECT_EQ(prompt(both), "User: q\n\nAssistant: Sure,");
  EXPECT_EQ(prompt(both, {{"continue_final_message", true}}), "User: q\n\nAssistant: Sure,");
  EXPECT_EQ(prompt(both, {{"add_generation_prompt", false}}), "User: q\n\nAssistant: Sure,");
  EXPECT_EQ(prompt(both, {{"add_generation_prompt", true}}),
            "User: q\n\nAssistant: Sure,\n\nAssistant:");
  EXPECT_EQ(prompt(both, {{"continue_final_message", false}}),
            "User: q\n\nAssistant: Sure,\n\nAssistant:");
  EXPECT_EQ(prompt(both, {{"continue_final_message", false}, {"add_generation_prompt", false}}),
            "User: q\n\nAssistant: Sure,\n\n");
  // Whoever's it is, if the client says so; or nobody's.
  EXPECT_EQ(prompt(Json::array({user}), {{"continue_final_message", true}}), "User: q");
  EXPECT_EQ(prompt(Json::array({user}), {{"add_generation_prompt", false}}), "User: q\n\n");
  // Nothing is there to be continued.
  for (const Json& empty : {Json(""), Json(" \n"), Json()}) {
    EXPECT_EQ(prompt(Json::array({user, message("assistant", empty)})), "User: q\n\nAssistant:");
  }
  // Its marks are made harmless as any words' are.
  EXPECT_EQ(prompt(Json::array({user, message("assistant", "a\n\nUser: b")})),
            "User: q\n\nAssistant: a\nUser: b");
}

TEST(Prefill, AThoughtMayBeContinued) {
  const auto text = [](const char* words, const char* form = "chat") {
    return prompt(Json::array({message("user", "q"), message("assistant", words)}), Json::object(),
                  form);
  };
  EXPECT_EQ(text("<think>\nwell"), "User: q\n\nAssistant: <think>\nwell");
  EXPECT_EQ(text("<think>"), "User: q\n\nAssistant: <think");
  EXPECT_EQ(text("<think>\nwell\n</think>"), "User: q\n\nAssistant: <think>\nwell\n</think");
  // Where every answer begins with a thought, an empty one is closed before words.
  EXPECT_EQ(text("Sure", "flower"), "User" FLOWER "q" FLOWER "\nBot" FLOWER "<think></think>Sure");
  EXPECT_EQ(text("<think>well", "flower"), "User" FLOWER "q" FLOWER "\nBot" FLOWER "<think>well");
  EXPECT_EQ(text("<think>", "flower"), "User" FLOWER "q" FLOWER "\nBot" FLOWER "<think");
  EXPECT_EQ(text("Sure", "markdown"), "### User\nq\n### Assistant\n<think></think>Sure");
}

TEST(Prefill, ACallIsNoBeginning) {
  const Json tools = Json::parse(R"([{"type": "function", "function": {"name": "time"}}])");
  const Json call = Json::parse(R"({"role": "assistant", "content": "x", "tool_calls": [{"id": "1",
      "type": "function", "function": {"name": "time", "arguments": "{}"}}]})");
  const Json messages = Json::array({message("user", "q"), call});
  EXPECT_TRUE(prompt(messages).ends_with("\n\nAssistant:"));
  EXPECT_EQ(refused_field(messages, {{"continue_final_message", true}}), "continue_final_message");
  const Json words = Json::array({message("user", "q"), message("assistant", "x")});
  EXPECT_TRUE(prompt(words, {{"tools", tools}, {"tool_choice", "required"}})
                  .ends_with("Assistant: x\n\nAssistant: ```json"));
  EXPECT_EQ(
      refused_field(
          words, {{"tools", tools}, {"tool_choice", "required"}, {"continue_final_message", true}}),
      "continue_final_message");
}

TEST(Prefill, WhatContradictsItselfIsRefused) {
  const Json messages = Json::array({message("user", "q")});
  EXPECT_EQ(
      refused_field(messages, {{"add_generation_prompt", true}, {"continue_final_message", true}}),
      "continue_final_message");
  EXPECT_EQ(refused_field(messages, {{"add_generation_prompt", 1}}), "add_generation_prompt");
  EXPECT_EQ(refused_field(messages, {{"chat_template", "{{ x }}"}}), "chat_template");
  EXPECT_EQ(refused_field(messages, {{"chat_template", nullptr}}), "nothing");
}

TEST(TemplateArguments, ThinkingIsChosen) {
  const Json messages = Json::array({message("user", "q")});
  const auto text = [&](const Json& more) { return prompt(messages, more); };
  const auto kwargs = [](Json arguments) {
    return Json{{"chat_template_kwargs", std::move(arguments)}};
  };
  const std::string asked = "User: q\n\nAssistant:";
  EXPECT_EQ(text(kwargs({{"enable_thinking", true}})), asked + " <think");
  EXPECT_EQ(text(kwargs({{"enable_thinking", false}})), asked + " <think>\n</think");
  EXPECT_EQ(text(kwargs({{"thinking", true}})), asked + " <think");
  EXPECT_EQ(text({{"enable_thinking", false}}), asked + " <think>\n</think");
  EXPECT_EQ(text(kwargs({{"reasoning_effort", "high"}})),
            "User: q (think a lot)\n\nAssistant: <think");
  // What the request itself says comes first, and what no template of ours knows has no effect.
  EXPECT_EQ(
      text({{"reasoning_effort", "none"}, {"chat_template_kwargs", {{"enable_thinking", true}}}}),
      asked + " <think>\n</think");
  EXPECT_EQ(text(kwargs({{"date", "today"}, {"tools_in_user_message", false}})), asked);
  EXPECT_EQ(refused_field(messages, kwargs({{"enable_thinking", "yes"}})),
            "chat_template_kwargs.enable_thinking");
  EXPECT_EQ(refused_field(messages, kwargs("x")), "chat_template_kwargs");
}

// What the client has written is not given back, wherever the text is cut.
TEST(Prefill, OnlyWhatFollowsIsGivenOut) {
  const std::vector<openai::Tool> tools = {{"time", "", {}}};
  const auto parts = [&](const openai::Prefill& prefill, const std::string& text,
                         const char* form = "chat") {
    std::string whole;
    for (size_t at = 0; at <= text.size(); ++at) {
      AnswerStream stream(builtin_template(form), "", tools);
      stream.prefill(prefill);
      std::string cut;
      const auto add = [&](const std::vector<AnswerStream::Part>& some) {
        for (const auto& part : some) {
          if (part.kind == AnswerStream::Part::Kind::reasoning) cut += "[" + part.text + "]";
          if (part.kind == AnswerStream::Part::Kind::content) cut += part.text;
          if (part.kind == AnswerStream::Part::Kind::call) cut += part.name + part.text;
        }
      };
      add(stream.push(text.substr(0, at)));
      add(stream.push(text.substr(at)));
      add(stream.finish());
      for (size_t seam; (seam = cut.find("][")) != std::string::npos;) cut.erase(seam, 2);
      if (at > 0) {
        EXPECT_EQ(cut, whole) << at;
      }
      whole = cut;
    }
    return whole;
  };
  EXPECT_EQ(parts({"Sure, "}, " here it is. "), " here it is.");
  EXPECT_EQ(parts({.text = "Sure,", .spaced = true}, " here"), "here");
  EXPECT_EQ(parts({"a <"}, "b"), "b");
  EXPECT_EQ(parts({"<think"}, ">well</think> yes"), "[well]yes");
  EXPECT_EQ(parts({"<think>we"}, "ll</think> yes"), "[ll]yes");
  EXPECT_EQ(parts({"<think>well</thi"}, "nk> yes"), "yes");
  EXPECT_EQ(parts({"<think>well</thi"}, "s"), "[s]");
  EXPECT_EQ(parts({"<thin"}, " g"), " g");
  EXPECT_EQ(parts({"<thin"}, "k> g</think> h"), "[g]h");
  EXPECT_EQ(parts({"Wait. <tool_"}, "x", "markdown"), "x");
  EXPECT_EQ(parts({"Sure"}, ""), "");
  EXPECT_EQ(parts({"a <thi"}, ""), "");
}

class PrefillTest : public StatesTest {
 protected:
  // Continued by hand, as a completion.
  std::string continued(const std::string& text, const Json& more) {
    std::vector<Token> tokens = model_->tokenizer().encode(text);
    Json body = {{"prompt", tokens}, {"temperature", 0}};
    body.update(more);
    return post(kCompletions, body.dump())["choices"][0]["text"];
  }
};

TEST_F(PrefillTest, AnAnswerGoesOnWithTheClientsWords) {
  start_with_states();
  const Json bias = {{"0", -100}, {"121", 20}};
  Json body = {{"messages", {message("user", "q"), message("assistant", "Sure, ")}},
               {"max_tokens", 12},
               {"temperature", 0},
               {"logit_bias", bias}};
  const std::string by_hand =
      continued("User: q\n\nAssistant: Sure,", {{"max_tokens", 12}, {"logit_bias", bias}});
  const Json whole = post(kChat, body.dump());
  const std::string content = whole["choices"][0]["message"]["content"];
  EXPECT_EQ(content, by_hand);
  std::string streamed;
  body["stream"] = true;
  for (const Json& event : stream(kChat, body.dump())) {
    streamed += event["choices"][0]["delta"].value("content", "");
  }
  EXPECT_EQ(streamed, content);
}

// What is kept is what the messages would make, were they sent again with the answer whole.
TEST_F(PrefillTest, AStateHasReadTheWholeAnswer) {
  for (const char* form : {"chat", "flower"}) {
    stop();
    store_ = std::make_unique<StateStore>(dir_ / "states", StateStoreOptions());
    ServiceOptions options;
    options.form = builtin_template(form);
    options.limits.sampling.temperature = 0;
    start(std::move(options), {});
    const Json bias = {{"0", -100}, {"121", 100}};
    for (const char* begun : {"Sure", "<think>well</think>Sure"}) {
      const Json body = {{"messages", {message("user", "q"), message("assistant", begun)}},
                         {"max_tokens", 3},
                         {"logit_bias", bias},
                         {"save_state", true}};
      const Json answer = post(kChat, body.dump());
      EXPECT_EQ(answer["choices"][0]["message"]["content"], "xxx");
      const Json again = {{"messages", {message("user", "q"), message("assistant", "Surexxx")}}};
      EXPECT_EQ(checksum(answer), post("/v1/states", again.dump())["checksum"]) << form << begun;
    }
  }
}

}  // namespace
}  // namespace anser
