// /v1/responses as clients see it, and its answer apart from the network.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "server/openai/response_answer.h"
#include "server/service_fixture.h"

namespace anser {
namespace {

using openai::Ending;
using openai::Json;
using openai::ResponseAnswer;
using openai::ResponseRequest;

class ResponsesTest : public ServiceTest {
 protected:
  static std::string text_of(const Json& response) {
    EXPECT_EQ(response["output"].size(), 1u);
    return response["output"][0]["content"][0]["text"];
  }
  // A store sorts the fields of notes.
  static nlohmann::json sorted(const Json& json) { return nlohmann::json::parse(json.dump()); }
  std::string checksum(const std::string& id) { return get("/v1/states/" + id)["checksum"]; }
};

TEST_F(ResponsesTest, AreKeptAndForgotten) {
  start_with_states();
  const Json made = post("/v1/responses", R"({"input": "hi", "max_output_tokens": 15,
                         "metadata": {"k": "v"}, "instructions": "Be brief."})");
  EXPECT_EQ(made["object"], "response");
  EXPECT_EQ(made["status"], "incomplete");
  EXPECT_EQ(made["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(made["usage"]["output_tokens"], 15);
  EXPECT_EQ(made["output"][0]["type"], "message");
  EXPECT_EQ(made["metadata"], Json({{"k", "v"}}));
  const std::string id = made["id"], state = made["state"];
  EXPECT_EQ(id, "resp_" + state);
  EXPECT_EQ(get("/v1/states?tag=response")["data"][0]["id"], state);
  start_with_states();  // another server
  EXPECT_EQ(sorted(get("/v1/responses/" + id)), sorted(made));
  EXPECT_EQ(send("DELETE", "/v1/responses/" + id)["deleted"], true);
  get("/v1/responses/" + id, 404);
  get("/v1/states/" + state, 404);
}

// The same as a chat with the whole conversation, but nothing of it is read twice.
TEST_F(ResponsesTest, GoOnFromTheOneBefore) {
  start_with_states();
  const std::string rest = R"("max_output_tokens": 12, "seed": 1)";
  const Json first =
      post("/v1/responses", R"({"input": "hi", "instructions": "Be brief.", )" + rest + "}");
  const std::string id = first["id"];
  start_with_states();
  const std::string more =
      fmt::format(R"({{"input": [{{"role": "user", "content": [{{"type": "input_text",
                      "text": "x"}}]}}], "previous_response_id": "{}", {}}})",
                  id, rest);
  const Json second = post("/v1/responses", more);
  EXPECT_EQ(second["previous_response_id"], id);
  const int before = first["usage"]["total_tokens"];
  EXPECT_EQ(second["usage"]["input_tokens"],
            before + std::string("\n\nUser: x\n\nAssistant:").size());
  EXPECT_EQ(second["usage"]["input_tokens_details"]["cached_tokens"], before);
  const std::string text = "System: Be brief.\n\nUser: hi\n\nAssistant:";
  EXPECT_EQ(first["usage"]["input_tokens"], text.size());
  // By hand, the state in between being the one that was kept.
  const Json by_hand =
      post("/v1/completions",
           fmt::format(R"({{"state": "{}", "prompt": "\n\nUser: x\n\nAssistant:", "max_tokens": 12,
                           "stop": ["\n\nUser:", "\nUser:", "\n\nSystem:"], "save_state": true}})",
                       first["state"].get<std::string>()));
  EXPECT_EQ(checksum(by_hand["choices"][0]["state"]), checksum(second["state"]));
  EXPECT_EQ(get("/v1/states/" + second["state"].get<std::string>())["parent"], first["state"]);
  // A state can be made of a response, to keep it under a name.
  const Json kept = post("/v1/states", fmt::format(R"({{"response": "{}", "name": "k"}})", id));
  EXPECT_EQ(kept["checksum"], checksum(first["state"]));
  EXPECT_EQ(kept["parent"], first["state"]);
}

