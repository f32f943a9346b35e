// A damaged index costs nothing: the records and contents are the truth about a store.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <memory>

#include "store/damage.h"
#include "store/sample_states.h"
#include "store/state_store.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace anser {
namespace {

using namespace support;

// Closing a file that is in use takes away the locks that this process has in it.
std::string read_file_elsewhere(const std::string& path) {
  const TempDir dir;
  const std::string copy = dir / "copy";
  if (std::system(("cp '" + path + "' " + copy).c_str()) != 0) return "";
  return read_file(copy);
}

void run_sql(const std::string& path, const char* sql) {
  sqlite3* database = nullptr;
  const bool done = sqlite3_open(path.c_str(), &database) == SQLITE_OK &&
                    sqlite3_exec(database, sql, nullptr, nullptr, nullptr) == SQLITE_OK;
  const std::string why = sqlite3_errmsg(database);
  sqlite3_close(database);
  if (!done) throw std::runtime_error(why);
}

// Named, tagged and forked states, so many that the index has pages upon pages.
class DamagedIndex : public testing::Test {
 protected:
  void SetUp() override {
    StateStore store(folder());
    const std::string note = "\"" + std::string(300, 'n') + "\"";
    std::string last;
    for (uint64_t n = 0; n < 6; ++n) {
      last = store.put(state_after(n), "m", last, {"root " + std::to_string(n), {}, note});
      keep(store, last);
      for (uint64_t i = 0; i < 6; ++i) {
        keep(store, store.fork(last, {i % 2 ? "" : "fork " + std::to_string(10 * n + i),
                                      {"t", std::to_string(i)},
                                      note}));
      }
    }
  }
  std::string folder() const { return dir_ / "states"; }
  std::string index() const { return folder() + "/index.sqlite"; }
  void keep(StateStore& store, const std::string& id) { kept_[id] = to_record(*store.find(id)); }

  // All that was put is there, and is what it was.
  void expect_whole(StateStore& store, const std::string& what) {
    const std::vector<StateInfo> list = store.list();
    std::set<std::string> contents;
    size_t found = 0;
    for (const StateInfo& info : list) {
      contents.insert(info.content + ".zst");
      if (!kept_.contains(info.id)) continue;
      ++found;
      EXPECT_EQ(to_record(info), kept_[info.id]) << what;
    }
    EXPECT_EQ(found, kept_.size()) << what;
    for (const auto& [id, record] : kept_) {
      const std::optional<StateInfo> info = store.find(id);
      ASSERT_TRUE(info) << what << ' ' << id;
      EXPECT_EQ(to_record(*info), record) << what;
      if (!info->labels.name.empty()) {
        const std::optional<StateInfo> named = store.find(info->labels.name);
        ASSERT_TRUE(named) << what << ' ' << info->labels.name;
        EXPECT_EQ(named->id, id) << what;
      }
      if (info->content == id) {
        EXPECT_TRUE(store.get(id) == state_after(info->tokens)) << what;
      }
    }
    EXPECT_EQ(files_of(folder(), ".zst"), contents) << what;
    EXPECT_TRUE(files_of(folder(), ".orphan").empty()) << what;
  }

