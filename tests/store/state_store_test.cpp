// What a store does while nothing goes wrong.
#include "store/state_store.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "store/sample_states.h"
#include "store/state_id.h"
#include "support/errors.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

std::vector<std::string> ids_of(const std::vector<StateInfo>& list) {
  std::vector<std::string> ids;
  for (const StateInfo& info : list) ids.push_back(info.id);
  return ids;
}

StateFilter with_tag(const std::string& tag) {
  StateFilter filter;
  filter.tag = tag;
  return filter;
}
StateFilter with_parent(const std::string& parent) {
  StateFilter filter;
  filter.parent = parent;
  return filter;
}
StateFilter with_fingerprint(uint64_t fingerprint) {
  StateFilter filter;
  filter.fingerprint = fingerprint;
  return filter;
}

TEST(StateStore, GivesBackWhatItWasGiven) {
  const TempDir dir;
  StateStore store(dir / "a/b/states");
  const State state = state_after(7);
  const std::string id = store.put(state, "a model");
  EXPECT_TRUE(is_state_id(id)) << id;
  EXPECT_TRUE(store.get(id) == state);

  const StateInfo info = store.find(id).value();
  EXPECT_EQ(info.id, id);
  EXPECT_EQ(info.parent, "");
  EXPECT_EQ(info.tokens, 7u);
  EXPECT_EQ(info.fingerprint, kFingerprint);
  EXPECT_EQ(info.model, "a model");
  EXPECT_EQ(info.raw_bytes, state.serialize().size());
  EXPECT_EQ(info.stored_bytes,
            std::filesystem::file_size(dir / ("a/b/states/" + info.content + ".zst")));
  EXPECT_GE(info.last_used, info.created);
  EXPECT_FALSE(info.pinned());
  // Nobody but the owner shall read what states tell.
  EXPECT_EQ(std::filesystem::status(dir / "a/b/states").permissions(),
            std::filesystem::perms::owner_all);
}

TEST(StateStore, ChecksTheModel) {
  const TempDir dir;
  write_safetensors(dir / "m", random_model(kTinyShape, 1));
  write_safetensors(dir / "other", random_model(kTinyShape, 2));
  const Model model = Model::open(dir / "m"), other = Model::open(dir / "other");
  StateStore store(dir / "states");
  const std::string id = store.put(model.initial_state(), model.name());
  EXPECT_TRUE(store.get(id, model) == model.initial_state());
  expect_error({id, "another model of the same size"}, [&] { store.get(id, other); });
  const std::string stranger = store.put(state_after(1), "");
  expect_error({stranger, "another model"}, [&] { store.get(stranger, model); });
}

