// States as clients see them: kept, gone on from, labelled, moved.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <atomic>
#include <fstream>
#include <limits>
#include <set>
#include <span>

#include "server/service_fixture.h"
#include "store/old_record.h"
#include "store/state_id.h"

namespace anser {
namespace {

class StatesTest : public ServiceTest {
 protected:
  static std::string text_of(const Json& answer, size_t i = 0) {
    return answer["choices"][i]["text"];
  }
  // Of the state that a choice has kept: of all its numbers, bit for bit.
  std::string checksum(const Json& answer, size_t i = 0) {
    return get("/v1/states/" + answer["choices"][i]["state"].get<std::string>())["checksum"];
  }
  Json upload(const std::string& bytes, const std::string& query = "", int status = 200) {
    std::string request = http::post("/v1/states" + query, bytes);
    request.insert(request.find("\r\n") + 2, "Content-Type: application/octet-stream\r\n");
    return json(ask(request), status);
  }
  std::string download(const std::string& id) {
    const Answer answer = ask(http::get("/v1/states/" + id + "/content"));
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.headers["Content-Type"], "application/octet-stream");
    return answer.body;
  }
  static std::string file_of(const State& state) {
    const std::vector<std::byte> bytes = state.serialize();
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  static State state_of(const std::string& file) {
    return State::deserialize(std::as_bytes(std::span(file)), "a file");
  }
  // With the checksum that a state file of these numbers has.
  static std::string sealed(std::string file) {
    const uint64_t checksum = XXH3_64bits(file.data(), file.size() - 8);
    return file.replace(file.size() - 8, 8, reinterpret_cast<const char*>(&checksum), 8);
  }
  size_t stored() { return get("/v1/states")["data"].size(); }
};

TEST_F(StatesTest, WhereNoneAreKeptTheOptionIsNamed) {
  start();
  const auto expect_refusal = [](const Json& answer) {
    const std::string message = answer["error"]["message"];
    EXPECT_NE(message.find("--state-dir"), std::string::npos) << message;
  };
  expect_refusal(get("/v1/states", 400));
  expect_refusal(post("/v1/states", R"({"prompt": "a"})", 400));
  for (const char* path : {"/v1/states/a", "/v1/states/a/content", "/v1/responses/resp_a"}) {
    expect_refusal(get(path, 400));
  }
  expect_refusal(post("/v1/states/a/fork", "{}", 400));
  expect_refusal(send("DELETE", "/v1/states/a", "", 400));
  expect_refusal(post("/v1/completions", R"({"prompt": "a", "state": "b"})", 400));
  expect_refusal(post("/v1/completions", R"({"prompt": "a", "save_state": true})", 400));
  expect_refusal(post("/v1/responses", R"({"input": "a", "previous_response_id": "r"})", 400));
  expect_refusal(post("/v1/responses", R"({"input": "a", "store": true})", 400));
}

// With what was written remembered, and with nothing remembered.
TEST_F(StatesTest, GoingOnIsNeverHavingStopped) {
  for (const size_t cache_bytes : {size_t(64) << 20, size_t(0)}) {
    SchedulerOptions scheduling;
    scheduling.cache_bytes = cache_bytes;
    start_with_states({}, scheduling);
    const Json whole =
        post("/v1/completions", R"({"prompt": "ab", "max_tokens": 30, "save_state": true})");
    const Json begun =
        post("/v1/completions", R"({"prompt": "ab", "max_tokens": 11, "save_state": true})");
    const std::string state = begun["choices"][0]["state"];
    // Another server, which knows the folder only.
    start_with_states({}, scheduling);
    const Json rest =
        post("/v1/completions",
             fmt::format(R"({{"state": "{}", "max_tokens": 19, "save_state": true}})", state));
    EXPECT_EQ(text_of(begun) + text_of(rest), text_of(whole));
    EXPECT_EQ(checksum(rest), checksum(whole));
    EXPECT_EQ(rest["usage"]["prompt_tokens"], 3 + 11);
    EXPECT_EQ(rest["usage"]["prompt_tokens_details"]["cached_tokens"], 3 + 11);
  }
}

// Wherever it is cut, also within a character: of é, 你 and 😀 only bytes are allowed, a token each.
TEST_F(StatesTest, ACutWithinACharacterLosesNothing) {
  const std::string bytes = "\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80";
  Json bias = Json::object();
  for (int token = 0; token < 300; ++token) {
    if (token == 0 || bytes.find(char(token - 1)) == std::string::npos || token > 256) {
      bias[std::to_string(token)] = -100;
    }
  }
  const std::string only = R"("logit_bias": )" + bias.dump();
  start_with_states();
  const auto written = [&](const std::string& from, int tokens, bool streamed) {
    const std::string body =
        fmt::format(R"({{{}, "max_tokens": {}, "save_state": true, {}, "stream": {}}})", from,
                    tokens, only, streamed);
    if (!streamed) {
      const Json choice = post("/v1/completions", body)["choices"][0];
      return std::pair(choice["text"].get<std::string>(), choice["state"].get<std::string>());
    }
    std::string text, state;
    for (const Json& event : stream("/v1/completions", body)) {
      const Json& choice = event["choices"][0];
      text += choice["text"].get<std::string>();
      if (choice.contains("state")) state = choice["state"];
    }
    return std::pair(text, state);
  };
  constexpr int kAll = 16;
  const std::string whole = written(R"("prompt": "ab")", kAll, false).first;
  std::string whole_ones = whole;
  for (size_t at; (at = whole_ones.find("\ufffd")) != std::string::npos;) whole_ones.erase(at, 3);
  EXPECT_NE(whole_ones, "") << whole;
  for (int cut = 1; cut < kAll; ++cut) {
    for (const bool streamed : {false, true}) {
      const auto [first, state] = written(R"("prompt": "ab")", cut, streamed);
      const auto rest = written(fmt::format(R"("state": "{}")", state), kAll - cut, streamed);
      EXPECT_EQ(first + rest.first, whole) << cut;
    }
  }
}

// By its tokens a prompt can end within a character, which the text then begins with.
TEST_F(StatesTest, APromptMayEndWithinACharacter) {
  start_with_states();
  const auto with = [&](const std::string& from, const std::string& next) {
    Json bias = Json::object();
    for (int token = 0; token < 300; ++token) bias[std::to_string(token)] = -100;
    bias[next] = 0;
    return post("/v1/completions", fmt::format(R"({{{}, "max_tokens": 1, "logit_bias": {}}})", from,
                                               bias.dump()))["choices"][0]["text"];
  };
  EXPECT_EQ(with(R"("prompt": [0, 98, 229, 190])", "161"), "\u4f60");
  EXPECT_EQ(with(R"("prompt": [0, 98, 229, 190], "echo": true)", "161"), "a\u4f60");
  EXPECT_EQ(with(R"("prompt": [0, 98, 229, 190], "echo": true)", "98"), "a\ufffda");
  post("/v1/states", R"({"prompt": [0, 98, 229], "name": "begun"})");
  EXPECT_EQ(with(R"("state": "begun")", "98"), "\ufffda");
  EXPECT_EQ(with(R"("state": "begun", "prompt": [190, 161], "echo": true)", "98"), "\u4f60a");
  EXPECT_EQ(with(R"("state": "begun", "prompt": [190], "echo": true)", "161"), "\u4f60");
}

TEST_F(StatesTest, APromptsStateIsWhatTheEngineMakes) {
  start_with_states();
  const Json made = post("/v1/states", R"({"prompt": "abc", "name": "first", "tags": ["x", "y"],
                                           "note": {"k": [1, "ä"]}})");
  EXPECT_EQ(made["object"], "state");
  EXPECT_EQ(made["tokens"], 4);
  EXPECT_EQ(made["name"], "first");
  EXPECT_EQ(made["tags"], Json({"x", "y"}));
  EXPECT_EQ(made["note"], Json::parse(R"({"k": [1, "ä"]})"));
  EXPECT_EQ(made["parent"], Json());
  EXPECT_EQ(made["fingerprint"], fmt::format("{:016x}", model_->fingerprint()));
  const auto alone = Engine::create(*model_, {.device = Device::cpu, .threads = 1});
  State state = model_->initial_state();
  alone->forward(state, std::vector<Token>{0, 'a' + 1, 'b' + 1, 'c' + 1});
  EXPECT_EQ(download("first"), file_of(state));
  EXPECT_EQ(made["raw_bytes"], file_of(state).size());
  // As tokens, and in two pieces.
  const Json tokens = post("/v1/states", R"({"prompt": [0, 98, 99, 100]})");
  EXPECT_EQ(tokens["checksum"], made["checksum"]);
  const Json begun = post("/v1/states", R"({"prompt": "a"})");
  const Json rest = post("/v1/states", fmt::format(R"({{"prompt": "bc", "state": "{}"}})",
                                                   begun["id"].get<std::string>()));
  EXPECT_EQ(rest["checksum"], made["checksum"]);
  EXPECT_EQ(rest["parent"], begun["id"]);
}

TEST_F(StatesTest, AConversationGoesOnFromItsMessages) {
  start_with_states();
  post("/v1/states", R"({"name": "rules", "messages": [{"role": "system", "content": "Be brief."},
                                                       {"role": "user", "content": "Hi"}]})");
  const std::string rest = R"("max_tokens": 20, "save_state": true})";
  const Json from_state = post("/v1/chat/completions",
                               R"({"state": "rules", "messages": [{"role": "user", "content": "x"}],
                                   )" +
                                   rest);
  const Json whole = post("/v1/chat/completions",
                          R"({"messages": [{"role": "system", "content": "Be brief."},
                                           {"role": "user", "content": "Hi"},
                                           {"role": "user", "content": "x"}], )" +
                              rest);
  EXPECT_EQ(from_state["choices"][0]["message"], whole["choices"][0]["message"]);
  EXPECT_EQ(checksum(from_state), checksum(whole));
  EXPECT_EQ(from_state["usage"]["prompt_tokens"], whole["usage"]["prompt_tokens"]);
  // And behind the answer, whatever that was.
  const std::string state = from_state["choices"][0]["state"];
  const Json next =
      post("/v1/chat/completions", fmt::format(R"({{"state": "{}", "messages": [{{"role": "user",
                                         "content": "y"}}], {})",
                                               state, rest));
  const Json by_hand =
      post("/v1/completions", fmt::format(R"({{"state": "{}", "prompt": "\n\nUser: y\n\nAssistant:",
                      "stop": ["\n\nUser:", "\nUser:", "\n\nSystem:"], {})",
                                          state, rest));
  EXPECT_EQ(checksum(next), checksum(by_hand));
}

