// What the Index asks SQLite.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <string>

#include "store/index.h"

namespace anser {

// A prepared statement; values are bound in the order of its question marks.
class Index::Statement {
 public:
  Statement(const Index& index, const char* sql) : index_(index) {
    const int code = sqlite3_prepare_v2(index.database_.get(), sql, -1, &statement_, nullptr);
    if (code != SQLITE_OK) index.fail(code);
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // The text must live as long as the statement.
  Statement& bind(const std::string& text) {
    return bound(sqlite3_bind_text(statement_, ++bound_, text.data(), int(text.size()), nullptr));
  }
  Statement& bind(std::string&&) = delete;
  Statement& bind(int64_t value) { return bound(sqlite3_bind_int64(statement_, ++bound_, value)); }
  Statement& bind(double value) { return bound(sqlite3_bind_double(statement_, ++bound_, value)); }
  Statement& bind_null() { return bound(sqlite3_bind_null(statement_, ++bound_)); }

  // To the next row; false when there is none.
  bool step() {
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code != SQLITE_DONE) index_.fail(code);
    return false;
  }
  std::string text(int column) const {
    const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return bytes == nullptr ? ""
                            : std::string(bytes, size_t(sqlite3_column_bytes(statement_, column)));
  }
  int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  double real(int column) const { return sqlite3_column_double(statement_, column); }

 private:
  Statement& bound(int code) {
    if (code != SQLITE_OK) index_.fail(code);
    return *this;
  }

  const Index& index_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
};

}  // namespace anser