  const TempDir dir_;
  std::map<std::string, std::string> kept_;  // records, by id
};

TEST_F(DamagedIndex, HidesNothingFromWhoOpensTheStore) {
  int noticed = 0;
  const int ways = ways_of_damage(12);
  for (int seed = 0; seed < ways; ++seed) {
    std::string how;
    const std::string good = read_file(index()), bad = damaged(good, uint64_t(seed), &how);
    write_file(index(), bad);
    StateStore store(folder());
    noticed += store.problems().empty() ? 0 : 1;
    expect_whole(store, how + " " + std::to_string(seed));
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(noticed, ways / 2);
}

// One that goes on, and one that comes while it does.
TEST_F(DamagedIndex, HidesNothingFromWhoHasTheStoreOpen) {
  std::vector<std::string> said;
  StateStore first(folder(), {.notice = [&](const std::string& text) { said.push_back(text); }});
  const int ways = ways_of_damage(12);
  for (int seed = 0; seed < ways; ++seed) {
    std::string how;
    const std::string bad = damaged(read_file_elsewhere(index()), uint64_t(seed) + 10'000, &how);
    write_in_place(index(), bad);
    how += " " + std::to_string(seed);
    std::unique_ptr<StateStore> second;
    if (seed % 2 == 0) second = std::make_unique<StateStore>(folder());
    expect_whole(first, how);
    if (second != nullptr) expect_whole(*second, how);
    // Both go on as if nothing had been.
    const std::string id = first.fork(kept_.begin()->first, {"for a while", {}, ""});
    if (second != nullptr) {
      EXPECT_TRUE(second->find("for a while")) << how;
      second->remove(id);
    } else {
      first.remove(id);
    }
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_FALSE(said.empty());
}

// What is pinned is not evicted, whatever the index says.
TEST_F(DamagedIndex, EvictsNothingThatIsPinned) {
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    if (entry.path().extension() == ".zst") bytes += entry.file_size();
  }
  for (int seed = 0; seed < ways_of_damage(6); ++seed) {
    std::string how;
    const std::string bad = damaged(read_file(index()), uint64_t(seed) + 20'000, &how);
    write_file(index(), bad);
    StateStore store(folder(), {.max_disk_bytes = bytes + bytes / 3});
    for (uint64_t n = 0; n < 3; ++n) store.put(state_after(1000 + n), "m");
    expect_whole(store, how + " " + std::to_string(seed));
    ASSERT_FALSE(HasFailure());
  }
}

// Rows that say another thing and fit each other nevertheless: no check of SQLite's finds them.
TEST_F(DamagedIndex, IsHeldAgainstTheRecordsBeforeAnythingIsEvicted) {
  const std::string content = *files_of(folder(), ".zst").begin();
  const uint64_t one = std::filesystem::file_size(folder() + "/" + content);
  StateStore store(folder(), {.max_disk_bytes = 6 * one + one / 2});
  run_sql(index(), "UPDATE states SET pinned = 0");
  expect_error({"full"}, [&] { store.put(state_after(2000), "m", "", {"", {"pin"}, ""}); });
  expect_whole(store, "unpinned");
}

// SQLite thinks such an index right: only the records beside the columns tell.
TEST_F(DamagedIndex, WhoseRowsSaySomethingElseThanTheirRecordsIsMadeAgain) {
  const char* const columns[] = {"name = NULL",         "name = 'another'", "parent = ''",
                                 "content = 'nothing'", "created = 1",      "created = NULL",
                                 "stored_bytes = -1",   "pinned = 0",       "record = 'x'"};
  for (const char* column : columns) {
    run_sql(
        index(),
        fmt::format("UPDATE OR IGNORE states SET {} WHERE name LIKE 'fork 1%'", column).c_str());
    StateStore store(folder());
    expect_whole(store, column);
  }
}

TEST_F(DamagedIndex, ThatIsDeletedUnderAServerIsMadeAgain) {
  StateStore store(folder()), other(folder());
  const std::string id = store.put(state_after(77), "m", "", {"late", {}, ""});
  keep(store, id);
  for (const char* part : {"", "-wal", "-shm"}) std::filesystem::remove(index() + part);
  expect_whole(store, "deleted");
  EXPECT_TRUE(std::filesystem::exists(index()));
  const std::string more = store.put(state_after(78), "m", "", {"later", {}, ""});
  keep(store, more);
  expect_whole(other, "seen by the other");
  expect_error({"later"}, [&] { other.fork(id, {"later", {}, ""}); });
  StateStore again(folder());
  expect_whole(again, "opened again");
}

// As a copy from a backup is put in the place of the one that is in use.
TEST_F(DamagedIndex, ThatIsReplacedByAnOlderOneCatchesUp) {
  const std::string old = read_file(index());
  StateStore store(folder());
  keep(store, store.put(state_after(77), "m", "", {"late", {}, ""}));
  write_file(index() + ".copy", old);
  std::filesystem::rename(index() + ".copy", index());
  expect_whole(store, "an older one");
}

TEST_F(DamagedIndex, OfANewerProgramIsRefusedAndKept) {
  run_sql(index(), "PRAGMA user_version = 2");
  const std::string before = read_file(index());
  expect_error({index(), "version 2", "reads version 1"}, [&] { StateStore store(folder()); });
  EXPECT_EQ(read_file(index()), before);
}

}  // namespace
}  // namespace anser
