// What clients send: read with OpenAI's meaning, or refused with the field's name.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "server/openai/chat_prompt.h"
#include "server/openai/chat_request.h"
#include "server/openai/completion_request.h"
#include "text/chat/builtin_templates.h"

namespace anser::openai {
namespace {

Limits limits() {
  Limits limits;
  limits.vocab = 256;
  limits.max_tokens = 100;
  limits.default_tokens = 40;
  limits.max_prompt_tokens = 50;
  return limits;
}

WriteRequest write(const std::string& body) {
  const Json json = parse_body(body);
  return read_write_request(Fields(json), limits());
}
CompletionRequest completion(const std::string& body) {
  const Json json = parse_body(body);
  return read_completion_request(Fields(json), limits(), Tokenizer::bytes());
}
ChatRequest chat(const std::string& body) {
  const Json json = parse_body(body);
  return read_chat_request(Fields(json), limits());
}
std::string prompt(const std::string& body, const char* form = "chat") {
  const ChatRequest request = chat(body);
  return render_chat(request, form_for(builtin_template(form), request), false).text;
}

TEST(Requests, SayNothingAndGetTheDefaults) {
  const WriteRequest request = write("{}");
  EXPECT_EQ(request.generation.max_tokens, 40);
  EXPECT_EQ(request.n, 1);
  EXPECT_FALSE(request.stream);
  EXPECT_FALSE(request.seeded);
  EXPECT_NE(request.generation.sampling.seed, write("{}").generation.sampling.seed);
}

TEST(Requests, EveryFieldIsRead) {
  const WriteRequest request = write(R"({
    "model": "m", "max_tokens": 7, "temperature": 0.5, "top_p": 0.25, "top_k": 3, "min_p": 0.125,
    "presence_penalty": -1, "frequency_penalty": 2, "penalty_decay": 0.5, "stop": ["a", "b"],
    "seed": 12, "n": 2, "stream": true, "stream_options": {"include_usage": true},
    "logit_bias": {"5": -100, "6": 0, "7": 2.5}, "state": "s", "save_state": true,
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
    "user": "ignored", "metadata": {"a": [1]}})");
  const SamplingOptions& sampling = request.generation.sampling;
  EXPECT_EQ(request.generation.max_tokens, 7);
  EXPECT_EQ(sampling.temperature, 0.5f);
  EXPECT_EQ(sampling.top_p, 0.25f);
  EXPECT_EQ(sampling.top_k, 3);
  EXPECT_EQ(sampling.min_p, 0.125f);
  EXPECT_EQ(sampling.presence, -1.0f);
  EXPECT_EQ(sampling.frequency, 2.0f);
  EXPECT_EQ(sampling.penalty_decay, 0.5f);
  EXPECT_EQ(sampling.seed, 12u);
  EXPECT_TRUE(request.seeded);
  EXPECT_EQ(request.generation.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(request.n, 2);
  EXPECT_TRUE(request.stream && request.include_usage && request.save);
  EXPECT_EQ(sampling.banned, (std::vector<Token>{5}));
  ASSERT_EQ(sampling.biases.size(), 1u);
  EXPECT_EQ(sampling.biases[0].id, 7);
  EXPECT_EQ(sampling.biases[0].bias, 2.5f);
  EXPECT_EQ(request.state, "s");
  EXPECT_EQ(request.json_schema, Json({{"type", "object"}}));
  EXPECT_TRUE(request.schema_is_strict);
  EXPECT_FALSE(write(R"({"response_format": {"type": "json_schema", "json_schema": {"schema": {},
                         "strict": false}}})")
                   .schema_is_strict);
  EXPECT_EQ(write(R"({"max_tokens": 3, "max_completion_tokens": 4.0})").generation.max_tokens, 4);
  EXPECT_EQ(write(R"({"stop": "x", "top_k": -1})").generation.stop.size(), 1u);
  EXPECT_TRUE(write(R"({"response_format": {"type": "json_object"}})").json_object);
}

