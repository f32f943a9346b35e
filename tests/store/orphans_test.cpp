// Contents that no record names, and files that cannot be deleted.
#include "store/orphans.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <ctime>

#include "store/sample_states.h"
#include "store/state_id.h"
#include "store/state_store.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace anser {
namespace {

using namespace support;
namespace fs = std::filesystem;

void make_old(const std::string& path, int hours) {
  const timespec times[] = {{std::time(nullptr) - hours * 3600, 0},
                            {std::time(nullptr) - hours * 3600, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
}

class OrphansTest : public testing::Test {
 protected:
  std::string content(const std::string& id) const { return dir_ / (id + ".zst"); }
  std::string orphan(const std::string& id) const { return content(id) + ".orphan"; }
  std::string record(const std::string& id) const { return dir_ / (id + ".json"); }

  const TempDir dir_;
};

TEST_F(OrphansTest, AreSetAsideAndDeletedADayLater) {
  const std::string id = new_state_id();
  write_file(content(id), "left by a writer that was killed");
  make_old(content(id), 100);  // the day begins when it is set aside
  for (int i = 0; i < 2; ++i) {
    StateStore store(dir_.path());
    EXPECT_FALSE(fs::exists(content(id)));
    EXPECT_TRUE(fs::exists(orphan(id)));
  }
  make_old(orphan(id), 23);
  { StateStore store(dir_.path()); }
  EXPECT_TRUE(fs::exists(orphan(id)));
  make_old(orphan(id), 25);
  { StateStore store(dir_.path()); }
  EXPECT_FALSE(fs::exists(orphan(id)));
}

// While others write only what is old is nobody's work; and that goes, too.
TEST_F(OrphansTest, AreTidiedByWhoComesWhileAServerRuns) {
  StateStore server(dir_.path());
  const std::string young = new_state_id(), old = new_state_id(), due = new_state_id();
  write_file(content(young), "x");
  write_file(content(old), "x");
  write_file(orphan(due), "x");
  make_old(content(old), 25);
  make_old(orphan(due), 25);
  { StateStore command(dir_.path()); }
  EXPECT_TRUE(fs::exists(content(young)));
  EXPECT_TRUE(fs::exists(orphan(old)));
  EXPECT_FALSE(fs::exists(orphan(due)));
}

// As when records are copied back later than contents.
TEST_F(OrphansTest, ComeBackWithTheirRecords) {
  std::string id;
  {
    StateStore store(dir_.path());
    id = store.put(state_after(1), "m", "", {"main", {}, ""});
  }
  fs::rename(record(id), dir_ / "aside");
  { StateStore store(dir_.path()); }
  EXPECT_TRUE(fs::exists(orphan(id)));
  fs::rename(dir_ / "aside", record(id));
  StateStore store(dir_.path());
  EXPECT_TRUE(store.problems().empty());
  EXPECT_TRUE(store.get(store.find("main")->id) == state_after(1));
  EXPECT_FALSE(fs::exists(orphan(id)));
}

// Of what a record that cannot be read names nothing is known.
TEST_F(OrphansTest, StayWhileARecordCannotBeRead) {
  std::string id, other;
  {
    StateStore store(dir_.path());
    id = store.put(state_after(1), "m");
    other = store.put(state_after(2), "m");
  }
  fs::remove(record(id));
  write_file(record(other), "garbage");
  write_file(orphan(new_state_id()), "x");
  make_old(orphan(files_of(dir_.path(), ".orphan").begin()->substr(0, 26)), 25);
  { StateStore store(dir_.path()); }
  EXPECT_TRUE(fs::exists(content(id)));
  EXPECT_EQ(files_of(dir_.path(), ".orphan").size(), 1u);
}

// They count, and go before states do.
TEST_F(OrphansTest, MakeRoomForStates) {
  uint64_t one = 0;
  std::string a;
  {
    StateStore store(dir_.path());
    a = store.put(state_after(1), "m");
    one = store.find(a)->stored_bytes;
  }
  const std::string old = new_state_id(), young = new_state_id();
  write_file(orphan(old), std::string(one, 'x'));
  write_file(orphan(young), std::string(one, 'x'));
  make_old(orphan(old), 2);
  StateStore store(dir_.path(), {.max_disk_bytes = 3 * one + one / 2});
  store.put(state_after(2), "m");
  EXPECT_FALSE(fs::exists(orphan(old)));
  EXPECT_TRUE(fs::exists(orphan(young)));
  store.put(state_after(3), "m");
  EXPECT_FALSE(fs::exists(orphan(young)));
  EXPECT_EQ(store.list().size(), 3u);
  store.put(state_after(4), "m");
  EXPECT_EQ(store.list().size(), 3u);
  EXPECT_EQ(store.find(a), std::nullopt);
}

// A folder in a file's place cannot be deleted, whoever tries.
TEST_F(OrphansTest, WhatCannotBeDeletedIsSaid) {
  StateStore store(dir_.path());
  const std::string a = store.put(state_after(1), "m"), b = store.put(state_after(2), "m");
  fs::rename(record(a), dir_ / "aside");
  fs::create_directory(record(a));
  expect_error({record(a), "cannot delete"}, [&] { store.remove(a); });
  fs::remove(record(a));
  fs::rename(dir_ / "aside", record(a));
  EXPECT_TRUE(store.get(a) == state_after(1));
  fs::remove(content(b));
  fs::create_directory(content(b));
  expect_error({content(b), "cannot delete"}, [&] { store.remove(b); });
  EXPECT_EQ(ids_of(store.list()), std::vector<std::string>{a});
}

}  // namespace
}  // namespace anser
