// Calls that must be made: whatever the model would rather write, the answer is one.
#include <algorithm>
#include <set>

#include "grammar/validate.h"
#include "server/orders.h"
#include "server/service_fixture.h"

namespace anser {
namespace {

using openai::Json;
using support::Validator;

constexpr char kChat[] = "/v1/chat/completions", kResponses[] = "/v1/responses";

// Two functions whose definitions share a name, one that takes nothing, and one with a fence and
// sentences.
const Json kFunctions = Json::parse(R"([
  {"name": "time"},
  {"name": "weather", "description": "Of a place.", "parameters": {"type": "object",
   "$defs": {"x": {"enum": ["sun", "rain"]}}, "properties": {"place": {"type": "string",
   "minLength": 1, "maxLength": 12}, "kind": {"$ref": "#/$defs/x"}, "days": {"type": "integer",
   "minimum": 1, "maximum": 9}}, "required": ["place", "kind"]}},
  {"name": "find", "parameters": {"type": "object", "$defs": {"x": {"type": "array", "maxItems": 2,
   "items": {"type": "number"}}}, "properties": {"at": {"$ref": "#/$defs/x"}, "all": {"type":
   ["boolean", "null"]}}, "required": ["at"]}},
  {"name": "say", "parameters": {"type": "object", "properties": {"text": {"const":
   "One. Two! ```json\n{}\n``` Three? \n\nUser: four. Five."}}, "required": ["text"]}}])");

Json chat_tools(const Json& functions = kFunctions) {
  Json tools = Json::array();
  for (const Json& function : functions) {
    tools.push_back({{"type", "function"}, {"function", function}});
  }
  return tools;
}
Json response_tools(const Json& functions = kFunctions) {
  Json tools = functions;
  for (Json& tool : tools) tool["type"] = "function";
  return tools;
}

Json named(const std::string& name) {
  return {{"type", "function"}, {"function", {{"name", name}}}};
}

// Returns the function's name.
std::string expect_valid(const Json& name, const Json& arguments) {
  const auto of = std::ranges::find(kFunctions, name, [](const Json& f) { return f["name"]; });
  if (of == kFunctions.end()) {
    ADD_FAILURE() << "nobody offered " << name;
    return "";
  }
  nlohmann::json schema = {{"additionalProperties", false}};
  if (of->contains("parameters")) schema = nlohmann::json::parse((*of)["parameters"].dump());
  const auto value = nlohmann::json::parse(arguments.get<std::string>(), nullptr, false);
  EXPECT_TRUE(value.is_object() && Validator(schema).valid(value)) << name << arguments;
  return name;
}

std::string expect_call(const Json& choice) {
  EXPECT_EQ(choice["finish_reason"], "tool_calls") << choice;
  const Json& message = choice["message"];
  EXPECT_TRUE(message["content"].is_null()) << choice;
  EXPECT_FALSE(message.contains("reasoning_content"));
  if (!message.contains("tool_calls") || message["tool_calls"].size() != 1) {
    ADD_FAILURE() << choice;
    return "";
  }
  const Json& call = message["tool_calls"][0];
  EXPECT_EQ(call["type"], "function");
  EXPECT_TRUE(call["id"].get<std::string>().starts_with("call_"));
  return expect_valid(call["function"]["name"], call["function"]["arguments"]);
}

class CallsTest : public ServiceTest {
 protected:
  void use_embedded() {
    stop();
    engine_.reset();
    model_ = std::make_unique<Model>(Model::embedded());
  }
  static Json body(const Json& choice, const Json& more = {}) {
    Json body = {{"messages", {{{"role", "user"}, {"content", "Tell me of a wolf."}}}},
                 {"tools", chat_tools()},
                 {"tool_choice", choice},
                 {"seed", 1}};
    if (!more.is_null()) body.update(more);
    return body;
  }
  Json chat(const Json& choice, const Json& more = {}, int status = 200) {
    return post(kChat, body(choice, more).dump(), status);
  }
  Json respond(const Json& more, int status = 200) {
    Json body = {{"input", "Tell me of a wolf."},
                 {"tools", response_tools()},
                 {"tool_choice", "required"},
                 {"seed", 1}};
    body.update(more);
    return post(kResponses, body.dump(), status);
  }
  // Of a request with tools that the model may call; after start().
  ChatOrder order_of_auto(openai::ChatRequest* request = nullptr) {
    openai::Limits limits;
    limits.vocab = 300;
    const Json said = body("auto");
    openai::ChatRequest read = openai::read_chat_request(openai::Fields(said), limits);
    if (request != nullptr) *request = read;
    return chat_order(std::move(read), {model_->initial_state(), {}, {}}, builtin_template("think"),
                      limits, *model_);
  }
};

// A model that knows nothing, told in the form of G1; and the embedded one, which tells stories.
TEST_F(CallsTest, WhateverTheSeed) {
  for (const bool embedded : {false, true}) {
    if (embedded) use_embedded();
    ServiceOptions options;
    options.limits.max_n = 128;
    start(std::move(options), {.max_batch = 64});
    std::set<std::string> seen;
    const int some = embedded ? 120 : 40, few = embedded ? 25 : 5;
    const Json many = chat("required", {{"n", some}});
    ASSERT_EQ(many["choices"].size(), size_t(some));
    for (const Json& choice : many["choices"]) seen.insert(expect_call(choice));
    EXPECT_GE(seen.size(), embedded ? 2u : 3u) << "and others, too";
    for (const Json& function : kFunctions) {
      const Json choices = chat(named(function["name"]), {{"n", few}, {"seed", 1000}})["choices"];
      for (const Json& choice : choices) EXPECT_EQ(expect_call(choice), function["name"]);
    }
  }
}

TEST_F(CallsTest, AStreamHasItInOnePiece) {
  start();
  for (const Json& choice : {Json("required"), named("weather")}) {
    const Json whole = chat(choice)["choices"][0];
    expect_call(whole);
    Json calls = Json::array(), reasons = Json::array();
    for (const Json& event : stream(kChat, body(choice, {{"stream", true}}).dump())) {
      const Json& piece = event["choices"][0];
      if (piece["delta"].contains("tool_calls")) calls.push_back(piece["delta"]["tool_calls"]);
      EXPECT_EQ(piece["delta"].value("content", ""), "");
      if (!piece["finish_reason"].is_null()) reasons.push_back(piece["finish_reason"]);
    }
    EXPECT_EQ(reasons, Json({"tool_calls"}));
    ASSERT_EQ(calls.size(), 1u);
    ASSERT_EQ(calls[0].size(), 1u);
    EXPECT_EQ(calls[0][0]["index"], 0);
    EXPECT_EQ(calls[0][0]["function"], whole["message"]["tool_calls"][0]["function"]);
  }
}

// Neither the client's wishes for words nor what ends the turns of a chat.
TEST_F(CallsTest, NothingElseEndsOrFormsIt) {
  start();
  const std::string said = R"({"text":"One. Two! ```json\n{}\n``` Three? \n\nUser: four. Five."})";
  const Json plain = chat(named("say"));
  const Json format = {{"type", "json_schema"},
                       {"json_schema", {{"name", "x"}, {"schema", {{"const", 1}}}}}};
  for (const Json& more :
       {Json(), Json({{"stop", {"One", "name", "}"}}}),
        Json({{"end_with_sentence", true}, {"max_tokens", plain["usage"]["completion_tokens"]}}),
        Json({{"response_format", format}}), Json({{"response_format", {{"type", "json_object"}}}}),
        Json({{"reasoning_effort", "high"}}), Json({{"logit_bias", {{"0", 100}}}})}) {
    const Json answer = chat(named("say"), more);
    EXPECT_EQ(expect_call(answer["choices"][0]), "say") << more;
    EXPECT_EQ(answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], said);
    EXPECT_EQ(answer["usage"]["prompt_tokens"], plain["usage"]["prompt_tokens"]) << more;
  }
  // Where none is demanded the format holds.
  const Json formed = chat("auto", {{"response_format", format}})["choices"][0];
  EXPECT_EQ(formed["finish_reason"], "stop");
  EXPECT_EQ(Json::parse(formed["message"]["content"].get<std::string>()), 1);
}