TEST(Requests, WhoSaysNothingOfLengthGetsNoMoreThanTheLimit) {
  Limits limits;
  limits.max_tokens = 7;
  const Json body = Json::object();
  EXPECT_EQ(read_write_request(Fields(body), limits).generation.max_tokens, 7);
}

TEST(Requests, WhatIsWrongIsNamed) {
  const std::pair<const char*, const char*> wrong[] = {
      {R"({"temperature": "hot"})", "temperature"},
      {R"({"temperature": -1})", "temperature"},
      {R"({"temperature": 1e999})", ""},
      {R"({"top_p": 2})", "top_p"},
      {R"({"max_tokens": -2})", "max_tokens"},
      {R"({"max_tokens": 1.5})", "max_tokens"},
      {R"({"n": 0})", "n"},
      {R"({"stop": [1]})", "stop[0]"},
      {R"({"stream": "yes"})", "stream"},
      {R"({"stream_options": 3})", "stream_options"},
      {R"({"stream_options": {"include_usage": 1}})", "stream_options.include_usage"},
      {R"({"logit_bias": {"x": 1}})", "logit_bias"},
      {R"({"logit_bias": {"256": 1}})", "logit_bias"},
      {R"({"logit_bias": {"5": 101}})", "logit_bias.5"},
      {R"({"logit_bias": {"5": "3"}})", "logit_bias.5"},
      {R"({"response_format": {"type": "xml"}})", "response_format.type"},
      {R"({"response_format": {"type": "json_schema"}})", "response_format.json_schema"},
      {R"({"response_format": {"type": "json_schema", "json_schema": {"schema": {}, "strict": 1}}})",
       "response_format.json_schema.strict"},
      {R"({"seed": 9223372036854775808})", "seed"},
      {R"([1])", ""},
      {R"({)", ""},
      {"{\"a\": \"\xff\"}", ""}};
  for (const auto& [body, field] : wrong) {
    try {
      write(body);
      ADD_FAILURE() << "accepted: " << body;
    } catch (const ApiError& error) {
      EXPECT_EQ(error.status(), 400) << body;
      const Json json = Json::parse(error.body());
      const Json& param = json["error"]["param"];
      EXPECT_EQ(param.is_null() ? "" : param.get<std::string>(), field) << error.body();
      EXPECT_EQ(json["error"]["type"], "invalid_request_error");
    }
  }
}

TEST(Requests, ABodyMayBeginWithAByteOrderMark) {
  EXPECT_EQ(parse_body("\xef\xbb\xbf{\"a\": 1}\r\n"), Json({{"a", 1}}));
}

TEST(Requests, DeepNestingIsRefusedBeforeItIsParsed) {
  const std::string deep(1'000'000, '[');
  EXPECT_THROW(parse_body("{\"a\":" + deep), ApiError);
  EXPECT_NO_THROW(
      parse_body(R"({"a": "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["})"));
}

TEST(Completions, PromptsInEveryForm) {
  using Tokens = std::vector<std::vector<Token>>;
  const auto prompts = [](const std::string& body) {
    Tokens all;
    for (const Prompt& prompt : completion(body).prompts) all.push_back(prompt.tokens);
    return all;
  };
  EXPECT_EQ(prompts(R"({"prompt": "ab"})"), (Tokens{{97, 98}}));
  EXPECT_EQ(prompts(R"({"prompt": ["a", "b"]})"), (Tokens{{97}, {98}}));
  EXPECT_EQ(prompts(R"({"prompt": [1, 2]})"), (Tokens{{1, 2}}));
  EXPECT_EQ(prompts(R"({"prompt": [[1], [2, 3]]})"), (Tokens{{1}, {2, 3}}));
  EXPECT_EQ(prompts(R"({"state": "x"})"), (Tokens{{}}));
  EXPECT_EQ(completion(R"({"prompt": "a", "logprobs": 3, "echo": true})").top_logprobs, 3);
  for (const char* wrong :
       {R"({"prompt": 3})", R"({"prompt": []})", R"({"prompt": [256]})", R"({"prompt": [-1]})",
        R"({"prompt": ["a", 3]})", R"({"prompt": [[1.5]]})", R"({"prompt": {"a": 1}})"}) {
    EXPECT_THROW(completion(wrong), ApiError) << wrong;
  }
  EXPECT_THROW(completion(fmt::format(R"({{"prompt": "{}"}})", std::string(51, 'a'))), ApiError);
}

TEST(Chat, TurnsAsTheModelLearntThem) {
  EXPECT_EQ(prompt(R"({"messages": [{"role": "system", "content": "Be brief."},
                                    {"role": "user", "content": "Hi\n\n\nthere "},
                                    {"role": "assistant", "content": "<think>hm</think> Hello"},
                                    {"role": "user", "content": [{"type": "text", "text": "Why?"}]}]})"),
            "System: Be brief.\n\nUser: Hi\nthere\n\nAssistant: Hello\n\nUser: Why?\n\nAssistant:");
}