// Where the prompt has opened a thought, or the model has one: what is kept is what the messages
// would make, were they sent again.
TEST_F(StatesTest, ThoughtsAreNotRemembered) {
  start_with_states();
  const std::string hi = R"({"role": "user", "content": "hi"})";
  const Json answer = post("/v1/chat/completions",
                           R"({"messages": [)" + hi + R"(], "reasoning_effort": "none", "n": 2,
                               "max_tokens": 40, "temperature": 1, "seed": 3, "logit_bias":
                               {"0": -100, "63": 100}, "stop": ["zz"], "save_state": true})");
  for (size_t i = 0; i < 2; ++i) {
    const Json& message = answer["choices"][i]["message"];
    const Json whole = post("/v1/states", Json({{"messages", {Json::parse(hi), message}}}).dump());
    EXPECT_EQ(checksum(answer, i), whole["checksum"]) << message;
    EXPECT_FALSE(message.contains("reasoning_content"));
  }
  // A thought that was cut off may go on.
  const Json begun =
      post("/v1/chat/completions", R"({"messages": [)" + hi + R"(], "reasoning_effort": "medium",
                              "max_tokens": 7, "logit_bias": {"0": -100}, "save_state": true})");
  const int tokens = begun["usage"]["total_tokens"];
  EXPECT_EQ(get("/v1/states/" + begun["choices"][0]["state"].get<std::string>())["tokens"], tokens);
}