TEST_F(CallsTest, ACallThatIsCutOffIsNone) {
  start();
  const Json whole = chat(named("say"));
  const int tokens = whole["usage"]["completion_tokens"];
  for (const int most : {0, 9, tokens - 1}) {
    const Json cut = chat(named("say"), {{"max_tokens", most}})["choices"][0];
    EXPECT_EQ(cut["finish_reason"], "length");
    EXPECT_FALSE(cut["message"].contains("tool_calls"));
    EXPECT_TRUE(cut["message"]["content"].get<std::string>().starts_with("```json")) << cut;
  }
  EXPECT_EQ(expect_call(chat(named("say"), {{"max_tokens", tokens}})["choices"][0]), "say");
  const Json response = respond({{"max_output_tokens", 9}});
  EXPECT_EQ(response["status"], "incomplete");
  EXPECT_EQ(response["output"][0]["type"], "message");
}

TEST_F(CallsTest, WhatCannotBeKeptToIsNamed) {
  start();
  const auto expect = [&](const Json& functions, const Json& choice, const char* index,
                          const std::vector<std::string>& words) {
    const std::string field = "tools[" + std::string(index) + "]";
    const Json errors[] = {
        chat(choice, {{"tools", chat_tools(functions)}}, 400),
        respond({{"tools", response_tools(functions)},
                 {"tool_choice", choice.is_object() ? choice["function"] : choice}},
                400)};
    const std::string params[] = {field + ".function.parameters", field + ".parameters"};
    for (size_t i = 0; i < 2; ++i) {
      const Json error = errors[i]["error"];
      EXPECT_EQ(error["type"], "invalid_request_error");
      EXPECT_EQ(error["param"], params[i]) << error;
      for (const std::string& word : words) {
        EXPECT_NE(error["message"].get<std::string>().find(word), std::string::npos) << error;
      }
    }
  };
  Json functions = kFunctions;
  functions[2]["parameters"]["properties"]["at"] = {{"type", "array"}, {"disallow", "null"}};
  expect(functions, "required", "2",
         {"parameters: the function `find`", "#/properties/at", "'disallow' is not supported"});
  expect(functions, named("find"), "2", {"`find`"});
  // Who does not insist gets what can be had.
  Json loose = chat_tools(functions);
  loose[2]["function"]["strict"] = false;
  const Json had =
      chat(named("find"), {{"tools", loose}})["choices"][0]["message"]["tool_calls"][0];
  EXPECT_EQ(had["function"]["name"], "find");
  EXPECT_TRUE(Json::parse(had["function"]["arguments"].get<std::string>())["at"].is_array());
  // Those that cannot be called are not looked at, nor is anything where none must be.
  EXPECT_EQ(expect_call(chat(named("time"), {{"tools", chat_tools(functions)}})["choices"][0]),
            "time");
  chat("auto", {{"tools", chat_tools(functions)}, {"max_tokens", 1}});
  functions = kFunctions;
  functions[1]["parameters"]["properties"]["kind"]["$ref"] = "#/$defs/y";
  expect(functions, "required", "1", {"`weather`", "'#/$defs/y' points at nothing"});
  functions[1]["parameters"] = {{"type", "string"}};
  expect(functions, "required", "1", {"`weather`", "arguments are an object"});

  EXPECT_EQ(chat("required", {{"tools", Json::array()}}, 400)["error"]["param"], "tool_choice");
  EXPECT_EQ(respond({{"tools", Json::array()}}, 400)["error"]["param"], "tool_choice");
  // Each may be kept to, but not all together.
  Json many = Json::array();
  for (int i = 0; i < 100; ++i) {
    many.push_back(
        {{"name", "f" + std::to_string(i)},
         {"parameters",
          {{"type", "object"},
           {"properties",
            {{"a",
              {{"type", "string"}, {"pattern", "^(ab?){" + std::to_string(2000 + i) + "}$"}}}}}}}});
  }
  const Json error = chat("required", {{"tools", chat_tools(many)}}, 400)["error"];
  EXPECT_EQ(error["param"], "tools") << error;
  EXPECT_NE(error["message"].get<std::string>().find("too large"), std::string::npos) << error;
}