TEST_F(ResponsesTest, AStreamTellsHowItComesToBe) {
  start_with_states();
  const std::string wanted = R"("input": "hi", "max_output_tokens": 15)";
  const Json whole = post("/v1/responses", "{" + wanted + "}");
  std::string deltas;
  std::vector<std::string> types;
  Json last;
  for (const std::string& data :
       event_data("/v1/responses", "{" + wanted + R"(, "stream": true})")) {
    last = Json::parse(data);
    EXPECT_EQ(last["sequence_number"], types.size());
    types.push_back(last["type"]);
    if (types.back() == "response.output_text.delta") deltas += last["delta"];
  }
  std::erase(types, "response.output_text.delta");
  EXPECT_EQ(types,
            (std::vector<std::string>{"response.created", "response.in_progress",
                                      "response.output_item.added", "response.content_part.added",
                                      "response.output_text.done", "response.content_part.done",
                                      "response.output_item.done", "response.incomplete"}));
  EXPECT_EQ(deltas, text_of(whole));
  EXPECT_EQ(text_of(last["response"]), text_of(whole));
  EXPECT_EQ(last["response"]["usage"]["output_tokens"], whole["usage"]["output_tokens"]);
  const Json kept = get("/v1/responses/" + last["response"]["id"].get<std::string>());
  EXPECT_EQ(sorted(kept), sorted(last["response"]));
}

TEST_F(ResponsesTest, TheirStatesCanHaveANameFromTheBeginning) {
  start_with_states();
  const std::string wanted = R"({"input": "hi", "max_output_tokens": 3, "save_state": )";
  const Json made = post("/v1/responses", wanted + R"({"name": "n", "tags": ["t"]}})");
  const Json state = get("/v1/states/n");
  EXPECT_EQ(state["id"], made["state"]);
  EXPECT_EQ(state["tags"], Json({"response", "t"}));
  EXPECT_EQ(sorted(get("/v1/responses/" + made["id"].get<std::string>())), sorted(made));
  post("/v1/responses", wanted + R"({"name": "n"}})", 409);
  post("/v1/responses", wanted + R"(true})");
  const Json note = post("/v1/responses", wanted + R"({"note": 1}})", 400);
  EXPECT_EQ(note["error"]["param"], "save_state.note");
  const Json both = post("/v1/responses", wanted + R"(true, "store": false})", 400);
  EXPECT_EQ(both["error"]["param"], "save_state");
}

TEST_F(ResponsesTest, AreNotKeptUnlessWanted) {
  start_with_states();
  const Json made =
      post("/v1/responses", R"({"input": "hi", "max_output_tokens": 5, "store": false})");
  EXPECT_EQ(made["store"], false);
  get("/v1/responses/" + made["id"].get<std::string>(), 404);
  EXPECT_EQ(get("/v1/states")["data"], Json::array());
  stop();
  start();  // without states
  EXPECT_EQ(post("/v1/responses", R"({"input": "hi", "max_output_tokens": 5})")["store"], false);
}