TEST_F(StatesTest, EveryChoiceKeepsItsOwn) {
  start_with_states();
  const std::string root = post("/v1/states", R"({"prompt": "ab"})")["id"];
  const std::string wanted = fmt::format(
      R"({{"state": "{}", "prompt": ["c", "d"], "n": 2, "max_tokens": 9, "temperature": 1, "seed": 4,
          "save_state": {{"tags": ["t"], "note": "n"}})",
      root);
  const Json whole = post("/v1/completions", wanted + "}");
  EXPECT_EQ(whole["usage"]["prompt_tokens"], 2 * (3 + 1));
  std::vector<std::string> texts(4), states(4);
  for (const Json& event : stream("/v1/completions", wanted + R"(, "stream": true})")) {
    const Json& choice = event["choices"][0];
    const size_t index = choice["index"];
    texts.at(index) += choice["text"];
    EXPECT_EQ(choice.contains("state"), !choice["finish_reason"].is_null());
    if (choice.contains("state")) states.at(index) = choice["state"];
  }
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(texts[i], text_of(whole, i));
    const Json state = get("/v1/states/" + states[i]);
    EXPECT_EQ(state["checksum"], checksum(whole, i)) << i;
    EXPECT_EQ(state["parent"], root);
    EXPECT_EQ(state["note"], "n");
  }
  EXPECT_EQ(get("/v1/states?tag=t")["data"].size(), 8u);
  EXPECT_EQ(get("/v1/states?parent=" + root)["data"].size(), 8u);
}

