#include "base/atomic_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/temporary_files.h"
#include "support/errors.h"
#include "support/full_disk.h"
#include "support/temp_dir.h"

namespace anser {
namespace {

using namespace support;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

int files_in(const std::string& folder) {
  return int(std::distance(std::filesystem::directory_iterator(folder), {}));
}

TEST(AtomicFile, AppearsWholeWhenCommitted) {
  const TempDir dir;
  write_file(dir / "f", "old");
  AtomicFile file(dir / "f");
  file.reserve(7);
  file.write(bytes_of("new "));
  EXPECT_EQ(read_file(dir / "f"), "old");
  file.write(bytes_of("one"));
  file.commit();
  EXPECT_EQ(read_file(dir / "f"), "new one");
  EXPECT_EQ(files_in(dir.path()), 1);
}

TEST(AtomicFile, LeavesNothingWithoutCommit) {
  const TempDir dir;
  write_file(dir / "f", "old");
  for (const char* name : {"f", "g"}) {
    AtomicFile file(dir / name);
    file.write(bytes_of("half of it"));
  }
  EXPECT_EQ(read_file(dir / "f"), "old");
  EXPECT_EQ(files_in(dir.path()), 1);
}

TEST(AtomicFile, AFullDiskLeavesTheOldFile) {
  const TempDir dir;
  write_file(dir / "f", "old");
  const std::string large(100000, 'x');
  {
    const FullDisk disk(50000);
    expect_error({"cannot write", dir / "f"}, [&] {
      AtomicFile file(dir / "f");
      file.write(bytes_of(large));
    });
    // Announced, it shows before anything is written.
    expect_error({"cannot write", dir / "f", "100000 bytes"}, [&] {
      AtomicFile file(dir / "f");
      file.reserve(large.size());
    });
    expect_error({"cannot write"}, [&] { write_file_atomically(dir / "f", bytes_of(large)); });
  }
  EXPECT_EQ(read_file(dir / "f"), "old");
  EXPECT_EQ(files_in(dir.path()), 1);
}

TEST(AtomicFile, SaysWhyItCannotWrite) {
  const TempDir dir;
  expect_error({"cannot write", "/no/such/f", "No such file"}, [] { AtomicFile("/no/such/f"); });
  expect_error({"cannot write", dir.path()}, [&] { AtomicFile file(dir.path()); });
  expect_error({"No space left"}, [] { write_file_atomically("/dev/full", bytes_of("x")); });
}

mode_t mode_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(lstat(path.c_str(), &status), 0) << path;
  return status.st_mode & 0777;
}

TEST(AtomicFile, FollowsLinksAndLeavesThem) {
  const TempDir dir;
  std::filesystem::create_directory(dir / "elsewhere");
  std::filesystem::create_symlink("elsewhere/f", dir / "near");
  std::filesystem::create_symlink("near", dir / "link");
  for (const char* text : {"first", "second"}) {  // where nothing is yet, and where something is
    write_file_atomically(dir / "link", bytes_of(text));
    EXPECT_EQ(read_file(dir / "elsewhere/f"), text);
  }
  EXPECT_TRUE(std::filesystem::is_symlink(dir / "link"));
  EXPECT_TRUE(std::filesystem::is_symlink(dir / "near"));
  EXPECT_EQ(files_in(dir / "elsewhere"), 1);
  std::filesystem::create_symlink("round", dir / "round");
  expect_error({"cannot write", "links"}, [&] { AtomicFile file(dir / "round"); });
}

TEST(AtomicFile, ALinkThatAStrangerPutIntoASharedFolderIsNotFollowed) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can make files of others";
  const TempDir dir;
  write_file(dir / "mine", "mine");
  std::filesystem::create_directory(dir / "tmp");
  ASSERT_EQ(chmod((dir / "tmp").c_str(), 01777), 0);
  std::filesystem::create_symlink(dir / "mine", dir / "tmp/bait");
  ASSERT_EQ(lchown((dir / "tmp/bait").c_str(), 65534, 65534), 0);
  expect_error({"cannot write", "Permission denied"}, [&] { AtomicFile file(dir / "tmp/bait"); });
  EXPECT_EQ(read_file(dir / "mine"), "mine");
}

TEST(AtomicFile, ANameMayBeAsLongAsTheSystemAllows) {
  const TempDir dir;
  const std::string longest(255, 'n');
  write_file_atomically(dir / longest, bytes_of("x"));
  EXPECT_EQ(read_file(dir / longest), "x");
  // Before anything is written.
  expect_error({"cannot write", "too long"}, [&] { AtomicFile file(dir / (longest + "n")); });
}

TEST(AtomicFile, WhoMayReadIt) {
  const TempDir dir;
  write_file(dir / "f", "old");
  ASSERT_EQ(chmod((dir / "f").c_str(), 0644), 0);
  write_file_atomically(dir / "f", bytes_of("x"));
  EXPECT_EQ(mode_of(dir / "f"), 0644u);
  ASSERT_EQ(chmod((dir / "f").c_str(), 0640), 0);
  write_file_atomically(dir / "f", bytes_of("x"));
  EXPECT_EQ(mode_of(dir / "f"), 0640u);
  write_file_atomically(dir / "f", bytes_of("x"), Readers::owner);
  EXPECT_EQ(mode_of(dir / "f"), 0600u);
}

TEST(AtomicFile, TemporaryNamesCannotBeGuessed) {
  const TempDir dir;
  const AtomicFile one(dir / "f"), other(dir / "f");
  EXPECT_NE(one.written_path(), other.written_path());
  for (const AtomicFile* file : {&one, &other}) {
    const std::filesystem::path path = file->written_path();
    EXPECT_EQ(path.parent_path(), dir.path());
    EXPECT_TRUE(is_temporary_name(path.filename().string()));
  }
  EXPECT_FALSE(is_temporary_name("f.123.new"));
}

TEST(AtomicFile, AProcessThatEndsDeletesWhatIsNotFinished) {
  const TempDir dir;
  write_file(dir / "done", "old");
  AtomicFile done(dir / "done"), unfinished(dir / "unfinished");
  done.write(bytes_of("new"));
  done.commit();
  delete_temporary_files();
  EXPECT_EQ(read_file(dir / "done"), "new");
  EXPECT_EQ(files_in(dir.path()), 1);
  expect_error({"cannot write"}, [&] { unfinished.commit(); });
}

TEST(AtomicFile, WritesIntoAPipe) {
  const TempDir dir;
  ASSERT_EQ(mkfifo((dir / "pipe").c_str(), 0600), 0);
  const int reader = open((dir / "pipe").c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  write_file_atomically(dir / "pipe", bytes_of("through"));
  char text[16];
  const ssize_t n = read(reader, text, sizeof(text));
  close(reader);
  EXPECT_EQ(std::string(text, size_t(std::max<ssize_t>(n, 0))), "through");
  EXPECT_EQ(files_in(dir.path()), 1);
}

}  // namespace
}  // namespace anser