TEST_F(CallsTest, AResponseHasAnItem) {
  start();
  for (const Json& choice : {Json("required"), Json({{"type", "function"}, {"name", "find"}})}) {
    const Json response = respond({{"tool_choice", choice}});
    EXPECT_EQ(response["status"], "completed");
    EXPECT_EQ(response["tool_choice"], choice);
    ASSERT_EQ(response["output"].size(), 1u) << response;
    const Json& item = response["output"][0];
    EXPECT_EQ(item["type"], "function_call");
    const std::string name = expect_valid(item["name"], item["arguments"]);
    EXPECT_TRUE(choice == "required" || name == "find") << name;
  }
  // Calls win over a format, and there are no thoughts.
  const Json wanted = {
      {"reasoning", {{"effort", "high"}}},
      {"text", {{"format", {{"type", "json_schema"}, {"name", "x"}, {"schema", {{"const", 1}}}}}}}};
  const Json response = respond(wanted);
  ASSERT_EQ(response["output"].size(), 1u) << response;
  EXPECT_EQ(response["output"][0]["type"], "function_call");
}

// A state after a call has read what the next prompt shows of it, however it was written: the
// conversation goes on from the state as it would without.
TEST_F(CallsTest, StatesHaveReadThemAsTheyAreShown) {
  for (const bool embedded : {false, true}) {
    if (embedded) use_embedded();
    start_with_states();
    const auto checksum = [&](const Json& id) {
      return get("/v1/states/" + id.get<std::string>())["checksum"];
    };
    const auto read = [&](const Json& body) { return post("/v1/states", body.dump())["checksum"]; };
    const Json result = {{"role", "tool"}, {"tool_call_id", "x"}, {"content", "Sun."}};
    for (const Json& choice : {Json("required"), named("say")}) {
      const Json answer = chat(choice, {{"save_state", true}, {"temperature", 1}})["choices"][0];
      expect_call(answer);
      Json anew = body(choice);
      anew["messages"].push_back(answer["message"]);
      EXPECT_EQ(checksum(answer["state"]), read(anew));
      anew["messages"].push_back(result);
      EXPECT_EQ(read({{"state", answer["state"]}, {"messages", {result}}}), read(anew));
    }
    // The same of a response.
    const Json response = respond({{"temperature", 1}});
    const Json& item = response["output"][0];
    Json anew = body("required");
    anew["messages"].push_back(
        {{"role", "assistant"},
         {"content", nullptr},
         {"tool_calls",
          {{{"function", {{"name", item["name"]}, {"arguments", item["arguments"]}}}}}}});
    EXPECT_EQ(checksum(response["state"]), read(anew));
    const Json next = respond(
        {{"previous_response_id", response["id"]},
         {"input",
          {{{"type", "function_call_output"}, {"call_id", item["call_id"]}, {"output", "Sun."}}}}});
    EXPECT_EQ(next["output"][0]["type"], "function_call");
    EXPECT_GE(next["usage"]["input_tokens_details"]["cached_tokens"],
              get("/v1/states/" + response["state"].get<std::string>())["tokens"]);
  }
}

