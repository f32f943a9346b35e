#include "formats/zip_directory.h"

#include <gtest/gtest.h>

#include "formats/builders.h"

namespace anser {
namespace {

using builders::as_bytes;
using builders::raw;
using builders::zip;
using builders::ZipFile;

// In the shape of a parser, for the helpers.
TensorFile parse_zip(std::span<const std::byte> bytes, const std::string& path) {
  for (const ZipEntry& entry : read_zip_directory(bytes, path)) {
    EXPECT_GE(entry.data.data(), bytes.data());
    EXPECT_LE(entry.data.data() + entry.data.size(), bytes.data() + bytes.size());
  }
  return {};
}

void expect_error(const std::string& bytes, const std::vector<std::string>& words) {
  builders::expect_error(parse_zip, bytes, words);
}

std::string text(const ZipEntry& entry) {
  return {reinterpret_cast<const char*>(entry.data.data()), entry.data.size()};
}

const std::vector<ZipFile> kTwo = {{"m/a", "first"}, {"m/folder/", ""}, {"m/b", "second"}};

void expect_two(const std::string& bytes) {
  const auto entries = read_zip_directory(as_bytes(bytes), "file");
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].name, "m/a");
  EXPECT_EQ(text(entries[0]), "first");
  EXPECT_EQ(entries[1].name, "m/b");
  EXPECT_EQ(text(entries[1]), "second");
}

// Writes `value` over the bytes at `offset` behind the last occurrence of `signature`.
template <typename T>
std::string patched(std::string bytes, const std::string& signature, size_t offset, T value) {
  const size_t at = bytes.rfind(signature);
  EXPECT_NE(at, std::string::npos);
  return bytes.replace(at + offset, sizeof(T), raw(value));
}

TEST(ZipDirectory, FindsEntries) {
  expect_two(zip(kTwo));
}

TEST(ZipDirectory, SizesInTheLocalHeader) {
  std::vector<ZipFile> files = kTwo;
  for (ZipFile& file : files) file.flags = 0;
  expect_two(zip(files));
}

TEST(ZipDirectory, Zip64EntriesAndEndRecord) {
  std::vector<ZipFile> files = kTwo;
  files[0].zip64 = true;
  expect_two(zip(files));
  expect_two(zip(files, true));
  expect_two(zip(kTwo, true));
}

TEST(ZipDirectory, ArchiveComment) {
  const std::string comment = "a comment with PK\5\6 in it";
  expect_two(patched<uint16_t>(zip(kTwo), "PK\5\6", 20, comment.size()) + comment);
}

TEST(ZipDirectory, CutOff) {
  expect_error("PK\3\4", {"cut off"});
  expect_error(zip(kTwo).substr(0, 200), {"no directory", "cut off"});
}

TEST(ZipDirectory, CompressedAndEncrypted) {
  std::vector<ZipFile> files = kTwo;
  files[2].method = 8;
  expect_error(zip(files), {"'m/b'", "compressed", "method 8", "torch.save"});
  files[2].method = 0;
  files[2].flags |= 1;
  expect_error(zip(files), {"'m/b'", "encrypted"});
}

TEST(ZipDirectory, DuplicateNames) {
  expect_error(zip({{"m/a", "1"}, {"m/a", "2"}}), {"two entries", "'m/a'"});
}

TEST(ZipDirectory, EntriesBeyondTheFile) {
  const std::string good = zip(kTwo);
  // In a directory entry: compressed size at 20, size at 24, local header at 42.
  expect_error(patched<uint32_t>(patched<uint32_t>(good, "PK\1\2", 20, 5000), "PK\1\2", 24, 5000),
               {"'m/b'", "5000 bytes", "does not lie within"});
  expect_error(patched<uint32_t>(good, "PK\1\2", 20, 5), {"'m/b'", "two sizes"});
  expect_error(patched<uint32_t>(good, "PK\1\2", 42, 1 << 30), {"'m/b'", "does not lie within"});
  expect_error(patched<uint32_t>(good, "PK\1\2", 42, 0), {"header at byte 0", "'m/b'"});
  expect_error(patched<uint32_t>(good, "PK\1\2", 42, 5), {"no header", "'m/b'"});
  expect_error(patched<uint32_t>(good, "PK\1\2", 42, 0xffffffff), {"'m/b'", "zip64"});
}

TEST(ZipDirectory, DirectoryBeyondTheFile) {
  const std::string good = zip(kTwo);
  // In the end record: entries at 10, size at 12, offset at 16.
  expect_error(patched<uint32_t>(good, "PK\5\6", 16, 1 << 30), {"directory lies at"});
  expect_error(patched<uint32_t>(good, "PK\5\6", 12, 1 << 30), {"directory lies at"});
  expect_error(patched<uint16_t>(good, "PK\5\6", 10, 60000), {"60000 entries"});
  expect_error(patched<uint16_t>(good, "PK\5\6", 10, 4), {"directory"});
  const std::string large = zip(kTwo, true);
  const uint64_t huge = ~uint64_t{0} - 10;
  expect_error(patched<uint64_t>(large, "PK\6\7", 8, huge), {"zip64 record"});
  expect_error(patched<uint64_t>(large, "PK\6\6", 48, huge), {"directory lies at"});
  expect_error(patched<uint64_t>(large, "PK\6\6", 40, huge), {"directory lies at"});
  expect_error(patched<uint64_t>(large, "PK\6\6", 32, huge), {"entries"});
}

TEST(ZipDirectory, DamagedFilesNeverCrash) {
  std::vector<ZipFile> files = kTwo;
  files[0].zip64 = true;
  // The end record stands last, so nothing shorter is an archive.
  EXPECT_EQ(builders::parse_damaged(parse_zip, zip(files, true)), 0);
}

}  // namespace
}  // namespace anser
