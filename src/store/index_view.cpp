#include "store/index_view.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include <memory>

namespace anser {
namespace {

using Database = std::unique_ptr<sqlite3, int (*)(sqlite3*)>;
using Query = std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)>;

constexpr int kPatienceMs = 10'000;  // with who writes meanwhile

// As SQLite wants the path of a file in a URI.
std::string uri_of(const std::string& path) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string uri = "file:";
  for (const char c : path) {
    if (c != '%' && c != '?' && c != '#') {
      uri += c;
      continue;
    }
    uri += '%';
    uri += kHex[static_cast<unsigned char>(c) >> 4];
    uri += kHex[c & 15];
  }
  return uri;
}

// Without a log nobody has it open, and all of it is in its file. Else what the log has is wanted,
// too, and whoever writes it has made the files that this needs.
Database open_to_read(const std::string& path) {
  struct stat file {
  }, log{};
  // What is no file, such as a pipe, might be waited for.
  if (::stat(path.c_str(), &file) != 0 || !S_ISREG(file.st_mode)) return {nullptr, sqlite3_close};
  const bool has_log = ::stat((path + "-wal").c_str(), &log) == 0 && log.st_size > 0;
  const std::string uri = uri_of(path) + (has_log ? "?mode=ro" : "?mode=ro&immutable=1");
  sqlite3* database = nullptr;
  const int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX;
  const int code = sqlite3_open_v2(uri.c_str(), &database, flags, nullptr);
  Database opened(database, sqlite3_close);
  if (code != SQLITE_OK) return {nullptr, sqlite3_close};
  sqlite3_busy_timeout(database, kPatienceMs);
  return opened;
}

std::string text_of(sqlite3_stmt* row, int column) {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(row, column));
  return bytes == nullptr ? "" : std::string(bytes, size_t(sqlite3_column_bytes(row, column)));
}

}  // namespace

std::map<std::string, IndexedState> view_index(const std::string& path) {
  std::map<std::string, IndexedState> states;
  const Database database = open_to_read(path);
  if (database == nullptr) return states;
  sqlite3_stmt* statement = nullptr;
  const char* const text = "SELECT id, name, last_used FROM states";
  sqlite3_prepare_v2(database.get(), text, -1, &statement, nullptr);
  const Query query(statement, sqlite3_finalize);
  if (query == nullptr) return states;
  // What a damaged one still gives is of use.
  while (sqlite3_step(statement) == SQLITE_ROW) {
    states[text_of(statement, 0)] = {text_of(statement, 1), sqlite3_column_double(statement, 2)};
  }
  return states;
}

}  // namespace anser
