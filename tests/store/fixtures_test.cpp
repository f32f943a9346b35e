// What earlier versions have written stays readable: tests/fixtures/README.md.
//
// With ANSER_MAKE_FIXTURES=FOLDER the same program writes a set of them there; else it reads all
// that are kept.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "anser/model.h"
#include "store/old_record.h"
#include "store/sample_states.h"
#include "store/state_store.h"
#include "support/errors.h"
#include "support/temp_dir.h"
#include "support/writers.h"

#ifdef ANSER_WITH_REDIS
#include "store/redis_client.h"
#include "store/redis_store.h"
#endif

namespace anser {
namespace {

using namespace support;
using Json = nlohmann::json;
namespace fs = std::filesystem;

const std::string kFolder = std::string(ANSER_SOURCE_DIR) + "/tests/fixtures/";
constexpr const char* kSets[] = {"states-1"};

// The keys of a store in Redis, by their types: how they are read, and written again.
constexpr const char* kKeys[] = {"anser:1:content:*",  "anser:1:state:*", "anser:1:sharers:*",
                                 "anser:1:pins:*",     "anser:1:names",   "anser:1:order",
                                 "anser:1:children:*", "anser:1:numbers"};

// The model is not kept: its numbers are the same with every compiler.
class Fixtures : public testing::Test {
 protected:
  Fixtures() {
    write_safetensors(dir_ / "m.safetensors", random_model(kTinyShape, 1));
    model_ = std::make_unique<Model>(Model::open(dir_ / "m.safetensors"));
  }

  // A state of the model, with numbers that follow from n.
  State state(uint64_t n, bool whose, const std::string& text = "") const {
    const State initial = model_->initial_state();
    State state(initial.shape(), initial.fingerprint(), whose ? initial.sketch() : nullptr);
    uint64_t random = n;
    for (size_t i = 0; i < state.shape().floats(); ++i) {
      state.att_shift(0)[i] = float(int64_t(splitmix64(random))) * 0x1p-63f;
    }
    for (int i = 0; i < kTinyShape.vocab; ++i) state.logits().push_back(float(i) - float(n));
    state.advance(n);
    state.read_text(text);
    return state;
  }
  static std::vector<Tensor> tuned() {
    std::vector<Tensor> tensors;
    for (int l = 0; l < kTinyShape.layers; ++l) {
      Tensor tensor{"blocks." + std::to_string(l) + ".att.time_state", {2, 16, 16}, {}};
      for (int i = 0; i < 2 * 16 * 16; ++i) tensor.values.push_back((i + l) * 0x1p-9);
      tensors.push_back(tensor);
    }
    return tensors;
  }
  // Into either store.
  void fill(States& store) const {
    const std::string root =
        store.put(state(1, true), "a model", "", {"root", {"x", "y"}, R"({"k":[1,"ä"]})"});
    const std::string child =
        store.put(state(2, true, "caf\xc3"), "a model", root, {"", {"x"}, ""});
    store.fork(child, {"fork", {}, "\"of child\""});
    store.put(state(3, false), "", child, {"", {"response"}, ""});
    store.get(child);  // a use
  }
  void check(States& store, bool with_uses) const {
    const std::vector<StateInfo> list = store.list();
    ASSERT_EQ(list.size(), 4u);
    const StateInfo &root = list[0], &child = list[1], &fork = list[2], &old = list[3];
    EXPECT_EQ(store.find("root")->id, root.id);
    EXPECT_EQ(store.find("fork")->id, fork.id);
    EXPECT_EQ(root.labels.tags, (std::vector<std::string>{"x", "y"}));
    EXPECT_EQ(Json::parse(root.labels.note), Json::parse(R"({"k":[1,"ä"]})"));
    EXPECT_EQ(root.model, "a model");
    EXPECT_EQ(child.parent, root.id);
    EXPECT_EQ(fork.parent, child.id);
    EXPECT_EQ(fork.content, child.content);
    EXPECT_EQ(old.parent, child.id);
    EXPECT_TRUE(root.pinned() && child.pinned() && fork.pinned() && !old.pinned());
    EXPECT_TRUE(store.get(root.id, *model_) == state(1, true));
    EXPECT_TRUE(store.get(child.id, *model_) == state(2, true, "caf\xc3"));
    EXPECT_EQ(store.get(child.id).text_end(), "caf\xc3");
    EXPECT_TRUE(store.get(fork.id, *model_) == state(2, true, "caf\xc3"));
    EXPECT_FALSE(store.get(old.id, *model_).identity_known());
    if (with_uses) {
      EXPECT_GT(child.last_used, child.created);
    }
  }