TEST_F(StatesTest, BeginningsBehindAStateAreRemembered) {
  start_with_states();
  post("/v1/states", R"({"prompt": "ab", "name": "s"})");
  const std::string fork = post("/v1/states/s/fork", "{}")["id"];
  const std::string wanted = R"("prompt": "cdefghijkl", "max_tokens": 5})";
  const Json first = post("/v1/completions", R"({"state": "s", )" + wanted);
  EXPECT_EQ(first["usage"]["prompt_tokens_details"]["cached_tokens"], 3);
  // The fork is the same state.
  for (const std::string& state : {std::string("s"), fork}) {
    const Json again = post("/v1/completions", R"({"state": ")" + state + R"(", )" + wanted);
    EXPECT_EQ(again["choices"], first["choices"]);
    EXPECT_EQ(again["usage"]["prompt_tokens_details"]["cached_tokens"], 3 + 10);
  }
}

TEST_F(StatesTest, LabelsChangeOneByOne) {
  start_with_states();
  const std::string id =
      post("/v1/states", R"({"prompt": "a", "name": "a:b c", "tags": "x"})")["id"];
  const Json noted = send("PATCH", "/v1/states/" + id, R"({"note": [1]})");
  EXPECT_EQ(noted["name"], "a:b c");
  EXPECT_EQ(noted["tags"], Json({"x"}));
  EXPECT_EQ(noted["note"], Json::parse("[1]"));
  EXPECT_EQ(post("/v1/states/" + id, R"({"name": "ä b", "tags": []})")["tags"], Json::array());
  EXPECT_EQ(get("/v1/states/%C3%A4%20b")["id"], id);
  EXPECT_EQ(send("PATCH", "/v1/states/" + id, R"({"name": null, "note": null})")["note"], Json());
  get("/v1/states/%C3%A4%20b", 404);
  send("PATCH", "/v1/states/" + id, R"({"name": 5})", 400);
  send("PATCH", "/v1/states/" + id, R"({"name": "a\nb"})", 400);
  send("PATCH", "/v1/states/" + id, R"({"name": ")" + new_state_id() + R"("})", 400);
  EXPECT_EQ(get("/v1/states/" + id)["name"], "");
}

// What is accepted as a name is a name in addresses, too.
TEST_F(StatesTest, NamesAreReachableOrRefused) {
  start_with_states();
  const std::string id = post("/v1/states", R"({"prompt": "a"})")["id"];
  for (const std::string name :
       {"a/b", "..", ".", "a\\\\b", "/", "a/../b", "\\t", "\\u0000", "\\u0085"}) {
    const std::string given = R"("name": ")" + name + "\"";
    send("PATCH", "/v1/states/" + id, "{" + given + "}", 400);
    post("/v1/states/" + id + "/fork", "{" + given + "}", 400);
    post("/v1/states", R"({"prompt": "a", )" + given + "}", 400);
    const std::string save = R"("save_state": {)" + given + "}}";
    post("/v1/completions", R"({"prompt": "a", )" + save, 400);
    post("/v1/chat/completions", R"({"messages": [{"role": "user", "content": "a"}], )" + save,
         400);
    post("/v1/responses", R"({"input": "a", )" + save, 400);
  }
  upload(download(id), "?name=a%2Fb", 400);
  upload(download(id), "?name=..", 400);
  upload(download(id), "?name=a&name=b", 400);
  upload(download(id), "?name=a%2", 400);
  EXPECT_EQ(stored(), 1u);
  for (const std::string name :
       {"...", ".a", "50%", "a%2Fb", "a+b", "a?b#c&d=e", " a ", "%2e%2e", "[a]", "-x", "content",
        "fork", "latest", "ä ✿", "~", "'\"", "resp_a", ";", "a:b@c"}) {
    send("PATCH", "/v1/states/" + id, Json({{"name", name}}).dump());
    std::string segment;
    for (const char c : name) segment += fmt::format("%{:02X}", uint8_t(c));
    EXPECT_EQ(get("/v1/states/" + segment)["id"], id) << name;
    EXPECT_EQ(get("/v1/states/" + segment)["name"], name);
    EXPECT_EQ(post("/v1/completions",
                   Json({{"state", name}, {"max_tokens", 1}}).dump())["usage"]["prompt_tokens"],
              2);
  }
}

