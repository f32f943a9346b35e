// What clients are told when a store fails, or others are faster: whose fault it is, and no place.
#include <functional>

#include "server/states_fixture.h"
#include "store/sample_states.h"
#include "support/full_disk.h"

namespace anser {
namespace {

// A store before whose changes something happens.
class Disturbed : public States {
 public:
  explicit Disturbed(States& states) : states_(states) {}

  std::function<void(const StateLabels& labels)> before_change = [](const StateLabels&) {};
  std::function<void()> before_read = [] {};

  std::string put(const State& state, const std::string& model, const std::string& parent,
                  const StateLabels& labels, const std::string& id) override {
    before_change(labels);
    return states_.put(state, model, parent, labels, id);
  }
  std::string fork(const std::string& id, const StateLabels& labels) override {
    before_change(labels);
    return states_.fork(id, labels);
  }
  State get(const std::string& id, const Model& model) override {
    before_read();
    return states_.get(id, model);
  }
  State get(const std::string& id) override {
    before_read();
    return states_.get(id);
  }
  std::optional<StateInfo> find(const std::string& id_or_name) override {
    return states_.find(id_or_name);
  }
  std::unique_ptr<ContentReader> content(const StateInfo& info) override {
    before_read();
    return states_.content(info);
  }
  std::vector<StateInfo> list(const StateFilter& filter) override { return states_.list(filter); }
  StatePage page(const StateFilter& filter, const PageOptions& options) override {
    return states_.page(filter, options);
  }
  uint64_t ram_bytes() override { return states_.ram_bytes(); }
  void relabel(const std::string& id, StateLabels labels) override {
    before_change(labels);
    states_.relabel(id, labels);
  }
  void remove(const std::string& id) override { states_.remove(id); }

 private:
  States& states_;
};

class StoreFailures : public StatesTest {
 protected:
  void SetUp() override {
    start_with_states();
    id_ = post("/v1/states", R"({"prompt": "abc"})")["id"];
  }
  // Puts a store in front of the other that does something before it does what it is asked.
  void disturb() {
    disturbed_ = std::make_unique<Disturbed>(*store_);
    states_ = disturbed_.get();
    server_.reset();
    service_.reset();
    scheduler_.reset();
    desk_.reset();
    ServiceOptions options;
    options.limits.sampling.temperature = 0;
    start(options);
  }
  void expect_told(const Json& answer, const std::string& code) {
    EXPECT_EQ(answer["error"]["code"], code) << answer.dump();
    EXPECT_EQ(answer.dump().find(dir_.path()), std::string::npos) << answer.dump();
  }

  std::string id_;
  std::unique_ptr<Disturbed> disturbed_;
};

// Whoever is slower gets a 409, wherever the name was free when it was looked at.
TEST_F(StoreFailures, ALostRaceForANameIs409) {
  disturb();
  disturbed_->before_change = [&](const StateLabels& labels) {
    if (!labels.name.empty()) store_->fork(id_, {labels.name, {}, ""});
  };
  expect_told(post("/v1/states", R"({"prompt": "ab", "name": "a"})", 409), "name_taken");
  expect_told(upload(file_of(store_->get(id_)), "?name=b", 409), "name_taken");
  expect_told(post("/v1/states/" + id_ + "/fork", R"({"name": "c"})", 409), "name_taken");
  expect_told(post("/v1/states/" + id_, R"({"name": "d"})", 409), "name_taken");
  expect_told(send("PATCH", "/v1/states/" + id_, R"({"name": "e"})", 409), "name_taken");
  // The text is there by then, and is not lost with its state.
  const Json answer =
      post("/v1/completions", R"({"prompt": "ab", "max_tokens": 3, "save_state": {"name": "f"}})");
  EXPECT_TRUE(answer["choices"][0]["state"].is_null());
  EXPECT_EQ(answer["choices"][0]["state_error_code"], "name_taken");
  const Json response = post(
      "/v1/responses", R"({"input": "ab", "max_output_tokens": 3, "save_state": {"name": "g"}})");
  EXPECT_EQ(response["store"], false);
  EXPECT_EQ(response["state_error_code"], "name_taken");
}

// Redis is there when a state is looked for, and gone when it is fetched.
TEST_F(StoreFailures, AStoreThatGoesBetweenTwoCallsIs503) {
  disturb();
  disturbed_->before_read = [] { throw StatesUnavailable("redis://host: gone", "gone"); };
  expect_told(post("/v1/completions", R"({"prompt": "a", "state": ")" + id_ + "\"}", 503),
              "states_unavailable");
  expect_told(get("/v1/states/" + id_ + "/content", 503), "states_unavailable");
  disturbed_->before_change = [](const StateLabels&) {
    throw StatesUnavailable("redis://host: gone", "gone");
  };
  expect_told(post("/v1/states", R"({"prompt": "ab"})", 503), "states_unavailable");
  expect_told(post("/v1/states/" + id_ + "/fork", "{}", 503), "states_unavailable");
}

TEST_F(StoreFailures, AFullDiskIs507AndStatesCanBeRemoved) {
  const Json more = post("/v1/states", R"({"prompt": "abcd"})");
  {
    const support::FullDisk disk(100);
    expect_told(post("/v1/states", R"({"prompt": "ab"})", 507), "store_full");
    expect_told(post("/v1/states/" + id_ + "/fork", "{}", 507), "store_full");
    expect_told(post("/v1/states/" + id_, R"({"name": "d"})", 507), "store_full");
    send("DELETE", "/v1/states/" + id_);
    get("/v1/states/" + id_, 404);
    EXPECT_EQ(stored(), 1u);
  }
  EXPECT_EQ(stored(), 1u);
  const std::lock_guard guard(notices_mutex_);
  ASSERT_FALSE(notices_.empty());
  // The log says where.
  EXPECT_NE(notices_[0].find(dir_.path()), std::string::npos) << notices_[0];
}

TEST_F(StoreFailures, AFolderThatIsRemovedIsTheServersFault) {
  std::filesystem::remove_all(dir_ / "states");
  expect_told(get("/v1/states/" + id_, 500), "store_failed");
  expect_told(get("/v1/states", 500), "store_failed");
  expect_told(post("/v1/states", R"({"prompt": "ab"})", 500), "store_failed");
  expect_told(post("/v1/states/" + id_ + "/fork", "{}", 500), "store_failed");
  expect_told(post("/v1/completions", R"({"prompt": "a", "state": ")" + id_ + "\"}", 500),
              "store_failed");
  // Back, and empty: the server goes on without being started again.
  std::filesystem::create_directory(dir_ / "states");
  get("/v1/states/" + id_, 404);
  post("/v1/states", R"({"prompt": "ab"})");
  EXPECT_EQ(stored(), 1u);
}