TEST(StateStore, IsThereAgainWhenOpenedAgain) {
  const TempDir dir;
  std::string id;
  {
    StateStore store(dir.path());
    id = store.put(state_after(3), "m", "", {"name", {"b", "a", "b"}, R"({"x": [1, "y"]})"});
  }
  StateStore store(dir.path());
  EXPECT_TRUE(store.get(id) == state_after(3));
  const StateInfo info = store.find("name").value();
  EXPECT_EQ(info.id, id);
  EXPECT_EQ(info.labels.tags, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(nlohmann::json::parse(info.labels.note), nlohmann::json::parse(R"({"x":[1,"y"]})"));
}

TEST(StateStore, AForkSharesTheBytes) {
  const TempDir dir;
  StateStore store(dir.path());
  const std::string id = store.put(state_after(3), "m", "", {"first", {"t"}, "1"});
  const std::string fork = store.fork(id, {"second", {}, ""});
  EXPECT_NE(fork, id);
  EXPECT_TRUE(store.get(fork) == state_after(3));
  EXPECT_EQ(store.find(fork)->parent, id);
  EXPECT_EQ(store.find(fork)->labels.name, "second");
  EXPECT_TRUE(store.find(fork)->labels.tags.empty());
  EXPECT_EQ(files_of(dir.path(), ".zst").size(), 1u);
  // Of a fork, too.
  const std::string again = store.fork(fork);
  EXPECT_EQ(store.find(again)->parent, fork);

  store.remove(id);
  EXPECT_TRUE(store.get(fork) == state_after(3));
  EXPECT_EQ(store.find(fork)->parent, id);  // history
  store.remove(again);
  EXPECT_EQ(files_of(dir.path(), ".zst").size(), 1u);
  store.remove(fork);
  EXPECT_EQ(files_of(dir.path(), ".zst").size(), 0u);
  EXPECT_EQ(files_of(dir.path(), ".json").size(), 0u);
}

TEST(StateStore, ListsAndFilters) {
  const TempDir dir;
  StateStore store(dir.path());
  const std::string a = store.put(state_after(1), "m", "", {"", {"x", "y"}, ""});
  const std::string b = store.put(state_after(2), "m", a, {"", {"y"}, ""});
  const std::string c = store.put(State(kStateShape, 5), "n", a);
  using Ids = std::vector<std::string>;
  EXPECT_EQ(ids_of(store.list()), (Ids{a, b, c}));
  EXPECT_EQ(ids_of(store.list(with_tag("y"))), (Ids{a, b}));
  EXPECT_EQ(ids_of(store.list(with_tag("z"))), Ids{});
  EXPECT_EQ(ids_of(store.list(with_parent(a))), (Ids{b, c}));
  EXPECT_EQ(ids_of(store.list(with_fingerprint(5))), Ids{c});
  // A child of what was removed still is one.
  store.remove(a);
  EXPECT_EQ(ids_of(store.list(with_parent(a))), (Ids{b, c}));
}

TEST(StateStore, NamesAreUniqueAndCanMove) {
  const TempDir dir;
  StateStore store(dir.path());
  const std::string a = store.put(state_after(1), "m", "", {"main", {}, ""});
  const std::string b = store.put(state_after(2), "m");
  expect_error({a, "main"}, [&] { store.put(state_after(3), "m", "", {"main", {}, ""}); });
  expect_error({a, "main"}, [&] { store.fork(b, {"main", {}, ""}); });
  expect_error({a, "main"}, [&] { store.relabel(b, {"main", {}, ""}); });
  // What failed left nothing.
  EXPECT_EQ(store.list().size(), 2u);
  EXPECT_EQ(files_of(dir.path(), ".zst").size(), 2u);
  EXPECT_EQ(files_of(dir.path(), ".json").size(), 2u);
  EXPECT_EQ(files_of(dir.path(), ".new").size(), 0u);

  store.relabel(a, {"old", {"t"}, ""});
  store.relabel(b, {"main", {}, "[]"});
  EXPECT_EQ(store.find("main")->id, b);
  EXPECT_EQ(store.find("old")->id, a);
  store.relabel(b, {});
  EXPECT_EQ(store.find("main"), std::nullopt);
  EXPECT_EQ(store.find(b)->labels.note, "");
}

TEST(StateStore, RefusesLabelsThatHarm) {
  const TempDir dir;
  StateStore store(dir.path());
  const std::string id = store.put(state_after(1), "m");
  for (const std::string& name :
       {std::string("two\nlines"), std::string("\x1b[2J"), std::string("\xff"), id,
        std::string(101, 'a'), std::string("nul\0", 4), std::string("\xc2\x9b")}) {
    expect_error({"name"}, [&] { store.relabel(id, {name, {}, ""}); });
    expect_error({"tag"}, [&] { store.relabel(id, {"", {name}, ""}); });
  }
  expect_error({"tag"}, [&] { store.relabel(id, {"", {""}, ""}); });
  expect_error({"note", "JSON"}, [&] { store.relabel(id, {"", {}, "{"}); });
  expect_error({"note", "65"}, [&] {
    store.relabel(id, {"", {}, '"' + std::string(65536, 'a') + '"'});
  });
  store.relabel(id, {"Gänse im März", {"../up"}, ""});
  EXPECT_EQ(store.find("Gänse im März")->id, id);
}

TEST(StateStore, AnIdIsNeverAPath) {
  const TempDir dir;
  StateStore store(dir / "states");
  const std::string id = store.put(state_after(1), "m");
  write_file(dir / "secret.zst", "x");
  write_file(dir / "secret.json", "x");
  std::string upper = id;
  for (char& c : upper) c = char(std::toupper(c));
  for (const std::string& bad :
       {std::string("../secret"), std::string(), std::string("."), std::string("/etc/passwd"),
        id + "/../" + id, id.substr(1), id + "0", upper, std::string(26, '/'),
        std::string("%' OR 1=1 --")}) {
    EXPECT_EQ(store.find(bad), std::nullopt) << bad;
    expect_error({"no state"}, [&] { store.get(bad); });
    expect_error({"no state"}, [&] { store.fork(bad); });
    expect_error({"no state"}, [&] { store.relabel(bad, {}); });
    expect_error({"no state"}, [&] { store.remove(bad); });
    if (!bad.empty()) expect_error({"parent"}, [&] { store.put(state_after(1), "m", bad); });
  }
  EXPECT_EQ(read_file(dir / "secret.zst"), "x");
  EXPECT_EQ(store.list().size(), 1u);
}

TEST(StateStore, IdsAreOfAFixedAlphabetAndNeverTheSame) {
  std::set<std::string> ids, characters;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = new_state_id();
    EXPECT_EQ(id.size(), 26u);
    for (const char c : id) characters.insert(std::string(1, c));
    EXPECT_TRUE(ids.insert(id).second);
  }
  EXPECT_EQ(characters.size(), 32u);
}