// Stores of earlier versions have names with a slash.
TEST_F(StatesTest, OldNamesStayReachable) {
  start_with_states();
  const std::string id = post("/v1/states", R"({"prompt": "a", "name": "a:b"})")["id"];
  stop();
  support::rewrite_record(dir_ / ("states/" + id + ".json"), R"("a:b")", R"("a/b")");
  start_with_states();
  EXPECT_EQ(get("/v1/states/" + id)["name"], "a/b");
  EXPECT_EQ(
      post("/v1/completions", R"({"state": "a/b", "max_tokens": 1})")["usage"]["prompt_tokens"], 2);
  EXPECT_EQ(send("PATCH", "/v1/states/" + id, R"({"note": 7})")["name"], "a/b");
  send("PATCH", "/v1/states/" + id, R"({"name": "b/a"})", 400);
  EXPECT_EQ(send("PATCH", "/v1/states/" + id, R"({"name": "c"})")["name"], "c");
  EXPECT_EQ(get("/v1/states/c")["id"], id);
}

TEST_F(StatesTest, AParentIsFoundByItsName) {
  start_with_states();
  const std::string root = post("/v1/states", R"({"prompt": "a", "name": "root"})")["id"];
  const std::string child = post("/v1/states/root/fork", "{}")["id"];
  EXPECT_EQ(get("/v1/states?parent=root")["data"][0]["id"], child);
  get("/v1/states?tag=%4", 400);
  get("/v1/states?tag=a&tag=b", 400);
}

TEST_F(StatesTest, ANameIsForOneState) {
  start_with_states();
  post("/v1/states", R"({"prompt": "a", "name": "one"})");
  const std::string two = post("/v1/states", R"({"prompt": "b", "name": "two"})")["id"];
  EXPECT_EQ(post("/v1/states", R"({"prompt": "a", "name": "one"})", 409)["error"]["code"],
            "name_taken");
  post("/v1/states/two/fork", R"({"name": "one"})", 409);
  send("PATCH", "/v1/states/two", R"({"name": "one"})", 409);
  post("/v1/states/" + two, R"({"name": "two"})");  // its own
  post("/v1/completions", R"({"prompt": "a", "save_state": {"name": "one"}})", 409);
  upload(download("one"), "?name=one", 409);
  const Json many =
      post("/v1/completions", R"({"prompt": "a", "n": 2, "save_state": {"name": "three"}})", 400);
  EXPECT_EQ(many["error"]["param"], "save_state.name");
  EXPECT_EQ(stored(), 2u);
}

TEST_F(StatesTest, ForksAndChildrenOutliveTheirParent) {
  start_with_states();
  const Json root = post("/v1/states", R"({"prompt": "ab", "name": "root"})");
  const Json fork = post("/v1/states/root/fork", R"({"name": "side", "tags": ["f"]})");
  EXPECT_EQ(fork["parent"], root["id"]);
  EXPECT_EQ(fork["checksum"], root["checksum"]);
  const Json gone = send("DELETE", "/v1/states/root");
  EXPECT_EQ(gone, Json({{"id", root["id"]}, {"object", "state.deleted"}, {"deleted", true}}));
  send("DELETE", "/v1/states/root", "", 404);
  EXPECT_EQ(get("/v1/states/side"), fork);
  EXPECT_EQ(
      post("/v1/completions", R"({"state": "side", "max_tokens": 3})")["usage"]["prompt_tokens"],
      3);
}