TEST_F(ResponsesTest, MistakesNameTheirField) {
  start_with_states();
  const auto expect_param = [&](const std::string& body, const std::string& param,
                                int status = 400) {
    EXPECT_EQ(post("/v1/responses", "{" + body + "}", status)["error"]["param"], param) << body;
  };
  expect_param("", "input");
  expect_param(R"("input": [])", "input");
  expect_param(R"("input": [{"role": "x", "content": "y"}])", "input[0].role");
  expect_param(R"("input": [{"role": "user", "content": [{"type": "input_image"}]}])",
               "input[0].content[0].type");
  expect_param(R"("input": [{"type": "item_reference"}])", "input[0].id");
  expect_param(R"("input": "a", "max_output_tokens": 0)", "max_output_tokens");
  expect_param(R"("input": "a", "reasoning": {"effort": "much"})", "reasoning.effort");
  expect_param(R"("input": "a", "metadata": {"k": 1})", "metadata.k");
  expect_param(R"("input": "a", "tools": [{"name": "f"}])", "tools[0].type");
  expect_param(R"("input": "a", "text": {"format": {"type": "json_schema"}})",
               "text.format.schema");
  expect_param(
      R"("input": "a", "text": {"format": {"type": "json_schema", "schema": {"not": {}}}})",
      "text.format.schema");
  expect_param(R"("input": "a", "conversation": "c")", "conversation");
  expect_param(R"("input": "a", "previous_response_id": "r", "state": "s")", "state");
  expect_param(R"("input": "a", "previous_response_id": "resp_x")", "previous_response_id", 404);
  expect_param(R"("input": "a", "previous_response_id": "resp_../../x")", "previous_response_id",
               404);
  get("/v1/responses/nobody", 404);
  get("/v1/responses/..%2fx", 400);
}

TEST_F(ResponsesTest, KeepTheirSchema) {
  start_with_states();
  const Json made = post("/v1/responses", R"({"input": "hi", "text": {"format": {
      "type": "json_schema", "name": "x", "schema": {"type": "object", "properties":
      {"sure": {"type": "boolean"}}, "required": ["sure"], "additionalProperties": false}}}})");
  EXPECT_EQ(made["status"], "completed");
  EXPECT_TRUE(Json::parse(text_of(made), nullptr, false)["sure"].is_boolean()) << made;
}

// ---- the answer alone ----

ResponseAnswer answer_of(const std::string& opening, std::vector<openai::Tool> tools = {}) {
  ResponseRequest request;
  request.instructions = std::string(1000, 'i');
  return ResponseAnswer({"resp_1", "goose", 7, true}, request, builtin_template("chat"), opening,
                        std::move(tools), Tokenizer::bytes());
}

std::vector<std::string> types_in(const std::string& events) {
  std::vector<std::string> types;
  for (size_t at = events.find("event: "); at != std::string::npos;
       at = events.find("event: ", at + 1)) {
    types.push_back(events.substr(at + 7, events.find('\n', at) - at - 7));
  }
  return types;
}

TEST(ResponseAnswer, ThoughtsAreAnItemOfTheirOwn) {
  ResponseAnswer answer = answer_of(" <think");
  std::string events = answer.piece(0, ">\nWell", {});
  for (const char* piece : {", well.", "\n</th", "ink>\n\nYe", "s."}) {
    events += answer.piece(0, piece, {});
  }
  events += answer.ending(0, {.reason = StopReason::stop_token});
  const Json whole = Json::parse(answer.whole({10, 0, 20}).rest());
  ASSERT_EQ(whole["output"].size(), 2u);
  EXPECT_EQ(whole["output"][0]["type"], "reasoning");
  EXPECT_EQ(whole["output"][0]["content"][0]["text"], "Well, well.");
  EXPECT_EQ(whole["output"][1]["content"][0]["text"], "Yes.");
  EXPECT_EQ(whole["status"], "completed");
  EXPECT_EQ(whole["usage"]["output_tokens_details"]["reasoning_tokens"],
            std::string("Well, well.").size());
  EXPECT_EQ(types_in(events), (std::vector<std::string>{
                                  "response.output_item.added", "response.content_part.added",
                                  "response.reasoning_text.delta", "response.reasoning_text.delta",
                                  "response.reasoning_text.done", "response.content_part.done",
                                  "response.output_item.done", "response.output_item.added",
                                  "response.content_part.added", "response.output_text.delta",
                                  "response.output_text.delta", "response.output_text.done",
                                  "response.content_part.done", "response.output_item.done"}));
}

