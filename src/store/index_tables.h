// What the index of a store is made of, and how it must be found again (index_checks.cpp).
#pragma once

namespace anser {

inline constexpr int kIndexVersion = 1;  // of the tables below

// What is searched for has columns of its own; the rest is in the record.
inline constexpr const char* kIndexTables[] = {R"(CREATE TABLE states(
    id TEXT PRIMARY KEY,
    parent TEXT NOT NULL,
    name TEXT UNIQUE,
    content TEXT NOT NULL,
    stored_bytes INTEGER NOT NULL,
    pinned INTEGER NOT NULL,
    created REAL NOT NULL,
    last_used REAL NOT NULL,
    record_mtime INTEGER NOT NULL,
    record_inode INTEGER NOT NULL,
    record TEXT NOT NULL
  ) WITHOUT ROWID)",
                                               "CREATE INDEX by_parent ON states(parent)",
                                               ("CREATE INDEX by_content ON states(content, "
                                                "stored_bytes, pinned, last_used)"),
                                               "CREATE INDEX by_age ON states(created)"};

}  // namespace anser