TEST_F(StatesTest, AStateMovesToAnotherServerAndBack) {
  start_with_states();
  const Json made = post("/v1/states", R"({"prompt": "abc"})");
  const std::string id = made["id"], file = download(id);
  send("DELETE", "/v1/states/" + id);
  const Json back = upload(file, "?name=back&tag=p+q&tag=r&note=%7B%22k%22%3A1%7D&parent=" + id);
  EXPECT_EQ(back["checksum"], made["checksum"]);
  EXPECT_EQ(back["parent"], id);
  EXPECT_EQ(back["tags"], Json({"p q", "r"}));
  EXPECT_EQ(back["note"], Json({{"k", 1}}));
  EXPECT_EQ(upload(file, "?parent=back")["parent"], back["id"]);
  upload(file, "?parent=nobody", 404);
  upload(file, "?note=%7B", 400);
}

TEST_F(StatesTest, WhatIsNoStateOfThisModelIsNotTakenIn) {
  start_with_states();
  post("/v1/states", R"({"prompt": "abc", "name": "s"})");
  const std::string file = download("s");
  const auto expect_refused = [&](const std::string& bytes, const char* reason) {
    const std::string message = upload(bytes, "", 400)["error"]["message"];
    EXPECT_NE(message.find(reason), std::string::npos) << message;
  };
  for (size_t at : {size_t(70), file.size() / 2, file.size() - 1}) {
    std::string damaged = file;
    damaged[at] = char(damaged[at] ^ 4);
    expect_refused(damaged, "damaged");
  }
  expect_refused(file.substr(0, 40), "cut off");
  expect_refused(file.substr(0, file.size() - 8), "cut off");
  expect_refused("", "ANSERST");
  expect_refused("no state", "ANSERST");
  expect_refused(file_of(State({1, 32, 2, 16}, model_->fingerprint())), "another model");
  expect_refused(file_of(State(model_->initial_state().shape(), 5)), "another model");
  std::string spoilt = file;
  const float infinity = std::numeric_limits<float>::infinity();
  spoilt.replace(72, 4, reinterpret_cast<const char*>(&infinity), 4);
  expect_refused(sealed(spoilt), "holds infinity in layer 0, att_shift");
  State logits = model_->initial_state();
  logits.logits().assign(17, 0.0f);
  expect_refused(file_of(logits), "17 logits");
  EXPECT_EQ(stored(), 1u);
}

// As other programs write them, uploaded as they are.
TEST_F(StatesTest, TunedInitialStatesAreTakenIn) {
  start_with_states();
  using support::Tensor;
  const auto tensors = [&](int heads) {
    std::vector<Tensor> list;
    for (int l = 0; l < 2; ++l) {
      Tensor tensor{fmt::format("blocks.{}.att.time_state", l), {heads, 64, 64}, {}};
      for (int i = 0; i < heads * 4096; ++i) tensor.values.push_back((i % 61 - 30 + l) * 0x1p-7);
      list.push_back(tensor);
    }
    return list;
  };
  const auto pth = dir_ / "t.pth", st = dir_ / "t.st", wide = dir_ / "wide.pth";
  support::write_pth_raw(pth, tensors(1), {.type = support::Float::f32});
  std::vector<Tensor> converted;
  for (const Tensor& tensor : tensors(1)) converted.push_back(support::transposed(tensor));
  support::write_safetensors_raw(st, converted, support::Float::f16);
  support::write_pth_raw(wide, tensors(2), {.type = support::Float::f32});

  const Json first = upload(support::read_file(pth), "?name=tuned");
  EXPECT_EQ(first["tokens"], 0);
  EXPECT_EQ(upload(support::read_file(st))["checksum"], first["checksum"]);
  const State state = state_of(download("tuned"));
  EXPECT_EQ(state.wkv(1)[1], -28 * 0x1p-7f);
  const auto text = [&](const std::string& from) {
    return text_of(post("/v1/completions",
                        R"({"prompt": "ab", "max_tokens": 20, "temperature": 0)" + from + "}"));
  };
  EXPECT_NE(text(R"(, "state": "tuned")"), text(""));
  const std::string message = upload(support::read_file(wide), "", 400)["error"]["message"];
  EXPECT_NE(message.find("expected shape [1, 64, 64], found [2, 64, 64]"), std::string::npos)
      << message;
  EXPECT_TRUE(notices().empty());
}