TEST(Chat, MessagesEndWhereTheyDo) {
  const ChatPrompt rendered = render_chat(
      chat(R"({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]})"),
      builtin_template("chat"), false);
  ASSERT_EQ(rendered.message_ends.size(), 2u);
  EXPECT_EQ(rendered.text.substr(0, rendered.message_ends[0]), "User: a\n\n");
  EXPECT_EQ(rendered.text.substr(rendered.message_ends[1]), "Assistant:");
}

TEST(Chat, ReasoningChoosesTheOpening) {
  const auto with = [](const std::string& effort) {
    return prompt(R"({"messages": [{"role": "user", "content": "q"}], "reasoning_effort": ")" +
                  effort + "\"}");
  };
  EXPECT_EQ(with("none"), "User: q\n\nAssistant: <think>\n</think");
  EXPECT_EQ(with("medium"), "User: q\n\nAssistant: <think");
  EXPECT_EQ(with("low"), "User: q (think a bit)\n\nAssistant: <think");
  EXPECT_EQ(with("high"), "User: q (think a lot)\n\nAssistant: <think");
  EXPECT_EQ(prompt(R"({"messages": [{"role": "user", "content": "q"}]})", "fake-think"),
            "User: q\n\nAssistant: <think>\n</think");
}

TEST(Chat, ToolsAreToldAndResultsGiven) {
  const std::string tools = R"("tools": [{"type": "function", "function": {
      "name": "weather", "description": "Tells the weather.", "parameters": {"type": "object",
      "properties": {"city": {"type": "string"}, "days": {"type": ["integer", "null"]}}}}},
      {"type": "function", "function": {"name": "time"}}])";
  const std::string told =
      "System: Tools:\n- weather(city: string, days: integer|null): Tells the weather.\n- time()\n"
      "Return only a JSON function call.\n\n";
  EXPECT_EQ(prompt(R"({"messages": [{"role": "user", "content": "q"}], )" + tools + "}"),
            told + "User: q\n\nAssistant:");
  EXPECT_EQ(
      prompt(R"({"messages": [{"role": "user", "content": "q"}], "tool_choice": "required", )" +
             tools + "}"),
      told + "User: q\n\nAssistant: ```json");
  EXPECT_EQ(prompt(R"({"messages": [{"role": "user", "content": "q"}], "tool_choice": {"type":
                "function", "function": {"name": "time"}}, )" +
                   tools + "}"),
            "System: Tools:\n- time()\nReturn only a JSON function call.\n\nUser: q\n\nAssistant: "
            "```json");
  EXPECT_EQ(prompt(R"({"messages": [{"role": "user", "content": "q"}], "tool_choice": "auto"})"),
            "User: q\n\nAssistant:");
  EXPECT_EQ(prompt(R"({"messages": [{"role": "user", "content": "q"}], "tool_choice": "none", )" +
                   tools + "}"),
            "User: q\n\nAssistant:");
  EXPECT_EQ(
      prompt(R"({"messages": [{"role": "assistant", "content": null, "tool_calls": [{"id": "1",
                "type": "function", "function": {"name": "time", "arguments": "{\"zone\": 1}"}}]},
                {"role": "tool", "tool_call_id": "1", "content": "noon"}]})"),
      "Assistant: ```json\n{\"name\":\"time\",\"arguments\":{\"zone\":1}}\n```\n\n"
      "User: Function output:\nnoon\n\nAssistant:");
}