TEST(StateStore, EvictsWhatWasNotUsedForTheLongestTime) {
  const TempDir dir;
  uint64_t one = 0;  // compressed state
  {
    StateStore store(dir / "measure");
    one = store.find(store.put(state_after(1), "m"))->stored_bytes;
  }
  StateStore store(dir / "states", {.max_disk_bytes = 4 * one + one / 2, .max_ram_bytes = 0});
  const std::string named = store.put(state_after(1), "m", "", {"kept", {}, ""});
  const std::string a = store.put(state_after(2), "m");
  const std::string b = store.put(state_after(3), "m");
  const std::string c = store.put(state_after(4), "m");
  const std::string fork = store.fork(b);  // of no weight
  store.get(a);
  store.get(fork);
  store.get(a);
  // c is the coldest, then b and its fork together.
  const std::string d = store.put(state_after(5), "m", c);
  EXPECT_EQ(ids_of(store.list()), (std::vector<std::string>{named, a, b, fork, d}));
  EXPECT_EQ(store.find(d)->parent, c);
  const std::string e = store.put(state_after(6), "m", "", {"", {"tagged"}, ""});
  EXPECT_EQ(ids_of(store.list()), (std::vector<std::string>{named, a, d, e}));
  EXPECT_EQ(files_of(dir / "states", ".zst").size(), 4u);
  EXPECT_EQ(files_of(dir / "states", ".json").size(), 4u);

  // A tag on a fork protects the bytes that it shares.
  store.fork(a, {"", {"tagged"}, ""});
  store.relabel(d, {"d", {}, ""});
  expect_error({"full", "name or a tag"}, [&] { store.put(state_after(7), "m"); });
  EXPECT_EQ(store.list().size(), 5u);
  EXPECT_EQ(files_of(dir / "states", ".zst").size(), 4u);
  EXPECT_EQ(files_of(dir / "states", ".json").size(), 5u);
  EXPECT_TRUE(store.get(a) == state_after(2));
}

TEST(StateStore, RemembersWhenAStateWasUsed) {
  const TempDir dir;
  std::string a, b;
  double used = 0;
  {
    StateStore store(dir.path());
    a = store.put(state_after(1), "m");
    b = store.put(state_after(2), "m");
    EXPECT_EQ(store.find(a)->last_used, store.find(a)->created);
    store.get(a);
    used = store.find(a)->last_used;
    EXPECT_GT(used, store.find(b)->last_used);
    EXPECT_EQ(store.list()[0].last_used, used);
  }
  StateStore store(dir.path());
  EXPECT_EQ(store.find(a)->last_used, used);
  EXPECT_EQ(store.find(b)->last_used, store.find(b)->created);
}

// The hot ones come out of memory: their files are not looked at.
TEST(StateStore, KeepsTheHotInMemory) {
  const TempDir dir;
  const uint64_t one = sizeof(float) * (kStateShape.floats() + 20);
  StateStore store(dir.path(), {.max_disk_bytes = 0, .max_ram_bytes = 2 * one});
  const std::string a = store.put(state_after(1), "m");
  const std::string b = store.put(state_after(2), "m");
  store.get(a);
  const std::string c = store.put(state_after(3), "m");  // b has to make room
  const std::string fork = store.fork(a);
  for (const std::string& id : {a, b, c}) std::filesystem::remove(dir / (id + ".zst"));
  EXPECT_TRUE(store.get(a) == state_after(1));
  EXPECT_TRUE(store.get(c) == state_after(3));
  EXPECT_TRUE(store.get(fork) == state_after(1));
  expect_error({b + ".zst"}, [&] { store.get(b); });
  store.remove(a);
  expect_error({"no state"}, [&] { store.get(a); });
  EXPECT_TRUE(store.get(fork) == state_after(1));
}

TEST(StateStore, WhatIsReadBecomesHot) {
  const TempDir dir;
  std::string id;
  { id = StateStore(dir.path()).put(state_after(1), "m"); }
  StateStore store(dir.path(), {.max_disk_bytes = 0, .max_ram_bytes = 1 << 20});
  State first = store.get(id);
  first.att_shift(0)[0] += 1;  // the caller's, not the store's
  std::filesystem::remove(dir / (id + ".zst"));
  EXPECT_TRUE(store.get(id) == state_after(1));
}

TEST(StateStore, ServesManyThreads) {
  const TempDir dir;
  StateStore store(dir.path(), {.max_disk_bytes = 0, .max_ram_bytes = 20'000});
  const std::string shared = store.put(state_after(1000), "m");
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 5; ++i) {
        const uint64_t n = 10 * t + i;
        const std::string id = store.put(state_after(n), "m", shared);
        const std::string fork = store.fork(id, {"thread " + std::to_string(n), {}, ""});
        if (!(store.get(fork) == state_after(n))) ++wrong;
        if (!(store.get(shared) == state_after(1000))) ++wrong;
        if (store.find("thread " + std::to_string(n))->id != fork) ++wrong;
        store.relabel(id, {"", {"done"}, ""});
        if (store.list(with_parent(id)).size() != 1) ++wrong;
        store.remove(fork);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(store.list(with_tag("done")).size(), 20u);
  EXPECT_EQ(store.list(with_parent(shared)).size(), 20u);
  EXPECT_EQ(store.list().size(), 21u);
}

}  // namespace
}  // namespace anser
