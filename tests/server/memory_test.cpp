// What requests to the API hold in memory, and what is refused for want of it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <regex>

#include "server/states_fixture.h"

namespace anser {
namespace {

class MemoryTest : public StatesTest {
 protected:
  void start_with_logprobs(uint64_t bytes) {
    ServiceOptions options;
    options.budgets = std::make_shared<MemoryBudgets>(bytes);
    budgets_ = options.budgets;
    start(std::move(options));
  }
  double metric(const std::string& name) {
    const std::string text = ask(http::get("/metrics")).body;
    std::smatch found;
    if (std::regex_search(text, found, std::regex("\nanser_" + name + " ([0-9.e+]+)\n"))) {
      return std::stod(found[1]);
    }
    ADD_FAILURE() << "there is no metric " << name;
    return -1;
  }

  // What an answer held may be given back a little later than its client has it.
  bool becomes(const std::string& name, double value) {
    return http::soon([&] { return metric(name) == value; });
  }

  std::shared_ptr<MemoryBudgets> budgets_;
};

// However long it is and however it is sent, an answer says the same.
TEST_F(MemoryTest, LogprobsOfALongEchoAreTheSameWholeAndStreamed) {
  start();
  const std::string prompt(4000, 'q');
  const std::string wanted = fmt::format(
      R"({{"prompt": "{}", "echo": true, "logprobs": 5, "n": 3, "max_tokens": 4, "seed": 1,
           "logit_bias": {{"0": -100}})",
      prompt);
  const Answer answer = ask(http::post("/v1/completions", wanted + "}"));
  EXPECT_EQ(answer.headers["Transfer-Encoding"], "chunked") << "it is no less than a megabyte";
  const Json whole = json(answer, 200);
  std::vector<Json> streamed(3, {{"text", ""}});
  for (const Json& event : stream("/v1/completions", wanted + R"(, "stream": true})")) {
    const Json& choice = event["choices"][0];
    Json& to = streamed[choice["index"].get<size_t>()];
    to["text"] = to["text"].get<std::string>() + choice["text"].get<std::string>();
    for (const auto& [name, list] : choice["logprobs"].items()) {
      if (!to.contains(name)) to[name] = Json::array();
      to[name].insert(to[name].end(), list.begin(), list.end());
    }
  }
  ASSERT_EQ(whole["choices"].size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const Json& choice = whole["choices"][i];
    EXPECT_EQ(choice["index"], i);
    EXPECT_EQ(choice["finish_reason"], "length");
    EXPECT_EQ(choice["text"], streamed[i]["text"]);
    for (const auto& [name, list] : choice["logprobs"].items()) {
      EXPECT_EQ(list.size(), 4004u) << name;
      EXPECT_TRUE(list == streamed[i][name]) << name << " of " << i;
    }
  }
  EXPECT_EQ(whole["usage"]["prompt_tokens"], 4001);
  EXPECT_EQ(whole["usage"]["completion_tokens"], 12);
}

TEST_F(MemoryTest, SeveralPromptsHaveTheirOwnEchoes) {
  start();
  const Json choices =
      post("/v1/completions", R"({"prompt": ["ab", "c"], "echo": true, "logprobs": 1, "n": 2,
                                  "max_tokens": 0})")["choices"];
  ASSERT_EQ(choices.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(choices[i]["text"], i < 2 ? "ab" : "c");
    EXPECT_EQ(choices[i]["logprobs"]["tokens"], i < 2 ? Json({"a", "b"}) : Json({"c"}));
    EXPECT_EQ(choices[i]["logprobs"], choices[i / 2 * 2]["logprobs"]);
  }
}

