// What the folder store does beyond what every store does (states_test.cpp).
#include "store/state_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "store/old_record.h"
#include "store/sample_states.h"
#include "store/state_id.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace anser {
namespace {

using namespace support;

TEST(StateStore, ItsFilesAreTheOwnersOnly) {
  const TempDir dir;
  StateStore store(dir / "a/b/states");
  const StateInfo info = store.find(store.put(state_after(7), "m")).value();
  EXPECT_EQ(info.stored_bytes,
            std::filesystem::file_size(dir / ("a/b/states/" + info.content + ".zst")));
  // Nobody but the owner shall read what states tell.
  EXPECT_EQ(std::filesystem::status(dir / "a/b/states").permissions(),
            std::filesystem::perms::owner_all);
  for (const auto& file : std::filesystem::directory_iterator(dir / "a/b/states")) {
    EXPECT_EQ(file.status().permissions(),
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write)
        << file.path();
  }
}

TEST(StateStore, WhatFailsLeavesNoFile) {
  const TempDir dir;
  StateStore store(dir.path());
  const std::string a = store.put(state_after(1), "m", "", {"main", {}, ""});
  expect_error({a, "main"}, [&] { store.put(state_after(3), "m", "", {"main", {}, ""}); });
  EXPECT_EQ(files_of(dir.path(), ".zst").size(), 1u);
  EXPECT_EQ(files_of(dir.path(), ".json").size(), 1u);
  EXPECT_EQ(files_of(dir.path(), ".new").size(), 0u);
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

// Names with a slash are refused by now, but not those that are there.
TEST(StateStore, OldNamesStayUntilTheyChange) {
  const TempDir dir;
  std::string id;
  {
    StateStore store(dir.path());
    id = store.put(state_after(1), "m", "", {"a:b", {"t"}, ""});
  }
  rewrite_record(dir / (id + ".json"), "a:b", "a/b");
  for (int i = 0; i < 2; ++i) {
    StateStore store(dir.path());
    EXPECT_TRUE(store.problems().empty());
    ASSERT_TRUE(store.find("a/b"));
    EXPECT_EQ(store.find("a/b")->id, id);
    EXPECT_EQ(store.list()[0].labels.name, "a/b");
    store.relabel(id, {"a/b", {"u"}, "7"});
    EXPECT_EQ(store.find(id)->labels.tags, std::vector<std::string>{"u"});
    expect_error({"a/c"}, [&] { store.relabel(id, {"a/c", {}, ""}); });
    expect_error({"a/b"}, [&] { store.fork(id, {"a/b", {}, ""}); });
  }
  StateStore store(dir.path());
  store.relabel(id, {"ab", {}, ""});
  EXPECT_EQ(store.find("ab")->id, id);
  expect_error({"a/b"}, [&] { store.relabel(id, {"a/b", {}, ""}); });
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

TEST(StateStore, KeepsAContentThatADamagedRecordMayName) {
  const TempDir dir;
  StateStore store(dir.path());
  const std::string a = store.put(state_after(1), "m"), fork = store.fork(a);
  const std::string record = read_file(dir / (fork + ".json"));
  std::filesystem::remove(dir / (fork + ".json"));
  write_file(dir / (fork + ".json"), record.substr(0, 50));
  EXPECT_EQ(store.list().size(), 1u);
  store.remove(a);
  EXPECT_FALSE(store.find(a));
  EXPECT_TRUE(std::filesystem::exists(dir / (a + ".zst.orphan")));
  std::filesystem::remove(dir / (fork + ".json"));
  write_file(dir / (fork + ".json"), record);
  EXPECT_TRUE(store.get(fork) == state_after(1));
  store.remove(fork);
  EXPECT_TRUE(files_of(dir.path(), ".zst").empty());
}

TEST(StateStore, WaitsForNoPipes) {
  const TempDir dir;
  StateStore store(dir.path());
  for (const char* end : {".zst", ".json"}) {
    const std::string id = store.put(state_after(1), "m"), path = dir / (id + end);
    const StateInfo info = *store.find(id);
    std::filesystem::remove(path);
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    EXPECT_EQ(store.list().size(), end == std::string(".zst") ? 1u : 0u);
    if (end == std::string(".zst")) {
      EXPECT_THROW(store.content(info), StoreFailed);
      EXPECT_THROW(store.get(id), StoreFailed);
    }
    std::filesystem::remove(path);
  }
}

}  // namespace
}  // namespace anser