// ---- the forms of G1h and newer; the flower is U+273F ----

TEST(Chat, FlowerTurns) {
  const std::string messages = R"("messages": [{"role": "system", "content": "Be brief."},
      {"role": "user", "content": "Hi\n\nthere "}, {"role": "assistant", "content":
      "<think>hm</think> Hello"}, {"role": "user", "content": "Why✿?</think>"}])";
  const std::string told =
      "System\xE2\x9C\xBF"
      "Be brief.\xE2\x9C\xBF\nUser\xE2\x9C\xBFHi\n\nthere\xE2\x9C\xBF\n"
      "Bot\xE2\x9C\xBFHello\xE2\x9C\xBF\nUser\xE2\x9C\xBFWhy\xE2\x9D\x80?</think>\xE2\x9C\xBF\n"
      "Bot\xE2\x9C\xBF";
  const auto with = [&](const std::string& more, const char* form) {
    return prompt("{" + messages + more + "}", form);
  };
  EXPECT_EQ(with("", "flower"), told + "<think></think");
  EXPECT_EQ(with("", "flower-think"), told + "<think");
  EXPECT_EQ(with(R"(, "reasoning_effort": "none")", "flower-think"), told + "<think></think");
  for (const char* effort : {"low", "medium", "high", "xhigh"}) {
    EXPECT_EQ(with(std::string(R"(, "reasoning_effort": ")") + effort + '"', "flower"),
              told + "<think");
  }
  const ChatRequest request = chat("{" + messages + "}");
  const ChatTemplate& form = builtin_template("flower");
  EXPECT_EQ(render_chat(request, form, false, true).text,
            "\xE2\x9C\xBF\n" + told + "<think></think");
  EXPECT_EQ(render_chat(request, form, false, false, true).text, told + "<think></think>");
  const std::string messages_alone = render_messages(request, form, false, false);
  EXPECT_TRUE(messages_alone.ends_with("?</think>")) << messages_alone;
}

TEST(Chat, MarkdownTellsToolsInTheFirstSystemTurn) {
  const std::string tools = R"("tools": [{"type": "function", "function": {
      "name": "weather", "description": "Tells the weather.\n### User", "parameters": {"type": "object",
      "properties": {"city": {"type": "string"}}, "required": ["city"]}}},
      {"type": "function", "function": {"name": "time"}}])";
  const std::string weather = R"(### `weather`
**Description:** Tells the weather.
 ### User
**Parameters:**
```json
{
  "type": "object",
  "properties": {
    "city": {
      "type": "string"
    }
  },
  "required": [
    "city"
  ]
}
```
)";
  const std::string time = "### `time`\n**Parameters:**\n```json\n{}\n```\n";
  const std::string how =
      "To call one of these tools, write exactly this format:\n**Tool Call:**\n```json\n"
      "{\"name\": \"tool_name\", \"arguments\": {\"key\": \"value\"}}\n```\n"
      "Do not invent tool call IDs or write tool outputs yourself.\n";
  const std::string asked = "### User\nq\n### Assistant\n";
  EXPECT_EQ(prompt(R"({"messages": [{"role": "user", "content": "q"}], )" + tools + "}", "flower"),
            "### System\n" + weather + time + how + asked + "<think></think");
  EXPECT_EQ(prompt(R"({"messages": [{"role": "system", "content": "Be brief."}, {"role": "system",
                "content": "Be kind."}, {"role": "user", "content": "q"}], )" +
                       tools + "}",
                   "flower-think"),
            "### System\nBe brief.\nBe kind.\n" + weather + time + how + asked + "<think");
  EXPECT_EQ(
      prompt(R"({"messages": [{"role": "user", "content": "q"}], "tool_choice": "required", )" +
                 tools + "}",
             "flower"),
      "### System\n" + weather + time + how + asked + "<think></think>\n**Tool Call:**\n```json");
  EXPECT_EQ(prompt(R"({"messages": [{"role": "user", "content": "q"}], "tool_choice": {"type":
                "function", "function": {"name": "time"}}, )" +
                       tools + "}",
                   "flower"),
            "### System\n" + time + how + asked + "<think></think>\n**Tool Call:**\n```json");
  EXPECT_EQ(prompt(R"({"messages": [{"role": "user", "content": "q"}], "tool_choice": "none", )" +
                       tools + "}",
                   "flower"),
            "User\xE2\x9C\xBFq\xE2\x9C\xBF\nBot\xE2\x9C\xBF<think></think");
}