TEST(ResponseAnswer, ACallIsAnItem) {
  ResponseAnswer answer = answer_of(" ```json", {{"add", "", {}}});
  std::string events = answer.piece(0, "\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n```", {});
  EXPECT_EQ(events, "");
  events = answer.ending(0, {.reason = StopReason::stop_token});
  const Json whole = Json::parse(answer.whole({}).rest());
  ASSERT_EQ(whole["output"].size(), 1u);
  EXPECT_EQ(whole["output"][0]["type"], "function_call");
  EXPECT_EQ(whole["output"][0]["name"], "add");
  EXPECT_EQ(whole["output"][0]["arguments"], R"({"a":1})");
  EXPECT_EQ(types_in(events),
            (std::vector<std::string>{
                "response.output_item.added", "response.function_call_arguments.delta",
                "response.function_call_arguments.done", "response.output_item.done"}));
}

TEST(ResponseAnswer, WhatIsTooLongForANoteIsLeftOut) {
  const auto note_after = [](size_t bytes) {
    ResponseAnswer answer = answer_of("");
    answer.piece(0, std::string(bytes, 'x'), {});
    const std::string note = answer.labels(StopReason::stop_token, {}, {}).note;
    EXPECT_LE(note.size(), kMaxNote);
    return Json::parse(note);
  };
  EXPECT_FALSE(note_after(100)["instructions"].is_null());
  const Json some = note_after(kMaxNote - 1500);
  EXPECT_TRUE(some["instructions"].is_null());
  EXPECT_EQ(some["output"][0]["content"][0]["text"].get<std::string>().size(), kMaxNote - 1500);
  const Json none = note_after(kMaxNote);
  EXPECT_EQ(none["output"], Json::array());
  EXPECT_EQ(none["output_not_kept"], true);
}

// Events of a stream repeat it three times, and each text that waits keeps it.
TEST(ResponseAnswer, RepeatsWhatWasSaidUpToALimit) {
  const auto answered = [](size_t bytes, size_t numbers) {
    ResponseRequest request;
    request.instructions = std::string(bytes, 'i');
    request.tools_said = Json::array({{{"name", "f"}, {"junk", Json(std::vector<int>(numbers))}}});
    request.format = {{"type", "text"}, {"more", "m"}};
    ResponseAnswer answer({"resp_1", "goose", 7, false}, request, builtin_template("chat"), "", {},
                          Tokenizer::bytes());
    EXPECT_LE(answer.kept_bytes(), ResponseAnswer::kMostRepeated + 2000);
    const std::string opening = answer.opening();
    EXPECT_LE(opening.size(), 2 * ResponseAnswer::kMostRepeated + 4000);
    EXPECT_EQ(types_in(opening),
              (std::vector<std::string>{"response.created", "response.in_progress"}));
    answer.ending(0, {.reason = StopReason::stop_token});
    const std::string event = answer.closing({});
    const Json closing = Json::parse(event.substr(event.find("data: ") + 6));
    EXPECT_EQ(closing["type"], "response.completed");
    EXPECT_EQ(closing["sequence_number"], 7);  // five of the empty message's before
    Json whole = Json::parse(answer.whole({}).rest());
    EXPECT_EQ(closing["response"], whole);
    EXPECT_EQ(whole["text"]["format"]["more"], "m");
    return whole;
  };
  const Json all = answered(100'000, 1000);
  EXPECT_EQ(all["instructions"].get<std::string>().size(), 100'000u);
  EXPECT_EQ(all["tools"][0]["junk"].size(), 1000u);
  EXPECT_EQ(answered(1000, 1'000'000)["tools"], Json::array());
  EXPECT_TRUE(answered(1'000'000, 1000)["instructions"].is_null());
}

TEST(ResponseAnswer, AnEmptyOneIsAMessage) {
  ResponseAnswer answer = answer_of("");
  answer.ending(0, {.reason = StopReason::stop_token});
  EXPECT_EQ(Json::parse(answer.whole({}).rest())["output"][0]["content"][0]["text"], "");
}

}  // namespace
}  // namespace anser
