// Every field of OpenAI's requests is honoured, or means nothing, or is refused by its name.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdint>

#include "server/openai/chat_prompt.h"
#include "server/openai/completion_request.h"
#include "server/openai/response_request.h"
#include "text/chat/builtin_templates.h"

namespace anser::openai {
namespace {

Limits limits() {
  Limits limits;
  limits.vocab = 256;
  limits.max_tokens = 100;
  limits.default_tokens = 40;
  limits.max_prompt_tokens = 1000;
  return limits;
}

CompletionRequest completion(const std::string& more) {
  const Json json = parse_body(R"({"prompt": "a")" + more + "}");
  return read_completion_request(Fields(json), limits(), Tokenizer::bytes());
}
ChatRequest chat(const std::string& more,
                 const std::string& messages = R"([{"role": "user", "content": "q"}])") {
  const Json json = parse_body(R"({"messages": )" + messages + more + "}");
  return read_chat_request(Fields(json), limits());
}
ResponseRequest response(const std::string& more, const std::string& input = R"("q")") {
  const Json json = parse_body(R"({"input": )" + input + more + "}");
  return read_response_request(Fields(json), limits());
}

// The field that is refused; "accepted" where none is.
template <class Read>
std::string refused(const Read& read, const std::string& more) {
  try {
    read(more);
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status(), 400) << more;
    const Json param = Json::parse(error.body())["error"]["param"];
    return param.is_null() ? "nothing" : param.get<std::string>();
  }
  return "accepted";
}
std::string completion_refuses(const std::string& more) {
  return refused([](const std::string& m) { completion(m); }, more);
}
std::string chat_refuses(const std::string& more) {
  return refused([](const std::string& m) { chat(m); }, more);
}
std::string message_refuses(const std::string& messages) {
  return refused([](const std::string& m) { chat("", m); }, messages);
}
std::string response_refuses(const std::string& more) {
  return refused([](const std::string& m) { response(m); }, more);
}

TEST(RequestFields, WhatWouldMakeAnotherAnswerIsRefused) {
  EXPECT_EQ(completion_refuses(R"(, "n": 2, "best_of": 3)"), "best_of");
  EXPECT_EQ(completion_refuses(R"(, "n": 3, "best_of": 2)"), "best_of");
  EXPECT_EQ(completion_refuses(R"(, "best_of": 2)"), "best_of");
  EXPECT_EQ(completion_refuses(R"(, "best_of": 0)"), "best_of");
  EXPECT_EQ(completion_refuses(R"(, "n": 2, "best_of": 2)"), "accepted");
  EXPECT_EQ(completion_refuses(R"(, "best_of": 1)"), "accepted");

  EXPECT_EQ(chat_refuses(R"(, "top_logprobs": 2)"), "top_logprobs");
  EXPECT_EQ(chat_refuses(R"(, "logprobs": false, "top_logprobs": 2)"), "top_logprobs");
  EXPECT_EQ(chat_refuses(R"(, "logprobs": true, "top_logprobs": 2)"), "accepted");
  EXPECT_EQ(chat_refuses(R"(, "top_logprobs": 0)"), "accepted");
  EXPECT_EQ(chat_refuses(R"(, "audio": {"voice": "alloy", "format": "wav"})"), "audio");
  EXPECT_EQ(chat_refuses(R"(, "modalities": ["text", "audio"])"), "modalities[1]");
  EXPECT_EQ(chat_refuses(R"(, "modalities": ["text"])"), "accepted");
  EXPECT_EQ(chat_refuses(R"(, "web_search_options": {})"), "web_search_options");
  EXPECT_EQ(chat_refuses(R"(, "moderation": {"model": "m"})"), "moderation");
  EXPECT_EQ(chat_refuses(R"(, "prompt": "p")"), "prompt");
  EXPECT_EQ(completion_refuses(R"(, "messages": [])"), "messages");
  EXPECT_EQ(response_refuses(R"(, "messages": [])"), "messages");

  EXPECT_EQ(response_refuses(R"(, "background": true)"), "background");
  EXPECT_EQ(response_refuses(R"(, "background": false)"), "accepted");
  EXPECT_EQ(response_refuses(R"(, "prompt": {"id": "pmpt_1"})"), "prompt");
  EXPECT_EQ(response_refuses(R"(, "conversation": {"id": "conv_1"})"), "conversation");
  EXPECT_EQ(response_refuses(R"(, "top_logprobs": 21)"), "top_logprobs");
  EXPECT_EQ(response_refuses(R"(, "include": ["reasoning.encrypted_content", "all"])"),
            "include[1]");
  EXPECT_EQ(response_refuses(R"(, "include": [1])"), "include[0]");
  EXPECT_EQ(response_refuses(R"(, "include": {"all": true})"), "include");
  EXPECT_EQ(response_refuses(R"(, "include": ["reasoning.encrypted_content",
                                  "file_search_call.results"], "top_logprobs": 0)"),
            "accepted");
  EXPECT_EQ(response_refuses(R"(, "n": 2)"), "n");
  EXPECT_EQ(response_refuses(R"(, "functions": [{"name": "f"}])"), "functions");
  EXPECT_EQ(response_refuses(R"(, "moderation": {"model": "m"})"), "moderation");
  EXPECT_EQ(response_refuses(R"(, "truncation": "some")"), "truncation");
}