  void make(const std::string& to) const {
    fs::create_directories(to);
    state(7, false).save(to + "/version-1.state");
    state(8, true).save(to + "/version-2.state");
    state(9, true, "\xe2\x82").save(to + "/within-a-character.state");
    write_pth_raw(to + "/tuned.pth", tuned(), {.type = Float::f32});
    std::vector<Tensor> converted;  // as for web-rwkv: keys and values exchanged
    for (const Tensor& tensor : tuned()) converted.push_back(transposed(tensor));
    write_safetensors_raw(to + "/tuned.safetensors", converted, Float::f32);
    {
      StateStore store(to + "/store");
      fill(store);
    }
    fs::remove(to + "/store/lock");
#ifdef ANSER_WITH_REDIS
    const RedisServer server;
    RedisStore store(parse_redis_url(server.url()), {.lifetime_days = 0});
    fill(store);
    std::ofstream(to + "/redis.json") << dump(server.url()).dump(1) << '\n';
#endif
  }

#ifdef ANSER_WITH_REDIS
  static std::string hex(const std::string& bytes) {
    std::string text;
    for (const char byte : bytes) text += fmt::format("{:02x}", uint8_t(byte));
    return text;
  }
  static std::string unhex(const std::string& text) {
    std::string bytes;
    for (size_t i = 0; i + 1 < text.size(); i += 2) {
      bytes += char(std::stoi(text.substr(i, 2), nullptr, 16));
    }
    return bytes;
  }
  // The commands, each word in hexadecimal digits, that bring all keys back.
  static Json dump(const std::string& url) {
    RedisClient redis(url);
    Json commands = Json::array();
    const auto add = [&](std::vector<std::string> words) {
      for (std::string& word : words) word = hex(word);
      commands.push_back(words);
    };
    for (const char* pattern : kKeys) {
      for (const std::string& key : redis.keys(pattern)) {
        const std::string type = redis({"TYPE", key});
        if (type == "string") add({"SET", key, redis({"GET", key})});
        std::vector<std::string> all;
        if (type == "hash") all = redis.list({"HGETALL", key});
        if (type == "set") all = redis.list({"SMEMBERS", key});
        if (type == "zset") all = redis.list({"ZRANGE", key, "0", "-1", "WITHSCORES"});
        for (size_t i = 0; type == "zset" && i + 1 < all.size(); i += 2)
          std::swap(all[i], all[i + 1]);
        if (all.empty()) continue;
        std::vector<std::string> words = {type == "hash"  ? "HSET"
                                          : type == "set" ? "SADD"
                                                          : "ZADD",
                                          key};
        words.insert(words.end(), all.begin(), all.end());
        add(words);
      }
    }
    return commands;
  }
#endif

