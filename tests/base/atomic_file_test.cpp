#include "base/atomic_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

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