// As clients send them with every request.
TEST(RequestFields, WhatMeansNothingHereIsTaken) {
  const std::string both = R"(, "user": "u", "service_tier": "flex", "store": false,
      "metadata": {"k": "v"}, "safety_identifier": "s", "prompt_cache_key": "p",
      "prompt_cache_retention": "24h", "stream_options": {"include_obfuscation": true},
      "parallel_tool_calls": true)";
  EXPECT_EQ(chat_refuses(both + R"(, "prediction": {"type": "content", "content": "x"},
      "verbosity": "low", "reasoning_effort": "max")"),
            "accepted");
  EXPECT_EQ(response_refuses(both + R"(, "max_tool_calls": 3, "context_management": [],
      "text": {"verbosity": "high"}, "reasoning": {"effort": "max", "summary": "auto"})"),
            "accepted");
}

// Whatever a client that knows of a field sends for "not given".
TEST(RequestFields, NullIsAbsent) {
  std::string nulls;
  for (const char* name : {"max_tokens",
                           "max_completion_tokens",
                           "max_output_tokens",
                           "temperature",
                           "top_p",
                           "top_k",
                           "min_p",
                           "presence_penalty",
                           "frequency_penalty",
                           "seed",
                           "n",
                           "best_of",
                           "stop",
                           "stream",
                           "stream_options",
                           "logit_bias",
                           "response_format",
                           "state",
                           "save_state",
                           "tools",
                           "tool_choice",
                           "functions",
                           "function_call",
                           "parallel_tool_calls",
                           "reasoning_effort",
                           "reasoning",
                           "text",
                           "metadata",
                           "store",
                           "instructions",
                           "previous_response_id",
                           "truncation",
                           "include",
                           "background",
                           "prompt_cache_key",
                           "modalities",
                           "audio",
                           "logprobs",
                           "top_logprobs",
                           "echo",
                           "conversation",
                           "web_search_options",
                           "moderation",
                           "user"}) {
    nulls += fmt::format(", \"{}\": null", name);
  }
  EXPECT_EQ(completion_refuses(nulls), "accepted");
  EXPECT_EQ(chat_refuses(nulls + R"(, "prompt": null)"), "accepted");
  EXPECT_EQ(response_refuses(nulls + R"(, "prompt": null)"), "accepted");
  EXPECT_EQ(completion(R"(, "stop": ["a", null], "logit_bias": {"5": null})").generation.stop,
            (std::vector<std::string>{"a"}));
  EXPECT_EQ(response(R"(, "metadata": {"a": null, "b": "c"})").metadata, Json({{"b", "c"}}));
  EXPECT_EQ(message_refuses(R"([{"role": "user", "content": "q", "name": null},
      {"role": "assistant", "content": null, "refusal": null, "audio": null, "function_call": null,
       "tool_calls": null}])"),
            "accepted");
}

