// Whether the file of an index is still what it was made as.
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <span>

#include "formats/checks.h"
#include "store/index.h"
#include "store/index_statement.h"
#include "store/index_tables.h"

namespace anser {
namespace {

// A number of a version that no program will have, but a damaged page may.
constexpr int64_t kNoVersion = 1000;

}  // namespace

void Index::check_version() {
  const int64_t found = version();
  if (found == kIndexVersion) return;
  if (found <= 0 || found > kNoVersion) fail_damaged(fmt::format("its version is {}", found));
  const std::string told = fmt::format(
      "the store's index has version {}, this program reads version {}", found, kIndexVersion);
  throw IndexOfOtherVersion(
      fmt::format("{}: {}: use the newer program that has written it, or delete this file, which "
                  "is made again from the states' files",
                  path_, told),
      told);
}

// Who reads in the header that the file has no log works without that of others, or waits for them.
// The bytes come through SQLite: closing a file of one's own would undo its locks.
void Index::check_header(bool new_too) {
  constexpr unsigned char kHasLog = 2;
  constexpr size_t kPlace = 18;  // of two bytes
  sqlite3_file* file = nullptr;
  sqlite3_file_control(database_.get(), "main", SQLITE_FCNTL_FILE_POINTER, &file);
  sqlite3_int64 size = 0;
  unsigned char header[kPlace + 2];
  if (file == nullptr || file->pMethods == nullptr) return;
  if (file->pMethods->xFileSize(file, &size) != SQLITE_OK || (size == 0 && new_too)) return;
  const int code = file->pMethods->xRead(file, header, sizeof(header), 0);
  if (code != SQLITE_OK && code != SQLITE_IOERR_SHORT_READ) fail(code);
  if (code != SQLITE_OK || header[kPlace] != kHasLog || header[kPlace + 1] != kHasLog) {
    fail_damaged("its header is not as it was made");
  }
}

// Rows that are looked for elsewhere than they lie are not found.
void Index::check_tables() {
  for (const char* table : kIndexTables) {
    const std::string sql = table;
    if (Statement(*this, "SELECT 1 FROM sqlite_schema WHERE sql = ?").bind(sql).step()) continue;
    fail_damaged("a table is not as it was made");
  }
}

// What is searched for says the same as the record beside it, which has a checksum: a name that is
// not where it is looked for hides its state, and no tree of SQLite would be wrong.
void Index::check_rows() {
  Statement row(*this,
                "SELECT record, id, parent, name, content, stored_bytes, pinned, created "
                "FROM states");
  while (row.step()) {
    const std::string record = row.text(0);
    try {
      const StateInfo info = parse_record(std::as_bytes(std::span(record)), path_);
      const bool same = row.text(1) == info.id && row.text(2) == info.parent &&
                        row.text(3) == info.labels.name && row.text(4) == info.content &&
                        row.integer(5) == int64_t(info.stored_bytes) &&
                        row.integer(6) == int64_t(info.pinned()) && row.real(7) == info.created;
      if (same) continue;
    } catch (const Error&) {
      // It is damaged, too.
    }
    fail_damaged(fmt::format("the row of {} is not as it was made", printable(row.text(1))));
  }
}

Index::Stamp Index::stamp() const {
  struct stat status {};
  if (::stat(path_.c_str(), &status) != 0) return {};
  return {int64_t(status.st_ino), int64_t(status.st_size),
          int64_t(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec};
}

bool Index::moved() const {
  if (in_memory_) return false;
  int moved = 0;
  sqlite3_file_control(database_.get(), "main", SQLITE_FCNTL_HAS_MOVED, &moved);
  return moved != 0;
}

bool Index::is_checked() const {
  return in_memory_ || (checked_.inode != 0 && checked_ == stamp());
}

void Index::check() {
  if (in_memory_) return;
  const Stamp before = stamp();
  sqlite3_db_release_memory(database_.get());  // so that pages come from the disk
  check_header(/*new_too=*/false);
  check_version();
  check_tables();
  Statement query(*this, "PRAGMA integrity_check(1)");
  const std::string answer = query.step() ? query.text(0) : "no answer";
  if (answer != "ok") fail_damaged(answer);
  check_rows();
  checked_ = before;
}

}  // namespace anser