TEST_F(MemoryTest, LogprobsThatCannotFitAreRefusedBeforeAnythingIsRead) {
  start_with_logprobs(100'000);
  const std::string prompt(2000, 'q');
  const auto body = [&](const char* more) {
    return fmt::format(R"({{"prompt": "{}", "logprobs": 5, "max_tokens": 1, {}}})", prompt, more);
  };
  const Json error = post("/v1/completions", body(R"("echo": true)"), 400)["error"];
  EXPECT_EQ(error["param"], "logprobs");
  const std::string message = error["message"];
  EXPECT_NE(message.find("2002 tokens"), std::string::npos) << message;
  EXPECT_NE(message.find("--logprobs-mb"), std::string::npos) << message;
  EXPECT_EQ(scheduler_->stats().prompt_tokens, 0u);
  EXPECT_EQ(metric("logprobs_refused_total"), 1);
  // It is what is kept that counts: not a stream, not what is not echoed.
  stream("/v1/completions", body(R"("echo": true, "stream": true)"));
  post("/v1/completions", body(R"("echo": false)"));
  const Json chat = post("/v1/chat/completions",
                         R"({"messages": [{"role": "user", "content": "a"}], "logprobs": true,
                             "top_logprobs": 20, "max_tokens": 700})",
                         400)["error"];
  EXPECT_EQ(chat["param"], "logprobs");
  EXPECT_TRUE(becomes("logprobs_bytes", 0)) << "all is given back";

  // What would fit alone may come again.
  const MemoryBudget::Share others = budgets_->logprobs.take(99'990);
  const Answer later = ask(http::post("/v1/completions", body(R"("echo": false)")));
  EXPECT_EQ(later.status, 503);
  EXPECT_EQ(later.headers["Retry-After"], "1");
  EXPECT_EQ(metric("logprobs_bytes"), 99'990);
}

TEST_F(MemoryTest, AnAnswerGivesItsRoomBackWhenItsClientGoes) {
  start_with_logprobs(1'000'000);
  const std::string body = R"({"prompt": "a", "logprobs": 5, "max_tokens": 8000,
                               "logit_bias": {"0": -100}})";
  Client client(server_->port());
  client.send(http::post("/v1/completions", body));
  EXPECT_TRUE(http::soon([&] { return budgets_->logprobs.taken() > 0; }));
  client.close();
  EXPECT_TRUE(http::soon([&] { return budgets_->logprobs.taken() == 0; }));
}

// States of two and a half megabytes.
TEST_F(MemoryTest, LargeStatesAreDownloadedInPieces) {
  support::GgufOptions form;
  form.byte_vocabulary = true;
  const support::Shape shape = {.vocab = 300, .width = 64, .layers = 150, .ffn = 64};
  support::write_gguf(dir_ / "deep.gguf", support::random_model(shape), form);
  model_ = std::make_unique<Model>(Model::open(dir_ / "deep.gguf"));
  start_with_states();
  const std::string id = post("/v1/states", R"({"prompt": "abc"})")["id"];
  const std::string path = "/v1/states/" + id + "/content";
  const std::string file = file_of(store_->get(id));
  ASSERT_GT(file.size(), size_t(2) << 20);
  const Answer whole = ask(http::get(path));
  EXPECT_TRUE(whole.body == file);
  EXPECT_EQ(whole.headers["Content-Length"], fmt::format("{}", file.size()));
  const Answer head = ask("HEAD" + http::get(path).substr(3));
  EXPECT_EQ(head.headers["Content-Length"], whole.headers["Content-Length"]);

  // Who does not read holds a decoder and what the system has not taken, not the file.
  std::vector<Client> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back(server_->port(), 64 << 10);
    clients.back().send(http::get(path));
  }
  for (Client& client : clients) EXPECT_EQ(client.read_until("\r\n\r\n").substr(9, 3), "200");
  EXPECT_TRUE(becomes("unsent_bytes", 8 * 1.5 * (1 << 20)));

  // One that is removed can still be read to its end.
  send("DELETE", "/v1/states/" + id);
  std::string rest;
  for (std::string some = "x"; rest.size() < file.size() && !some.empty();) {
    rest += some = clients[3].read_some();
  }
  EXPECT_TRUE(rest == file);
  for (Client& client : clients) client.close();
  EXPECT_TRUE(becomes("unsent_bytes", 0));
}

TEST_F(MemoryTest, ASmallStateIsSentWhole) {
  start_with_states();
  post("/v1/states", R"({"prompt": "abc", "name": "s"})");
  EXPECT_EQ(download("s").size(), get("/v1/states/s")["raw_bytes"]);
}