TEST(RequestFields, EmptyOnesMeanNothing) {
  EXPECT_TRUE(completion(R"(, "stop": "")").generation.stop.empty());
  EXPECT_EQ(completion(R"(, "stop": ["", "a", ""])").generation.stop,
            (std::vector<std::string>{"a"}));
  EXPECT_EQ(completion_refuses(R"(, "logit_bias": [])"), "accepted");
  EXPECT_EQ(chat_refuses(R"(, "tools": [], "functions": [], "modalities": [])"), "accepted");
}

TEST(RequestFields, SeedsAreAllThatAnInt64Holds) {
  const auto seed = [](const char* text) {
    return completion(fmt::format(R"(, "seed": {})", text)).generation.sampling.seed;
  };
  EXPECT_EQ(seed("9223372036854775807"), uint64_t(INT64_MAX));
  EXPECT_EQ(seed("9223372036854775806"), uint64_t(INT64_MAX) - 1);
  EXPECT_EQ(seed("-1"), UINT64_MAX);
  EXPECT_EQ(seed("-9223372036854775808"), uint64_t(INT64_MIN));
  EXPECT_EQ(seed("7.0"), 7u);
  for (const char* wrong : {"9223372036854775808", "18446744073709551615", "-9223372036854779904",
                            "1e19", "-1e300", "1.5", "\"1\""}) {
    EXPECT_EQ(completion_refuses(fmt::format(R"(, "seed": {})", wrong)), "seed") << wrong;
  }
}

TEST(RequestFields, NoLimitOfTokensIsTheServersLimit) {
  for (const char* much :
       {"-1", "101", "-1.0", "1000000", "2147483648", "9223372036854775808", "1e30"}) {
    for (const char* name : {"max_tokens", "max_completion_tokens"}) {
      const std::string more = fmt::format(R"(, "{}": {})", name, much);
      EXPECT_EQ(completion(more).generation.max_tokens, 100) << more;
      EXPECT_EQ(chat(more).generation.max_tokens, 100) << more;
    }
    EXPECT_EQ(response(fmt::format(R"(, "max_output_tokens": {})", much)).generation.max_tokens,
              100);
  }
  EXPECT_EQ(completion(R"(, "max_tokens": 0)").generation.max_tokens, 0);
  for (const char* wrong : {"-2", "1.5", "\"9\"", "true"}) {
    const std::string value = fmt::format(": {}", wrong);
    EXPECT_EQ(completion_refuses(R"(, "max_tokens")" + value), "max_tokens");
    EXPECT_EQ(chat_refuses(R"(, "max_completion_tokens")" + value), "max_completion_tokens");
    EXPECT_EQ(response_refuses(R"(, "max_output_tokens")" + value), "max_output_tokens");
  }
  EXPECT_EQ(response_refuses(R"(, "max_output_tokens": 0)"), "max_output_tokens");
}

// ---- tools ----

TEST(RequestFields, AFunctionIsKnownByItsName) {
  EXPECT_EQ(chat_refuses(R"(, "tools": [{"type": "function", "function": {}}])"),
            "tools[0].function.name");
  EXPECT_EQ(chat_refuses(R"(, "tools": [{"type": "function", "function": {"name": ""}}])"),
            "tools[0].function.name");
  EXPECT_EQ(chat_refuses(R"(, "tools": [{"function": {"name": "a"}}, {"function": {"name": "b"}},
                             {"function": {"name": "a"}}])"),
            "tools[2].function.name");
  EXPECT_EQ(response_refuses(R"(, "tools": [{"type": "function"}])"), "tools[0].name");
  EXPECT_EQ(response_refuses(R"(, "tools": [{"type": "function", "name": "a"},
                                 {"type": "function", "name": "a"}])"),
            "tools[1].name");
  EXPECT_EQ(chat_refuses(R"(, "functions": [{"name": "a"}, {"name": "a"}])"), "functions[1].name");
}