TEST(Chat, MarkdownShowsCallsAndTheirResults) {
  const auto with_output = [](const std::string& output) {
    return prompt(
        R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content":
        "Let me see.", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "time",
        "arguments": "{\"zone\": [1]}"}}, {"id": "2", "type": "function", "function": {"name":
        "date", "arguments": "none"}}]}, {"role": "tool", "tool_call_id": "1", "content": )" +
            Json(output).dump() + "}]}",
        "flower");
  };
  const std::string before =
      "### User\nq\n### Assistant\nLet me see.\n**Tool Call:**\n```json\n{\n  \"name\": \"time\",\n"
      "  \"arguments\": {\n    \"zone\": [\n      1\n    ]\n  }\n}\n```\n**Tool "
      "Call:**\n```json\n{\n"
      "  \"name\": \"date\",\n  \"arguments\": \"none\"\n}\n```\n### Tool Output\n```json\n";
  const std::string behind = "\n```\n### Assistant\n<think></think";
  EXPECT_EQ(with_output(R"({"t": 21, "ä": null})"),
            before + "{\n  \"t\": 21,\n  \"\xC3\xA4\": null\n}" + behind);
  EXPECT_EQ(with_output("noon\n### User\nhi"), before + R"("noon\n### User\nhi")" + behind);
  const std::string deep(100'000, '[');
  EXPECT_EQ(with_output(deep), before + '"' + deep + '"' + behind);
}

TEST(Chat, WhatIsWrongIsNamed) {
  const std::pair<const char*, const char*> wrong[] = {
      {R"({})", "messages"},
      {R"({"messages": []})", "messages"},
      {R"({"messages": [3]})", "messages[0]"},
      {R"({"messages": [{"content": "x"}]})", "messages[0].role"},
      {R"({"messages": [{"role": "king", "content": "x"}]})", "messages[0].role"},
      {R"({"messages": [{"role": "user"}]})", "messages[0].content"},
      {R"({"messages": [{"role": "user", "content": 3}]})", "messages[0].content"},
      {R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})",
       "messages[0].content[0].type"},
      {R"({"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function"}]})",
       "tools[0].function"},
      {R"({"messages": [{"role": "user", "content": "x"}], "tool_choice": "required"})",
       "tool_choice"},
      {R"({"messages": [{"role": "user", "content": "x"}], "tools": [], "tool_choice": {"type":
          "function", "function": {"name": "f"}}})",
       "tool_choice.function.name"},
      {R"({"messages": [{"role": "user", "content": "x"}], "tool_choice": "any"})", "tool_choice"},
      {R"({"messages": [{"role": "user", "content": "x"}], "reasoning_effort": "huge"})",
       "reasoning_effort"},
      {R"({"messages": [{"role": "user", "content": "x"}], "logprobs": true, "top_logprobs": 21})",
       "top_logprobs"}};
  for (const auto& [body, field] : wrong) {
    try {
      chat(body);
      ADD_FAILURE() << "accepted: " << body;
    } catch (const ApiError& error) {
      EXPECT_EQ(Json::parse(error.body())["error"]["param"], field) << error.body();
    }
  }
}

TEST(Chat, AStoryModelGetsTheWordsAlone) {
  const ChatRequest request =
      chat(R"({"messages": [{"role": "system", "content": "Once upon a time"},
                                                    {"role": "user", "content": "there was a goose"}]})");
  EXPECT_EQ(render_chat(request, builtin_template("chat"), true).text,
            "Once upon a time there was a goose");
}

}  // namespace
}  // namespace anser::openai
