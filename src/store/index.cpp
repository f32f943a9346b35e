#include "store/index.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <span>
#include <string_view>

namespace anser {
namespace {

constexpr int kVersion = 1;          // of the table below
constexpr int kPatienceMs = 10'000;  // with other processes that write

// What is searched for has columns of its own; the rest is in the record.
constexpr const char* kSchema = R"(
  CREATE TABLE states(
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
  ) WITHOUT ROWID;
  CREATE INDEX by_parent ON states(parent);
  CREATE INDEX by_content ON states(content, stored_bytes, pinned, last_used);
  CREATE INDEX by_age ON states(created);
)";

// States tell what was said, and so do their labels: nobody but the owner shall read the index, nor
// what SQLite puts beside it, which has the same mode. Who cannot make it is told so by SQLite.
void make_private(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return;
  ::fchmod(fd, 0600);
  ::close(fd);
}

}  // namespace

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

Index::Index(const std::string& path) : path_(path), database_(nullptr, sqlite3_close) {
  make_private(path);
  sqlite3* database = nullptr;
  // Whoever has the Index uses it in one thread at a time.
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  const int code = sqlite3_open_v2(path.c_str(), &database, flags, nullptr);
  database_.reset(database);
  if (code != SQLITE_OK) fail(code);
  sqlite3_busy_timeout(database, kPatienceMs);
  // Readers do not wait for writers. The disk is not waited for either: a power cut may cost the
  // index its last rows, which come back from their records when the store is opened.
  run("PRAGMA journal_mode = WAL");
  run("PRAGMA synchronous = NORMAL");

  if (version() == 0) {
    Transaction transaction(*this);
    if (version() == 0) {  // still: nobody else has been faster
      run(kSchema);
      run(fmt::format("PRAGMA user_version = {}", kVersion).c_str());
      is_new_ = true;
    }
    transaction.commit();
  }
  if (version() != kVersion) {
    throw IndexDamaged(fmt::format("{}: an index of version {}, this program reads version {}",
                                   path_, version(), kVersion));
  }
}

Index::~Index() = default;

int64_t Index::version() {
  Statement query(*this, "PRAGMA user_version");
  query.step();
  return query.integer(0);
}

void Index::run(const char* sql) {
  const int code = sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code);
}

void Index::fail(int code) const {
  const char* why = database_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(database_.get());
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      throw IndexDamaged(
          fmt::format("{}: the index of the store is damaged ({}). End what uses the store, delete "
                      "this file, and open the store again: the index is made again from the "
                      "states' files",
                      path_, why));
    case SQLITE_BUSY:
      throw Error(fmt::format("{}: another process has been writing to the store for {} s", path_,
                              kPatienceMs / 1000));
    default:
      throw Error(fmt::format("{}: {}", path_, why));
  }
}

Index::Transaction::Transaction(Index& index) : index_(index) {
  index.run("BEGIN IMMEDIATE");
}