// As Codex sends them beside its functions.
TEST(RequestFields, OtherToolsAndTheirItemsAreLeftOut) {
  const ResponseRequest request = response(
      R"(, "tools": [{"type": "local_shell"}, {"type": "function", "name": "f"},
          {"type": "web_search", "filters": {}}, {"type": "web_search"},
          {"type": "custom", "name": "apply", "format": {"type": "grammar"}},
          {"type": "my own secret"}], "tool_choice": "auto")",
      R"([{"type": "local_shell_call", "id": "x", "action": {}}, {"role": "user", "content": "q"},
          {"type": "web_search_call", "id": "y", "status": "completed"},
          {"type": "custom_tool_call_output", "call_id": "z", "output": "o"},
          {"type": "reasoning", "summary": [], "encrypted_content": "e"},
          {"type": "another secret"}])");
  ASSERT_EQ(request.tools.size(), 1u);
  EXPECT_EQ(request.tools[0].name, "f");
  EXPECT_EQ(request.tools[0].path, "tools[1].parameters");
  EXPECT_EQ(request.tools_said.size(), 1u) << "what may not be called is not repeated";
  ASSERT_EQ(request.messages.size(), 1u);
  EXPECT_EQ(
      request.left_out,
      (LeftOut{"input items of type local_shell_call", "input items of type web_search_call",
               "input items of type custom_tool_call_output", "input items of an unknown type",
               "tools of type local_shell", "tools of type web_search", "tools of type custom",
               "tools of an unknown type"}));
  const ChatRequest none = chat(R"(, "tools": [{"type": "custom", "custom": {"name": "c"}}])");
  EXPECT_TRUE(none.tools.empty());
  EXPECT_EQ(none.tool_choice.kind, ToolChoice::Kind::none);
  const ChatRequest calls = chat("", R"([{"role": "assistant", "tool_calls": [
      {"id": "1", "type": "custom", "custom": {"name": "c", "input": "i"}},
      {"id": "2", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
      {"role": "user", "content": "q"}])");
  ASSERT_EQ(calls.messages[0].calls.size(), 1u);
  EXPECT_EQ(calls.messages[0].calls[0].name, "f");
  // To demand a call of one that is left out is another thing.
  EXPECT_EQ(response_refuses(R"(, "tools": [{"type": "web_search"}], "tool_choice":
                                 {"type": "web_search"})"),
            "tool_choice.type");
  EXPECT_EQ(response_refuses(R"(, "tools": [{"type": "web_search"}], "tool_choice": "required")"),
            "tool_choice");
  EXPECT_EQ(refused([](const std::string& input) { response("", input); },
                    R"([{"type": "web_search_call"}])"),
            "input");
}

TEST(RequestFields, SomeToolsMayBeAllowed) {
  const std::string tools = R"(, "tools": [{"type": "function", "function": {"name": "a"}},
      {"type": "function", "function": {"name": "b"}}], "tool_choice": {"type": "allowed_tools",
      "allowed_tools": {"mode": )";
  const ChatRequest required =
      chat(tools + R"("required", "tools": [{"type": "function", "function": {"name": "b"}}]}})");
  ASSERT_EQ(required.tools.size(), 1u);
  EXPECT_EQ(required.tools[0].name, "b");
  EXPECT_EQ(required.tool_choice.kind, ToolChoice::Kind::required);
  EXPECT_EQ(chat(tools + R"("auto", "tools": []}})").tool_choice.kind, ToolChoice::Kind::none);
  EXPECT_EQ(chat_refuses(tools + R"("required", "tools": []}})"),
            "tool_choice.allowed_tools.tools");
  EXPECT_EQ(chat_refuses(tools + R"("auto", "tools": [{"function": {"name": "c"}}]}})"),
            "tool_choice.allowed_tools.tools[0].function.name");
  EXPECT_EQ(chat_refuses(tools + R"("some", "tools": []}})"), "tool_choice.allowed_tools.mode");
  const ResponseRequest flat = response(
      R"(, "tools": [{"type": "function", "name": "a"}, {"type": "function", "name": "b"}],
          "tool_choice": {"type": "allowed_tools", "mode": "auto",
                          "tools": [{"type": "function", "name": "a"}, {"type": "web_search"}]})");
  ASSERT_EQ(flat.tools.size(), 1u);
  EXPECT_EQ(flat.tool_choice.kind, ToolChoice::Kind::automatic);
}