TEST_F(StatesTest, AStateOfVersion1IsGoneOnFromAndTheLogSaysSoOnce) {
  start_with_states();
  const Json made = post("/v1/states", R"({"prompt": "abc", "name": "new"})");
  // The same numbers as an older version wrote them: no groups, no end of the text.
  const std::string now = download("new");
  uint64_t groups;
  std::memcpy(&groups, now.data() + 56, sizeof(groups));
  std::string file = now.substr(0, 56) + now.substr(72, now.size() - 72 - 8 * groups);
  file[8] = 1;
  file = sealed(file);
  EXPECT_TRUE(notices().empty());
  upload(file, "?name=old");
  EXPECT_EQ(download("old"), file);
  const auto next = [&](const char* from) {
    return post("/v1/completions", fmt::format(R"({{"state": "{}", "prompt": "d", "max_tokens": 10,
                                                   "save_state": true}})",
                                               from));
  };
  EXPECT_EQ(checksum(next("old")), checksum(next("new")));
  ASSERT_EQ(notices().size(), 1u);
  EXPECT_NE(notices()[0].find("which fine-tune"), std::string::npos) << notices()[0];
}

TEST_F(StatesTest, TheStateOfAFineTuneIsRefused) {
  start_with_states();
  support::RandomModel tuned =
      support::random_model({.vocab = 300, .width = 64, .layers = 2, .ffn = 64});
  for (double& x : tuned["blocks.1.att.key.weight"].values) x = -x;
  support::write_safetensors(dir_ / "tuned", tuned);
  const Model other = Model::open(dir_ / "tuned");
  ASSERT_EQ(other.fingerprint(), model_->fingerprint());
  const auto expect_refused = [](const Json& answer) {
    const std::string message = answer["error"]["message"];
    EXPECT_NE(message.find("another fine-tune"), std::string::npos) << message;
  };
  expect_refused(upload(file_of(other.initial_state()), "", 400));
  const std::string id = store_->put(other.initial_state(), "tuned");
  const Json answer = post("/v1/completions", R"({"prompt": "a", "state": ")" + id + "\"}", 400);
  EXPECT_EQ(answer["error"]["param"], "state");
  expect_refused(answer);
  EXPECT_EQ(download(id).substr(0, 7), "ANSERST");
}

TEST_F(StatesTest, WhatIsNotThereIsNotFound) {
  start_with_states();
  const std::string unknown = new_state_id();
  for (const std::string& id : {unknown, std::string("nobody"), std::string("index.sqlite"),
                                std::string("%C3"), std::string(300, 'x')}) {
    EXPECT_EQ(get("/v1/states/" + id, 404)["error"]["code"], "state_not_found");
    get("/v1/states/" + id + "/content", 404);
  }
  for (const char* id : {"..", "%2e%2e", "..%2fx", "a%00b", "%2fetc%2fpasswd", "a%5cb"}) {
    get(std::string("/v1/states/") + id, 400);
    get(std::string("/v1/states/") + id + "/content", 400);
  }
  const Json answer = post("/v1/completions", R"({"prompt": "a", "state": "../x"})", 404);
  EXPECT_EQ(answer["error"]["param"], "state");
  post("/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}], "state": ")" + unknown + R"("})", 404);
  EXPECT_EQ(get("/v1/states?parent=../x")["data"], Json::array());
  post("/v1/states", R"({"name": "x"})", 400);
  post("/v1/states", R"({"prompt": ["a", "b"]})", 400);
  post("/v1/states", R"({"prompt": [300]})", 400);
  post("/v1/states", R"({"response": "resp_x"})", 404);
}

TEST_F(StatesTest, StatesOfOtherModelsAreListedAndRefused) {
  start_with_states();
  const std::string other = store_->put(State({1, 32, 2, 16}, 77), "another");
  EXPECT_EQ(get("/v1/states")["data"][0]["model"], "another");
  const Json refused =
      post("/v1/completions", R"({"prompt": "a", "state": ")" + other + "\"}", 400);
  EXPECT_EQ(refused["error"]["param"], "state");
  const std::string message = refused["error"]["message"];
  EXPECT_NE(message.find("000000000000004d"), std::string::npos) << message;
  EXPECT_EQ(download(other).substr(0, 7), "ANSERST");
}

