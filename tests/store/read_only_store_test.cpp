#include "store/read_only_store.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <filesystem>
#include <map>

#include "store/sample_states.h"
#include "store/state_store.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace anser {
namespace {

using namespace support;

// What is there, byte for byte.
std::map<std::string, std::string> all_files(const std::string& folder) {
  std::map<std::string, std::string> all;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    all[file.path().filename().string()] = read_file(file.path().string());
  }
  return all;
}

std::vector<std::string> described(States& store) {
  std::vector<std::string> all;
  for (const StateInfo& info : store.list()) {
    all.push_back(to_record(info) + std::to_string(info.last_used));
  }
  return all;
}

class ReadOnly : public testing::Test {
 protected:
  ReadOnly() {
    StateStore store(dir_.path());
    first_ = store.put(state_after(1), "a model", "", {"root", {"x"}, ""});
    fork_ = store.fork(first_, {"branch", {}, "1"});
    store.get(first_);
  }
  std::vector<std::string> expected() {
    StateStore store(dir_.path());
    return described(store);
  }

  TempDir dir_;
  std::string first_, fork_;
};

TEST_F(ReadOnly, SeesWhatThereIsAndWritesNothing) {
  const std::vector<std::string> expected = this->expected();
  const auto before = all_files(dir_.path());
  {
    ReadOnlyStore store(dir_.path());
    EXPECT_EQ(described(store), expected);
    EXPECT_EQ(store.find("branch")->id, fork_);
    EXPECT_EQ(store.find(first_)->labels.name, "root");
    EXPECT_FALSE(store.find("nobody"));
    EXPECT_EQ(store.list({.tag = "x"}).size(), 1u);
    EXPECT_EQ(store.list({.parent = first_}).size(), 1u);
    EXPECT_TRUE(store.get(fork_) == state_after(1));
    EXPECT_TRUE(store.problems().empty());
    expect_error({"read only"}, [&] { store.fork(first_, {}); });
    expect_error({"read only"}, [&] { store.remove(first_); });
  }
  EXPECT_EQ(all_files(dir_.path()), before);
}

TEST_F(ReadOnly, BesideWhoWrites) {
  StateStore writer(dir_.path());
  const std::string late = writer.put(state_after(2), "a model", "", {"late", {}, ""});
  ReadOnlyStore store(dir_.path());
  EXPECT_EQ(described(store), described(writer));
  EXPECT_EQ(store.find("late")->id, late);
}

TEST_F(ReadOnly, NeedsNoIndex) {
  std::filesystem::remove(dir_ / "index.sqlite");
  EXPECT_EQ(ReadOnlyStore(dir_.path()).list().size(), 2u);
  write_file(dir_ / "index.sqlite", "no database");
  EXPECT_EQ(ReadOnlyStore(dir_.path()).list().size(), 2u);
}

// What was set aside because no record named it, and whose record is there again.
TEST_F(ReadOnly, ReadsContentsThatWereSetAside) {
  const std::string content = dir_.path() + "/" + first_ + ".zst";
  std::filesystem::rename(content, content + ".orphan");
  ReadOnlyStore store(dir_.path());
  EXPECT_TRUE(store.problems().empty());
  EXPECT_EQ(described(store).size(), 2u);
  EXPECT_TRUE(store.get(fork_) == state_after(1));
  EXPECT_TRUE(std::filesystem::exists(content + ".orphan"));
}

TEST_F(ReadOnly, NamesWhatIsDamaged) {
  write_file(dir_ / (first_ + ".json"), "half a record");
  const ReadOnlyStore store(dir_.path());
  ASSERT_EQ(store.problems().size(), 1u);
  EXPECT_NE(store.problems()[0].find(first_), std::string::npos);
}

TEST_F(ReadOnly, WaitsForNoPipeThatIsInTheIndexsPlace) {
  std::filesystem::remove(dir_ / "index.sqlite");
  ASSERT_EQ(::mkfifo((dir_ / "index.sqlite").c_str(), 0600), 0);
  EXPECT_FALSE(ReadOnlyStore(dir_.path()).list().empty());
}

TEST(ReadOnlyStore, MakesNoFolder) {
  const TempDir dir;
  expect_error({"no store", dir / "typo"}, [&] { ReadOnlyStore store(dir / "typo"); });
  EXPECT_FALSE(std::filesystem::exists(dir / "typo"));
  write_file(dir / "file", "x");
  expect_error({"no store", "Not a directory"}, [&] { ReadOnlyStore store(dir / "file"); });
}

}  // namespace
}  // namespace anser