TEST(RequestFields, TheOldFormOfFunctions) {
  const std::string functions = R"(, "functions": [{"name": "a", "parameters": {"type": "object"}},
                                                   {"name": "b"}])";
  const ChatRequest request = chat(functions);
  ASSERT_EQ(request.tools.size(), 2u);
  EXPECT_EQ(request.tools[0].path, "functions[0].parameters");
  EXPECT_EQ(request.tool_choice.kind, ToolChoice::Kind::automatic);
  EXPECT_EQ(request.calls, CallForm::old);
  const ChatRequest named = chat(functions + R"(, "function_call": {"name": "b"})");
  EXPECT_EQ(named.tool_choice.kind, ToolChoice::Kind::named);
  EXPECT_EQ(named.tool_choice.name, "b");
  EXPECT_EQ(chat(functions + R"(, "function_call": "none")").tool_choice.kind,
            ToolChoice::Kind::none);
  EXPECT_EQ(chat_refuses(functions + R"(, "function_call": {"name": "c"})"), "function_call.name");
  EXPECT_EQ(chat_refuses(functions + R"(, "function_call": "required")"), "function_call");
  EXPECT_EQ(chat_refuses(R"(, "function_call": {"name": "c"})"), "function_call.name");
  const std::string tools = R"(, "tools": [{"function": {"name": "t"}}])";
  EXPECT_EQ(chat_refuses(functions + tools), "functions");
  EXPECT_EQ(chat_refuses(tools + R"(, "function_call": "none")"), "function_call");
  EXPECT_EQ(chat_refuses(tools + R"(, "function_call": "auto")"), "accepted");
  EXPECT_EQ(chat(tools).calls, CallForm::several);
  EXPECT_EQ(chat(tools + R"(, "parallel_tool_calls": false)").calls, CallForm::single);
  // A conversation of it.
  const ChatRequest said = chat("", R"([{"role": "assistant", "content": null, "function_call":
      {"name": "a", "arguments": "{\"x\": 1}"}}, {"role": "function", "name": "a", "content": "2"}])");
  EXPECT_EQ(render_chat(said, builtin_template("chat"), false).text,
            "Assistant: ```json\n{\"name\":\"a\",\"arguments\":{\"x\":1}}\n```\n\n"
            "User: Function output:\n2\n\nAssistant:");
}

// ---- messages ----

TEST(RequestFields, RefusalsAreWords) {
  const ChatRequest request = chat("", R"([
      {"role": "assistant", "content": [{"type": "text", "text": "Oh. "},
                                        {"type": "refusal", "refusal": "I cannot."}]},
      {"role": "assistant", "content": null, "refusal": "No."}, {"role": "user", "content": "q"}])");
  EXPECT_EQ(request.messages[0].text, "Oh. I cannot.");
  EXPECT_EQ(request.messages[1].text, "No.");
  const ResponseRequest input = response("", R"([{"type": "message", "role": "assistant", "content":
      [{"type": "refusal", "refusal": "I cannot."}, {"type": "output_text", "text": " So."}]}])");
  EXPECT_EQ(input.messages[0].text, "I cannot. So.");
}

