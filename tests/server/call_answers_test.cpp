// What clients see of calls: one or several, in the form of today or the one before; arguments that
// a model has written into a string.
#include <gtest/gtest.h>

#include "server/openai/call_arguments.h"
#include "server/openai/choices.h"
#include "server/openai/response_answer.h"
#include "text/chat/builtin_templates.h"

namespace anser::openai {
namespace {

const std::vector<Tool> kTools = {{"time", "", {}}, {"date", "", {}}};

const std::string kTwoCalls =
    "Both.\n<tool_call>{\"name\": \"time\", \"arguments\": {\"zone\": 1}}</tool_call>\n"
    "<tool_call>{\"name\": \"date\", \"arguments\": {}}</tool_call>";

std::unique_ptr<Choice> choice_of(CallForm calls) {
  return chat_choice(0, builtin_template("markdown"), "", {}, kTools, nullptr,
                     {-1, false, Tokenizer::bytes()}, calls);
}

Json whole(CallForm calls, const std::string& text) {
  const auto choice = choice_of(calls);
  choice->keep(text, {});
  return Json::parse(choice->whole(StopReason::stop_token).rest() + "}");
}

// The deltas, and the reason in the end.
Json streamed(CallForm calls, const std::string& text) {
  const auto choice = choice_of(calls);
  Json seen = Json::array();
  const auto add = [&](const std::vector<Json>& chunks) {
    for (const Json& chunk : chunks) {
      for (const auto& [name, value] : chunk["delta"].items()) {
        if (name.ends_with("call") || name.ends_with("calls")) seen.push_back({{name, value}});
      }
      if (!chunk["finish_reason"].is_null()) seen.push_back(chunk["finish_reason"]);
    }
  };
  for (const char c : text) add(choice->chunks(std::string(1, c), {}));
  add(choice->last_chunks(StopReason::stop_token));
  return seen;
}

TEST(CallAnswers, AsManyAsTheModelMakesOrOne) {
  const Json several = whole(CallForm::several, kTwoCalls);
  EXPECT_EQ(several["message"]["tool_calls"].size(), 2u);
  EXPECT_EQ(streamed(CallForm::several, kTwoCalls).size(), 3u);
  const Json single = whole(CallForm::single, kTwoCalls);
  ASSERT_EQ(single["message"]["tool_calls"].size(), 1u);
  EXPECT_EQ(single["message"]["tool_calls"][0]["function"]["name"], "time");
  EXPECT_EQ(single["message"]["content"], "Both.");
  EXPECT_EQ(single["finish_reason"], "tool_calls");
  const Json pieces = streamed(CallForm::single, kTwoCalls);
  ASSERT_EQ(pieces.size(), 2u) << pieces;
  EXPECT_EQ(pieces[0]["tool_calls"][0]["function"], single["message"]["tool_calls"][0]["function"]);
  EXPECT_EQ(pieces[1], "tool_calls");
}

TEST(CallAnswers, TheFormThatWasBeforeTools) {
  const Json old = whole(CallForm::old, kTwoCalls);
  const Json call = {{"name", "time"}, {"arguments", R"({"zone":1})"}};
  EXPECT_EQ(old["message"]["function_call"], call);
  EXPECT_FALSE(old["message"].contains("tool_calls"));
  EXPECT_EQ(old["finish_reason"], "function_call");
  EXPECT_EQ(streamed(CallForm::old, kTwoCalls),
            Json::array({{{"function_call", call}}, "function_call"}));
  const Json words = whole(CallForm::old, "None.");
  EXPECT_EQ(words["finish_reason"], "stop");
  EXPECT_FALSE(words["message"].contains("function_call"));
}

TEST(CallAnswers, AResponseHasOneCallWhereSeveralAreNotWanted) {
  for (const CallForm calls : {CallForm::several, CallForm::single}) {
    ResponseRequest request;
    request.calls = calls;
    ResponseAnswer answer({"resp_1", "goose", 7, false}, request, builtin_template("markdown"), "",
                          kTools, Tokenizer::bytes());
    answer.piece(0, kTwoCalls, {});
    answer.ending(0, {.reason = StopReason::stop_token});
    const Json response = Json::parse(answer.whole({}).rest());
    const bool several = calls == CallForm::several;
    EXPECT_EQ(response["parallel_tool_calls"], several);
    EXPECT_EQ(response["output"].size(), several ? 3u : 2u);
    EXPECT_EQ(response["output"][1]["arguments"], R"({"zone":1})");
    EXPECT_EQ(response["output"][1]["id"], "fc_1_1");
  }
}

TEST(CallAnswers, ArgumentsAreAnObjectHoweverOftenTheyAreAString) {
  const Json object = {{"text", "a\nb \"c\" \\"}, {"n", Json::array({0.3, nullptr})}};
  Json written = object;
  for (int strings = 0; strings < 4; ++strings) {
    EXPECT_EQ(call_arguments(written), object) << written;
    written = written.dump();
  }
  // A model forgets one of the two backslashes.
  EXPECT_EQ(call_arguments("{\"text\": \"a\nb\tc\\\"\"}"), Json({{"text", "a\nb\tc\""}}));
  for (const Json& nothing : {Json(), Json(""), Json(" \n"), Json("null"), Json("{}")}) {
    EXPECT_EQ(call_arguments(nothing), Json::object()) << nothing;
  }
  for (const Json& other : {Json("Paris"), Json("{broken"), Json(3), Json("7")}) {
    EXPECT_EQ(call_arguments(other), other);
  }
}

TEST(CallAnswers, AModelsStringsAreUnwrappedInBothApis) {
  const Json object = {{"text", "a\nb"}, {"list", {1, 2}}};
  const Json once = object.dump();
  for (const Json& written : {object, once, Json(once.dump()),
                              Json("{\"text\": \"a\nb\", "
                                   "\"list\": [1, 2]}")}) {
    const std::string text =
        "<tool_call>" + Json({{"name", "time"}, {"arguments", written}}).dump() + "</tool_call>";
    const Json call = whole(CallForm::several, text)["message"]["tool_calls"][0]["function"];
    EXPECT_EQ(call["arguments"], object.dump()) << text;
    EXPECT_EQ(streamed(CallForm::several, text)[0]["tool_calls"][0]["function"], call);
    ResponseAnswer answer({"resp_1", "goose", 7, false}, ResponseRequest(),
                          builtin_template("markdown"), "", kTools, Tokenizer::bytes());
    answer.piece(0, text, {});
    answer.ending(0, {.reason = StopReason::stop_token});
    const Json item = Json::parse(answer.whole({}).rest())["output"][0];
    EXPECT_EQ(item["arguments"], object.dump());
  }
}

}  // namespace
}  // namespace anser::openai