  const TempDir dir_;
  std::unique_ptr<Model> model_;
};

TEST_F(Fixtures, AreMade) {
  const char* to = std::getenv("ANSER_MAKE_FIXTURES");
  if (to == nullptr) GTEST_SKIP() << "only with ANSER_MAKE_FIXTURES=FOLDER";
  make(to);
}

TEST_F(Fixtures, StatesOfEveryKindAreRead) {
  for (const std::string set : kSets) {
    const std::string from = kFolder + set;
    const auto load = [&](const char* name) { return model_->load_state(from + name); };
    EXPECT_TRUE(load("/version-1.state") == state(7, false)) << set;
    EXPECT_FALSE(load("/version-1.state").identity_known()) << set;
    EXPECT_TRUE(load("/version-2.state") == state(8, true)) << set;
    EXPECT_TRUE(load("/version-2.state").identity_known()) << set;
    EXPECT_EQ(load("/within-a-character.state").text_end(), "\xe2\x82") << set;
    for (const char* name : {"/tuned.pth", "/tuned.safetensors"}) {
      const State tuned = load(name);
      EXPECT_EQ(tuned.tokens(), 0u) << set << name;
      EXPECT_EQ(tuned.wkv(1)[3], 4 * 0x1p-9f) << set << name;
    }
  }
}

TEST_F(Fixtures, AStoreIsReadWithAndWithoutItsIndex) {
  for (const std::string set : kSets) {
    const std::string at = dir_ / set;
    fs::copy(kFolder + set + "/store", at, fs::copy_options::recursive);
    for (const bool with_index : {true, false}) {
      if (!with_index) fs::remove(at + "/index.sqlite");
      StateStore store(at);
      EXPECT_TRUE(store.problems().empty()) << set << ": " << store.problems()[0];
      check(store, with_index);
    }
    EXPECT_TRUE(files_of(at, ".orphan").empty());
  }
}

#ifdef ANSER_WITH_REDIS
TEST_F(Fixtures, AStoreInRedisIsRead) {
  if (!RedisServer::installed()) GTEST_SKIP() << "no redis-server: tools/setup.sh scaleout";
  for (const std::string set : kSets) {
    const RedisServer server;
    RedisClient redis(server.url());
    for (const Json& command : Json::parse(read_file(kFolder + set + "/redis.json"))) {
      std::vector<std::string> words;
      for (const Json& word : command) words.push_back(unhex(word));
      redis(words);
    }
    RedisStore store(parse_redis_url(server.url()), {});
    check(store, true);
    store.remove(store.find("fork")->id);
    EXPECT_EQ(store.list().size(), 3u);
    EXPECT_TRUE(store.get(store.put(state(4, true), "m")) == state(4, true));
  }
}
#endif

// By an older program, which this one is then: with a word about the version, and unharmed.
TEST_F(Fixtures, WhatANewerProgramHasWrittenIsRefusedByName) {
  std::string file = read_file(kFolder + "states-1/version-2.state");
  file[8] = 3;
  write_file(dir_ / "newer.state", file);
  expect_error({"newer.state", "version 3", "versions 1 and 2"},
               [&] { model_->load_state(dir_ / "newer.state"); });

  const std::string at = dir_ / "store";
  fs::copy(kFolder + "states-1/store", at, fs::copy_options::recursive);
  const std::string record = *files_of(at, ".json").begin();
  rewrite_record(at + "/" + record, "\"anser_state\":1", "\"anser_state\":2");
  const std::string before = read_file(at + "/" + record);
  StateStore store(at);
  ASSERT_EQ(store.problems().size(), 1u);
  EXPECT_NE(store.problems()[0].find("version 2; this program reads version 1"), std::string::npos)
      << store.problems()[0];
  EXPECT_NE(store.problems()[0].find(record), std::string::npos);
  EXPECT_EQ(store.list().size(), 3u);
  EXPECT_EQ(read_file(at + "/" + record), before);
  EXPECT_EQ(files_of(at, ".zst").size(), 3u);
}

// A record that claims what no state can have is damaged, however well its checksum fits.
TEST_F(Fixtures, ARecordThatClaimsTooMuchIsLeftOut) {
  const std::string at = dir_ / "store";
  fs::copy(kFolder + "states-1/store", at, fs::copy_options::recursive);
  const std::string record = at + "/" + *files_of(at, ".json").begin();
  const Json was = Json::parse(read_file(record).substr(0, read_file(record).find('\n')));
  for (const char* member : {"tokens", "stored_bytes", "raw_bytes"}) {
    const std::string before = read_file(record);
    const std::string claim = fmt::format("\"{}\":", member);
    rewrite_record(record, claim + was[member].dump() + ",", claim + "18446744073709551615,");
    StateStore store(at);
    ASSERT_EQ(store.problems().size(), 1u) << member;
    EXPECT_NE(store.problems()[0].find(member), std::string::npos) << store.problems()[0];
    EXPECT_EQ(store.list().size(), 3u);
    write_file(record, before);
  }
}

}  // namespace
}  // namespace anser