TEST_F(MemoryTest, ADamagedStateIsFoundBeforeTheFirstByteIsSent) {
  start_with_states();
  const std::string id = post("/v1/states", R"({"prompt": "abc"})")["id"];
  const std::string path = dir_ / ("states/" + id + ".zst");
  std::string bytes;
  {
    std::ifstream file(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
  }
  for (const size_t at : {size_t(0), bytes.size() / 2, bytes.size() - 9, bytes.size() - 1}) {
    std::string damaged = bytes;
    damaged[at] = char(damaged[at] ^ 0x10);
    std::ofstream(path, std::ios::binary) << damaged;
    const Json error = get("/v1/states/" + id + "/content", 500)["error"];
    EXPECT_EQ(error["code"], "state_unreadable") << at;
  }
  for (const size_t size : {size_t(0), size_t(10), bytes.size() - 1}) {
    std::ofstream(path, std::ios::binary) << bytes.substr(0, size);
    get("/v1/states/" + id + "/content", 500);
  }
  std::ofstream(path, std::ios::binary) << bytes + "x";
  get("/v1/states/" + id + "/content", 500);
  std::ofstream(path, std::ios::binary) << bytes;
  EXPECT_FALSE(download(id).empty());
}

// As OpenAI's lists are.
TEST_F(MemoryTest, ListsOfStatesComeInPages) {
  start_with_states();
  std::vector<std::string> ids;
  for (int i = 0; i < 7; ++i) {
    const char* tag = i % 2 == 0 ? "even" : "odd";
    const Json body = {{"prompt", "abc"}, {"tags", {tag}}};
    ids.push_back(post("/v1/states", body.dump())["id"]);
  }
  const auto pages = [&](const std::string& query) {
    std::vector<std::vector<std::string>> all;
    for (std::string after; all.size() < 10;) {
      const Json page = get("/v1/states?" + query + after);
      EXPECT_EQ(page["object"], "list");
      all.emplace_back();
      for (const Json& state : page["data"]) all.back().push_back(state["id"]);
      EXPECT_EQ(page["first_id"], all.back().front());
      EXPECT_EQ(page["last_id"], all.back().back());
      if (!page["has_more"]) break;
      after = "&after=" + all.back().back();
    }
    return all;
  };
  using Pages = std::vector<std::vector<std::string>>;
  EXPECT_EQ(pages("limit=3"),
            (Pages{{ids[0], ids[1], ids[2]}, {ids[3], ids[4], ids[5]}, {ids[6]}}));
  EXPECT_EQ(pages("limit=7"), Pages{ids});
  EXPECT_EQ(pages("limit=4&order=desc"),
            (Pages{{ids[6], ids[5], ids[4], ids[3]}, {ids[2], ids[1], ids[0]}}));
  EXPECT_EQ(pages("limit=2&tag=even"), (Pages{{ids[0], ids[2]}, {ids[4], ids[6]}}));
  EXPECT_EQ(pages("order=asc"), Pages{ids});

  const Json none = get("/v1/states?tag=nobody");
  EXPECT_EQ(none["data"], Json::array());
  EXPECT_TRUE(none["first_id"].is_null() && none["last_id"].is_null());
  EXPECT_EQ(none["has_more"], false);
  for (const char* limit : {"0", "1001", "x", "1x", "-1", "99999999999999999999"}) {
    EXPECT_EQ(get(fmt::format("/v1/states?limit={}", limit), 400)["error"]["param"], "limit");
  }
  EXPECT_EQ(get("/v1/states?order=new", 400)["error"]["param"], "order");
  EXPECT_EQ(get("/v1/states?after=nobody", 404)["error"]["param"], "after");
}

TEST_F(MemoryTest, EveryBudgetHasItsMetric) {
  start_with_states({.max_ram_bytes = 1 << 20});
  post("/v1/states", R"({"prompt": "abc"})");
  EXPECT_GT(metric("states_ram_bytes"), 0);
  for (const char* name :
       {"received_bytes", "unsent_bytes", "unsent_refused_total", "unsent_cut_total",
        "logprobs_bytes", "logprobs_refused_total", "queued_bytes", "states_waiting"}) {
    EXPECT_TRUE(becomes(name, 0)) << name;
  }
}

}  // namespace
}  // namespace anser