Index::Transaction::~Transaction() {
  // It may have been rolled back already, by the failure that leads here.
  if (open_) sqlite3_exec(index_.database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Index::Transaction::commit() {
  index_.run("COMMIT");
  open_ = false;
}

// Of a row of record, name, last_used.
StateInfo Index::info_of(const Statement& row) const {
  const std::string record = row.text(0);
  StateInfo info = parse_record(std::as_bytes(std::span(record)), path_);
  // Two records may claim a name; the index knows which has it.
  info.labels.name = row.text(1);
  info.last_used = row.real(2);
  return info;
}

std::optional<StateInfo> Index::find(const std::string& id) {
  Statement query(*this, "SELECT record, name, last_used FROM states WHERE id = ?");
  query.bind(id);
  if (!query.step()) return std::nullopt;
  return info_of(query);
}

std::optional<StateInfo> Index::find_by_name(const std::string& name) {
  Statement query(*this, "SELECT record, name, last_used FROM states WHERE name = ?");
  query.bind(name);
  if (!query.step()) return std::nullopt;
  return info_of(query);
}

std::vector<StateInfo> Index::list(const std::string& parent) {
  Statement query(*this, parent.empty()
                             ? "SELECT record, name, last_used FROM states ORDER BY created, id"
                             : "SELECT record, name, last_used FROM states WHERE parent = ? "
                               "ORDER BY created, id");
  if (!parent.empty()) query.bind(parent);
  std::vector<StateInfo> all;
  while (query.step()) all.push_back(info_of(query));
  return all;
}

std::vector<Index::Row> Index::rows(const std::string& parent, const std::optional<Place>& after,
                                    bool newest_first, int64_t count) {
  std::string sql = "SELECT record, name, last_used, id, created FROM states WHERE 1";
  if (!parent.empty()) sql += " AND parent = ?";
  if (after) sql += fmt::format(" AND (created, id) {} (?, ?)", newest_first ? '<' : '>');
  sql += fmt::format(" ORDER BY created {0}, id {0} LIMIT ?", newest_first ? "DESC" : "ASC");
  Statement query(*this, sql.c_str());
  if (!parent.empty()) query.bind(parent);
  if (after) query.bind(after->created).bind(after->id);
  query.bind(count);
  std::vector<Row> rows;
  while (query.step()) {
    Row row{{query.real(4), query.text(3)}, std::nullopt};
    try {
      row.info = info_of(query);
    } catch (const Error&) {
      // Whoever asks for it by its id is told.
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::optional<Index::Place> Index::place_of(const std::string& id) {
  Statement query(*this, "SELECT created FROM states WHERE id = ?");
  query.bind(id);
  if (!query.step()) return std::nullopt;
  return Place{query.real(0), id};
}

void Index::insert(const StateInfo& info, const RecordStamp& stamp) {
  const std::string record = to_record(info);
  Statement change(*this,
                   "REPLACE INTO states(id, parent, name, content, stored_bytes, pinned, created, "
                   "last_used, record_mtime, record_inode, record) "
                   "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  change.bind(info.id).bind(info.parent);
  if (info.labels.name.empty()) {
    change.bind_null();
  } else {
    change.bind(info.labels.name);
  }
  change.bind(info.content).bind(int64_t(info.stored_bytes)).bind(int64_t(info.pinned()));
  change.bind(info.created).bind(info.last_used).bind(stamp.mtime_ns).bind(stamp.inode);
  change.bind(record).step();
}

void Index::erase(const std::string& id) {
  Statement(*this, "DELETE FROM states WHERE id = ?").bind(id).step();
}

void Index::touch(const std::string& id, double last_used) {
  Statement(*this, "UPDATE states SET last_used = ? WHERE id = ?").bind(last_used).bind(id).step();
}

uint64_t Index::stored_bytes() {
  Statement query(*this,
                  "SELECT total(bytes) FROM "
                  "(SELECT max(stored_bytes) AS bytes FROM states GROUP BY content)");
  query.step();
  return uint64_t(query.real(0));
}

bool Index::has_content(const std::string& content) {
  return Statement(*this, "SELECT 1 FROM states WHERE content = ?").bind(content).step();
}

std::optional<Index::Shared> Index::coldest(const std::string& kept) {
  Shared shared;
  {
    Statement query(*this,
                    "SELECT content, max(stored_bytes) FROM states WHERE content != ? "
                    "GROUP BY content HAVING max(pinned) = 0 ORDER BY max(last_used) LIMIT 1");
    query.bind(kept);
    if (!query.step()) return std::nullopt;
    shared.content = query.text(0);
    shared.bytes = uint64_t(query.integer(1));
  }
  Statement query(*this, "SELECT id FROM states WHERE content = ?");
  query.bind(shared.content);
  while (query.step()) shared.ids.push_back(query.text(0));
  return shared;
}

std::map<std::string, Index::Entry> Index::entries() {
  Statement query(*this, "SELECT id, record_mtime, record_inode, content FROM states");
  std::map<std::string, Entry> all;
  while (query.step()) {
    all[query.text(0)] = {{query.integer(1), query.integer(2)}, query.text(3)};
  }
  return all;
}

}  // namespace anser