// Also where the model chose to call: with its thoughts, its blanks and what it said behind.
TEST_F(CallsTest, CallsOfTheModelsOwnAreShownInTheSameForm) {
  start();
  const ChatOrder chat = order_of_auto();
  const std::string prompt = model_->tokenizer().decode(chat.order.prompt);
  ASSERT_TRUE(prompt.ends_with("\n\nAssistant: <think"));
  const std::string before = prompt.substr(0, prompt.size() - std::string(" <think").size());
  const auto shown = [&](const std::string& text, StopReason reason) {
    const auto order = chat.as_shown(text, reason);
    return order ? model_->tokenizer().decode(order->prompt) : "as it is";
  };
  const std::string call = ">\nhm</think>\n```json\n{ \"name\": \"time\" }";
  for (const char* rest : {"\n```", "", "\n``", "\n```\nSo."}) {
    EXPECT_EQ(shown(call + rest, StopReason::length),
              before + " ```json\n{\"name\":\"time\",\"arguments\":{}}\n```");
  }
  EXPECT_EQ(shown(">\nhm</think>\nNoon. ", StopReason::stop_token), before + " Noon.");
  EXPECT_EQ(shown(">\nhm", StopReason::length), "as it is");
}

// A text needs the names alone; schemas in memory take many times their bytes, for each of n texts.
TEST_F(CallsTest, ATextKeepsNoSchemas) {
  start();
  openai::ChatRequest request;
  const ChatOrder chat = order_of_auto(&request);
  ASSERT_EQ(chat.tools.size(), request.tools.size());
  size_t names = 0;
  for (size_t i = 0; i < chat.tools.size(); ++i) {
    EXPECT_EQ(chat.tools[i].name, request.tools[i].name);
    EXPECT_TRUE(chat.tools[i].parameters.is_null());
    names += chat.tools[i].name.size();
  }
  EXPECT_EQ(chat.order.kept_bytes, names);
}

}  // namespace
}  // namespace anser