TEST_F(StatesTest, ADamagedFileIsSaidToBe) {
  start_with_states();
  const std::string id = post("/v1/states", R"({"prompt": "abc"})")["id"];
  {
    std::fstream file(dir_ / ("states/" + id + ".zst"));
    file.seekp(200);
    file.write("damage", 6);
  }
  start_with_states();
  const Json answer = post("/v1/completions", R"({"prompt": "a", "state": ")" + id + "\"}", 500);
  EXPECT_EQ(answer["error"]["code"], "state_unreadable");
  get("/v1/states/" + id + "/content", 500);
  EXPECT_EQ(get("/v1/states/" + id)["tokens"], 4);
}

TEST_F(StatesTest, AnAnswerIsNotLostWithItsState) {
  StateStoreOptions tight;
  tight.max_disk_bytes = 1;
  start_with_states(tight);
  const Json answer =
      post("/v1/completions", R"({"prompt": "ab", "max_tokens": 5, "save_state": true})");
  EXPECT_EQ(answer["usage"]["completion_tokens"], 5);
  EXPECT_TRUE(answer["choices"][0]["state"].is_null());
  const std::string error = answer["choices"][0]["state_error"];
  EXPECT_NE(error.find("full"), std::string::npos) << error;
  const Json refused = post("/v1/states", R"({"prompt": "ab"})", 500);
  EXPECT_EQ(refused["error"]["code"], "state_not_kept");
  const Json response = post("/v1/responses", R"({"input": "ab", "max_output_tokens": 5})");
  EXPECT_EQ(response["store"], false);
  EXPECT_NE(response["state_error"].get<std::string>().find("full"), std::string::npos);
  EXPECT_EQ(stored(), 0u);
  const std::string metrics = ask(http::get("/metrics")).body;
  EXPECT_NE(metrics.find("\nanser_states_failed_total 3\n"), std::string::npos) << metrics;
}

// As when the server is ended and patience with it.
TEST_F(StatesTest, WhatIsBeingWrittenIsSavedAtTheEnd) {
  start_with_states();
  const std::string endless =
      R"("prompt": "ab", "max_tokens": 1000000000, "logit_bias": {"0": -100})";
  Client saving(server_->port()), other(server_->port()), streaming(server_->port());
  saving.send(http::post("/v1/completions", "{" + endless + R"(, "save_state": true})"));
  streaming.send(
      http::post("/v1/completions", "{" + endless + R"(, "save_state": true, "stream": true})"));
  other.send(http::post("/v1/completions", "{" + endless + "}"));
  ASSERT_TRUE(http::soon([&] {
    return scheduler_->stats().running == 3 && scheduler_->stats().generated_tokens > 30;
  }));
  scheduler_->conclude();
  EXPECT_EQ(other.read_answer().status, 503);
  const Json answer = json(saving.read_answer(), 200);
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
  EXPECT_NE(streaming.read_answer().body.find("\"state\":\""), std::string::npos);
  const int written = answer["usage"]["completion_tokens"];
  const std::string sum = checksum(answer);
  start_with_states();
  const Json again =
      post("/v1/completions",
           fmt::format(R"({{"prompt": "ab", "max_tokens": {}, "logit_bias": {{"0": -100}},
                      "save_state": true}})",
                       written));
  EXPECT_EQ(text_of(again), text_of(answer));
  EXPECT_EQ(checksum(again), sum);
  EXPECT_EQ(stored(), 3u);
}

TEST_F(StatesTest, WhoGoesAwayLeavesNothingBehind) {
  start_with_states();
  Client client(server_->port());
  client.send(http::post("/v1/completions", R"({"prompt": "a", "max_tokens": 1000000000,
                         "logit_bias": {"0": -100}, "save_state": true})"));
  ASSERT_TRUE(http::soon([&] { return scheduler_->stats().running == 1; }));
  client.reset();
  ASSERT_TRUE(http::soon([&] { return scheduler_->stats().running == 0; }));
  desk_->errands().wait();
  EXPECT_EQ(stored(), 0u);
}

TEST(Errands, AllAreRunBeforeTheEnd) {
  std::atomic<int> count{0};
  {
    Errands errands(3, 10);
    for (int i = 0; i < 100; ++i) {
      errands.add([&] {
        ++count;
        errands.add([&] { ++count; });
      });
    }
    errands.wait();
    EXPECT_EQ(count, 200);
    EXPECT_FALSE(errands.busy());
    for (int i = 0; i < 100; ++i) errands.add([&] { ++count; });
  }
  EXPECT_EQ(count, 300);
}

}  // namespace
}  // namespace anser