TEST(RequestFields, ArgumentsMayComeAsTheyAre) {
  const ChatRequest request = chat("", R"([{"role": "assistant", "tool_calls": [
      {"function": {"name": "f", "arguments": {"a": [1]}}}]}, {"role": "user", "content": "q"}])");
  EXPECT_EQ(request.messages[0].calls[0].arguments, R"({"a":[1]})");
}

TEST(RequestFields, TheFieldAtFaultIsNamedHoweverDeep) {
  EXPECT_EQ(message_refuses(R"([{"role": "user", "content": "a"}, {"role": "user", "content": "b"},
      {"role": "user", "content": [{"type": "input_audio"}]}])"),
            "messages[2].content[0].type");
  EXPECT_EQ(message_refuses(R"([{"role": "user", "content": [{"type": "text"}]}])"),
            "messages[0].content[0].text");
  EXPECT_EQ(message_refuses(R"([{"role": "assistant", "content": [{"type": "refusal"}]}])"),
            "messages[0].content[0].refusal");
  EXPECT_EQ(message_refuses(R"([{"role": "assistant", "audio": {"id": "a"}}])"),
            "messages[0].audio");
  EXPECT_EQ(message_refuses(R"([{"role": "assistant", "function_call": {"arguments": "{}"}}])"),
            "messages[0].function_call.name");
  EXPECT_EQ(message_refuses(R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f",
      "arguments": 1}}]}])"),
            "messages[0].tool_calls[0].function.arguments");
  EXPECT_EQ(completion_refuses(R"(, "save_state": {"name": "a/b"})"), "save_state.name");
  EXPECT_EQ(completion_refuses(R"(, "save_state": {"tags": ["ok", ""]})"), "save_state.tags");
  EXPECT_EQ(response_refuses(R"(, "reasoning": {"effort": 1})"), "reasoning.effort");
}

TEST(RequestFields, CallsInARowAreOneTurn) {
  const ResponseRequest request = response("", R"([{"role": "user", "content": "q"},
      {"type": "message", "role": "assistant", "content": "I look."},
      {"type": "reasoning", "summary": []},
      {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
      {"type": "function_call", "call_id": "2", "name": "g", "arguments": "{}"},
      {"type": "function_call_output", "call_id": "1", "output": "a"},
      {"type": "function_call_output", "call_id": "2", "output": "b"},
      {"type": "function_call", "call_id": "3", "name": "h", "arguments": "{}"},
      {"type": "message", "role": "assistant", "content": "Done."}])");
  ASSERT_EQ(request.messages.size(), 6u);
  EXPECT_EQ(request.messages[1].text, "I look.");
  ASSERT_EQ(request.messages[1].calls.size(), 2u);
  EXPECT_EQ(request.messages[1].calls[1].name, "g");
  ASSERT_EQ(request.messages[4].calls.size(), 1u);
  EXPECT_EQ(request.messages[5].text, "Done.");
}

TEST(RequestFields, ItemsCanBeReferredTo) {
  const ResponseRequest request = response("", R"([{"role": "user", "content": "q"},
      {"type": "item_reference", "id": "msg_1"}, {"id": "fc_2"}, {"role": "user", "content": "r"}])");
  ASSERT_EQ(request.references.size(), 2u);
  EXPECT_EQ(request.references[0].message, 1u);
  EXPECT_EQ(request.references[0].id, "msg_1");
  EXPECT_EQ(request.references[1].path, "input[2].id");
  EXPECT_EQ(request.messages.size(), 4u);
  std::string many = "[";
  for (size_t i = 0; i <= kMostReferences; ++i) many += R"({"id": "msg_1"},)";
  many.back() = ']';
  EXPECT_EQ(refused([](const std::string& input) { response("", input); }, many),
            fmt::format("input[{}].type", kMostReferences));
}

}  // namespace
}  // namespace anser::openai