TEST_F(StoreFailures, ADamagedContentNamesNoPath) {
  support::write_file(dir_ / ("states/" + id_ + ".zst"), "garbage");
  expect_told(get("/v1/states/" + id_ + "/content", 500), "state_unreadable");
  std::filesystem::remove(dir_ / ("states/" + id_ + ".zst"));
  expect_told(get("/v1/states/" + id_ + "/content", 500), "state_unreadable");
}

// By a limit of its own, and everywhere that a state is kept: the status, or what stands beside an
// answer that is not lost with its state.
TEST_F(StoreFailures, AStoreThatHasReachedItsLimitNamesNoPath) {
  const uint64_t bytes = get("/v1/states/" + id_)["bytes"];
  post("/v1/states/" + id_, R"({"name": "kept"})");
  const std::string file = file_of(store_->get(id_));
  start_with_states({.max_disk_bytes = bytes + bytes / 2});
  expect_told(post("/v1/states", R"({"prompt": "ab", "name": "a"})", 507), "store_full");
  expect_told(upload(file, "?name=b", 507), "store_full");
  const auto expect_beside = [&](const Json& answer, const Json& holder) {
    EXPECT_EQ(holder["state_error_code"], "store_full") << answer.dump();
    EXPECT_EQ(answer.dump().find(dir_.path()), std::string::npos) << answer.dump();
  };
  const std::string more = R"("max_tokens": 2, "save_state": {"name": "c"}})";
  const Json text = post("/v1/completions", R"({"prompt": "ab", )" + more);
  expect_beside(text, text["choices"][0]);
  const Json chat =
      post("/v1/chat/completions", R"({"messages": [{"role": "user", "content": "a"}], )" + more);
  expect_beside(chat, chat["choices"][0]);
  const Json response = post(
      "/v1/responses", R"({"input": "a", "max_output_tokens": 2, "save_state": {"name": "d"}})");
  expect_beside(response, response);
  for (const Json& event :
       stream("/v1/completions", R"({"prompt": "ab", "stream": true, )" + more)) {
    EXPECT_EQ(event.dump().find(dir_.path()), std::string::npos) << event.dump();
  }
  EXPECT_EQ(stored(), 1u);
}

// What a step throws is told to whoever asked for the text.
TEST_F(StoreFailures, NumbersThatOverflowNameNoPath) {
  stop();
  support::RandomModel model =
      support::random_model({.vocab = 300, .width = 64, .layers = 2, .ffn = 64});
  for (double& x : model["head.weight"].values) x = 0x1p126;
  support::GgufOptions form;
  form.type = support::Ggml::f32;
  form.byte_vocabulary = true;
  support::write_gguf(dir_ / "overflow.gguf", model, form);
  engine_.reset();
  model_ = std::make_unique<Model>(Model::open(dir_ / "overflow.gguf"));
  start();
  int failed = 0;
  for (const char* prompt : {"a", "ab", "abc", "abcd", "b", "bc", "bcd", "c", "cd", "d"}) {
    const Answer answer = ask(http::post(
        "/v1/completions", std::string(R"({"max_tokens": 1, "prompt": ")") + prompt + "\"}"));
    EXPECT_EQ(answer.body.find(dir_.path()), std::string::npos) << answer.body;
    EXPECT_EQ(answer.body.find("overflow.gguf"), std::string::npos) << answer.body;
    failed += answer.status == 500;
  }
  EXPECT_GT(failed, 0);
}

// Of another model: its path is not theirs to know.
TEST_F(StoreFailures, ARefusedStateNamesNoPath) {
  std::string file = file_of(store_->get(id_));
  file[16] = char(file[16] ^ 1);  // the fingerprint
  const Json answer = upload(sealed(file), "", 400);
  EXPECT_EQ(answer.dump().find(dir_.path()), std::string::npos) << answer.dump();
}

// Sums of such numbers would be none.
TEST_F(StoreFailures, NoStateHasReadMoreTokensThanThereAre) {
  const std::string good = file_of(store_->get(id_));
  const auto with_tokens = [&](uint64_t tokens) {
    std::string file = good;
    return sealed(file.replace(24, 8, reinterpret_cast<const char*>(&tokens), 8));
  };
  for (const uint64_t tokens : {~uint64_t{0}, uint64_t{1} << 63, (uint64_t{1} << 53) + 1}) {
    const Json answer = upload(with_tokens(tokens), "", 400);
    const std::string message = answer["error"]["message"];
    EXPECT_NE(message.find("tokens"), std::string::npos) << message;
  }
  EXPECT_EQ(upload(with_tokens(uint64_t{1} << 53))["tokens"], uint64_t{1} << 53);
}

}  // namespace
}  // namespace anser
