// What a store does when things go wrong: processes that are killed, disks that are full, files
// that are damaged, an index that is lost.
#include <gtest/gtest.h>

#include <fstream>

#include "store/killed_writer.h"
#include "store/sample_states.h"
#include "store/state_id.h"
#include "store/state_store.h"
#include "support/errors.h"
#include "support/full_disk.h"
#include "support/temp_dir.h"

namespace anser {
namespace {

using namespace support;

void expect_consistent(StateStore& store, const std::map<std::string, uint64_t>& told) {
  EXPECT_TRUE(store.problems().empty()) << store.problems()[0];
  for (const auto& [id, number] : told) {
    EXPECT_TRUE(store.get(id) == state_after(number)) << id;
  }
  for (const StateInfo& info : store.list()) {
    EXPECT_TRUE(store.get(info.id) == state_after(info.tokens)) << info.id;
  }
}

TEST(StateStoreCrash, KillingAWriterLosesNothingThatWasReturned) {
  const TempDir dir;
  std::map<std::string, uint64_t> told;
  uint64_t delay = 1;
  for (int round = 0; round < 15; ++round) {
    KilledWriter writer(dir.path(), uint64_t(round) * 1000);
    told.merge(writer.kill_after(std::chrono::microseconds(splitmix64(delay) % 80'000)));
    StateStore store(dir.path());
    expect_consistent(store, told);
    // Alone, this store has tidied up.
    EXPECT_TRUE(files_of(dir.path(), ".new").empty());
    std::set<std::string> contents;
    for (const StateInfo& info : store.list()) contents.insert(info.content + ".zst");
    EXPECT_EQ(files_of(dir.path(), ".zst"), contents);
    EXPECT_EQ(files_of(dir.path(), ".json").size(), store.list().size());
  }
  EXPECT_GE(told.size(), 30u);
}

// Two processes work on a folder; one is killed, the other goes on.
TEST(StateStoreCrash, AnotherProcessGoesOn) {
  const TempDir dir;
  StateStore store(dir.path());
  std::map<std::string, uint64_t> told;
  for (int round = 0; round < 3; ++round) {
    KilledWriter writer(dir.path(), 1000 + uint64_t(round) * 1000);
    for (uint64_t n = 0; n < 5; ++n) {
      const uint64_t number = uint64_t(round) * 10 + n;
      told[store.put(state_after(number), "m")] = number;
    }
    told.merge(writer.kill_after(std::chrono::milliseconds(10 * round)));
    expect_consistent(store, told);
  }
  EXPECT_GE(told.size(), 21u);
}

// While somebody has the store open, unfinished files may be somebody's work.
TEST(StateStoreCrash, OnlyWhoIsAloneTidiesUp) {
  const TempDir dir;
  const std::string orphan = new_state_id();
  const std::string unfinished = new_state_id() + ".zst.123.new";  // of an earlier version
  const std::string half = "anser-0123456789abcdef.new";
  {
    StateStore first(dir.path());
    write_file(dir / (orphan + ".zst"), "x");
    write_file(dir / unfinished, "x");
    write_file(dir / half, "x");
    write_file(dir / "notes.txt", "a person's");
    StateStore second(dir.path());
    EXPECT_TRUE(std::filesystem::exists(dir / (orphan + ".zst")));
    EXPECT_TRUE(std::filesystem::exists(dir / unfinished));
    EXPECT_TRUE(std::filesystem::exists(dir / half));
  }
  StateStore alone(dir.path());
  EXPECT_FALSE(std::filesystem::exists(dir / (orphan + ".zst")));
  EXPECT_FALSE(std::filesystem::exists(dir / unfinished));
  EXPECT_FALSE(std::filesystem::exists(dir / half));
  EXPECT_TRUE(std::filesystem::exists(dir / "notes.txt"));
}

// Four states with everything that a record holds, and what is known of them.
class StateStoreFiles : public testing::Test {
 protected:
  void SetUp() override {
    StateStore store(dir_.path());
    ids_.push_back(store.put(state_after(1), "a model", "", {"root", {"x", "y"}, R"({"k":1})"}));
    ids_.push_back(store.put(state_after(2), "a model", ids_[0], {"", {"x"}, ""}));
    ids_.push_back(store.fork(ids_[1], {"fork", {}, "[1]"}));
    ids_.push_back(store.put(state_after(3), "a model", ids_[2]));
    store.relabel(ids_[3], {"late", {}, ""});
    records_ = records(store);
  }
  static std::vector<std::string> records(StateStore& store) {
    std::vector<std::string> all;
    for (const StateInfo& info : store.list()) all.push_back(to_record(info));
    return all;
  }
  std::string record(int i) const { return dir_ / (ids_[size_t(i)] + ".json"); }
  std::string content(int i) const { return dir_ / (ids_[size_t(i)] + ".zst"); }

  TempDir dir_;
  std::vector<std::string> ids_, records_;
};

TEST_F(StateStoreFiles, ALostIndexIsMadeAgain) {
  std::filesystem::remove(dir_ / "index.sqlite");
  StateStore store(dir_.path());
  EXPECT_EQ(records(store), records_);
  EXPECT_EQ(store.find("late")->id, ids_[3]);
  EXPECT_TRUE(store.get(ids_[2]) == state_after(2));
}

TEST_F(StateStoreFiles, ADamagedIndexIsMadeAgain) {
  for (const std::string& rubbish : {std::string(5000, 'x'), std::string("x"),
                                     read_file(dir_ / "index.sqlite").substr(0, 1024)}) {
    write_file(dir_ / "index.sqlite", rubbish);
    StateStore store(dir_.path());
    EXPECT_EQ(records(store), records_);
  }
}

// As after a power cut, which the index does not wait for.
TEST_F(StateStoreFiles, AnOldIndexCatchesUp) {
  const std::string index = read_file(dir_ / "index.sqlite");
  std::vector<std::string> now;
  {
    StateStore store(dir_.path());
    store.remove(ids_[0]);
    store.relabel(ids_[1], {"new name", {}, ""});
    store.put(state_after(9), "m", ids_[1]);
    now = records(store);
  }
  write_file(dir_ / "index.sqlite", index);
  StateStore store(dir_.path());
  EXPECT_EQ(records(store), now);
  EXPECT_EQ(store.find("root"), std::nullopt);
}

TEST_F(StateStoreFiles, CopiedFilesJoin) {
  const TempDir other;
  std::string id;
  { id = StateStore(other.path()).put(state_after(5), "m", "", {"late", {"t"}, ""}); }
  for (const char* end : {".json", ".zst"}) {
    std::filesystem::copy(other / (id + end), dir_ / (id + end));
  }
  StateStore store(dir_.path());
  EXPECT_TRUE(store.get(id) == state_after(5));
  // There can be one of a name.
  EXPECT_EQ(store.find("late")->id, ids_[3]);
  EXPECT_EQ(store.find(id)->labels.name, "");
  EXPECT_EQ(store.find(id)->labels.tags.size(), 1u);
}

TEST_F(StateStoreFiles, DamagedContentIsFound) {
  const std::string whole = read_file(content(0));
  StateStore store(dir_.path());
  for (size_t at = 0; at < whole.size(); at += 97) {
    std::string bytes = whole;
    bytes[at] = char(bytes[at] ^ 0x10);
    write_file(content(0), bytes);
    expect_error({content(0)}, [&] { store.get(ids_[0]); });
  }
  for (const std::string& bytes : {whole.substr(0, whole.size() / 2), std::string(), whole + "x"}) {
    write_file(content(0), bytes);
    expect_error({content(0), "damaged"}, [&] { store.get(ids_[0]); });
  }
  write_file(content(0), read_file(content(1)));
  expect_error({content(0), "not the content of", ids_[0]}, [&] { store.get(ids_[0]); });
  std::filesystem::remove(content(0));
  expect_error({content(0), "No such file"}, [&] { store.get(ids_[0]); });
  EXPECT_TRUE(store.get(ids_[1]) == state_after(2));
  write_file(content(0), whole);
  EXPECT_TRUE(store.get(ids_[0]) == state_after(1));
}

// Neither it nor any content is deleted: what it stands for may be repaired.
TEST_F(StateStoreFiles, ADamagedRecordIsLeftOutAndLeftAlone) {
  const std::string whole = read_file(record(1));
  for (size_t at = 0; at < whole.size(); at += 13) {
    std::string bytes = whole;
    bytes[at] = char(bytes[at] ^ 1);
    write_file(record(1), bytes);
    StateStore store(dir_.path());
    ASSERT_EQ(store.problems().size(), 1u) << bytes;
    EXPECT_NE(store.problems()[0].find(record(1)), std::string::npos) << store.problems()[0];
    EXPECT_EQ(store.list().size(), 3u);
    EXPECT_EQ(store.find(ids_[1]), std::nullopt);
    EXPECT_TRUE(store.get(ids_[2]) == state_after(2));
  }
  { StateStore(dir_.path()).remove(ids_[2]); }
  { StateStore store(dir_.path()); }
  EXPECT_FALSE(std::filesystem::exists(record(2)));
  write_file(record(1), whole);
  StateStore store(dir_.path());
  EXPECT_TRUE(store.problems().empty());
  EXPECT_TRUE(store.get(ids_[1]) == state_after(2));
}

TEST_F(StateStoreFiles, ARecordUnderAnotherNameIsRefused) {
  const std::string stranger = new_state_id();
  std::filesystem::copy(record(0), dir_ / (stranger + ".json"));
  StateStore store(dir_.path());
  ASSERT_EQ(store.problems().size(), 1u);
  EXPECT_NE(store.problems()[0].find(stranger), std::string::npos) << store.problems()[0];
  EXPECT_EQ(records(store), records_);
}

TEST_F(StateStoreFiles, ARecordWithoutContentIsLeftOut) {
  std::filesystem::remove(content(0));
  StateStore store(dir_.path());
  ASSERT_EQ(store.problems().size(), 1u);
  EXPECT_NE(store.problems()[0].find(content(0)), std::string::npos) << store.problems()[0];
  EXPECT_EQ(store.list().size(), 3u);
  EXPECT_TRUE(std::filesystem::exists(record(0)));
}

TEST_F(StateStoreFiles, AFullDiskLosesNothing) {
  StateStore store(dir_.path());
  {
    const FullDisk disk(1000);  // less than a content
    expect_error({"cannot write", "File too large"}, [&] { store.put(state_after(8), "m"); });
  }
  {
    const FullDisk disk(200);  // less than a record
    expect_error({"cannot write", "File too large"}, [&] { store.fork(ids_[0]); });
    expect_error({"cannot write", "File too large"}, [&] { store.relabel(ids_[0], {}); });
  }
  EXPECT_EQ(records(store), records_);
  // Contents and records fit, zeros compress well, but not the index.
  store.relabel(ids_[0], {"root", {"x", "y"}, R"({"k":1})"});  // its log has begun
  {
    const FullDisk disk(2000);
    expect_error({"index.sqlite"}, [&] { store.put(State(kStateShape, kFingerprint), "m"); });
    expect_error({"index.sqlite"}, [&] { store.fork(ids_[0]); });
    // Whoever wants room makes it: the records are what counts.
    store.remove(ids_[0]);
    EXPECT_EQ(store.find(ids_[0]), std::nullopt);
    EXPECT_EQ(store.find("root"), std::nullopt);
    EXPECT_TRUE(store.get(ids_[1]) == state_after(2));
    EXPECT_EQ(store.list().size(), 3u);
    StateStore other(dir_.path());
    EXPECT_EQ(other.list().size(), 3u);
    other.remove(ids_[3]);
    EXPECT_EQ(store.find("late"), std::nullopt);
  }
  EXPECT_EQ(ids_of(store.list()), (std::vector<std::string>{ids_[1], ids_[2]}));
  EXPECT_EQ(files_of(dir_.path(), ".zst").size(), 1u);
  EXPECT_EQ(files_of(dir_.path(), ".json").size(), 2u);
  EXPECT_EQ(files_of(dir_.path(), ".new").size(), 0u);
  const std::string id = store.put(state_after(8), "m");
  EXPECT_TRUE(store.get(id) == state_after(8));
}

TEST(StateStoreFolder, ThatCannotBeMadeIsExplained) {
  const TempDir dir;
  write_file(dir / "file", "");
  expect_error({dir / "file/states"}, [&] { StateStore store(dir / "file/states"); });
}

}  // namespace
}  // namespace anser
