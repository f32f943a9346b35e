#include "store/index.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <span>

#include "store/index_statement.h"
#include "store/index_tables.h"
#include "store/state_id.h"

namespace anser {
namespace {

constexpr int kPatienceMs = 10'000;  // with other processes that write
constexpr int kLongLog = 1000;       // pages, of 4 KiB
constexpr int kMaxText = 1 << 20;    // bytes of a column: a record's note has at most 64 KiB

// States tell what was said, and so do their labels: nobody but the owner shall read the index, nor
// what SQLite puts beside it, which has the same mode. Who cannot make it is told so by SQLite. A
// file that is there is not opened: closing it would undo the locks of SQLite in this process.
void make_private(const std::string& path, bool create) {
  if (create) {
    const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_CREAT | O_EXCL;
    const int fd = ::open(path.c_str(), flags, 0600);
    if (fd >= 0) ::close(fd);
  }
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return;
  if ((status.st_mode & 0777) != 0600) ::chmod(path.c_str(), 0600);
}

}  // namespace

Index::Index(const std::string& path, const StoreFiles& files, const Fill& fill)
    : path_(path), in_memory_(false), files_(files), database_(nullptr, sqlite3_close) {
  make_private(path, fill != nullptr);
  open(path.c_str(), fill != nullptr);
  check_header(/*new_too=*/fill != nullptr);
  // Readers do not wait for writers. The disk is not waited for either: a power cut may cost the
  // index its last rows, which come back from their records when the store is opened.
  run("PRAGMA journal_mode = WAL");
  run("PRAGMA synchronous = NORMAL");
  sqlite3_wal_hook(database_.get(), &Index::tidy_log, this);
  if (version() == 0 && fill != nullptr) create(fill);
  check_version();
}

Index::Index(const StoreFiles& files, const Fill& fill)
    : path_(files.index()), in_memory_(true), files_(files), database_(nullptr, sqlite3_close) {
  open(":memory:", true);
  create(fill);
}

Index::~Index() = default;

void Index::open(const char* path, bool create) {
  sqlite3* database = nullptr;
  // Whoever has the Index uses it in one thread at a time.
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);
  const int code = sqlite3_open_v2(path, &database, flags, nullptr);
  database_.reset(database);
  if (code != SQLITE_OK) fail(code);
  sqlite3_busy_timeout(database, kPatienceMs);
  sqlite3_limit(database, SQLITE_LIMIT_LENGTH, kMaxText);  // whatever a damaged page claims
}

void Index::create(const Fill& fill) {
  Transaction transaction(*this);
  if (version() == 0) {  // still: nobody else has been faster
    for (const char* table : kIndexTables) run(table);
    run(fmt::format("PRAGMA user_version = {}", kIndexVersion).c_str());
    fill(*this);
    transaction.commit();
    checked_ = stamp();
  }
}

int64_t Index::version() {
  Statement query(*this, "PRAGMA user_version");
  query.step();
  return query.integer(0);
}

// After a commit: what the log has is put into the file when there is much of it. SQLite would do
// that by itself, but then the file would look as if somebody had touched it.
int Index::tidy_log(void* self, sqlite3* database, const char* name, int pages) {
  if (pages < kLongLog) return SQLITE_OK;
  Index& index = *static_cast<Index*>(self);
  const bool was_checked = index.is_checked();
  sqlite3_wal_checkpoint_v2(database, name, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (was_checked) index.checked_ = index.stamp();
  return SQLITE_OK;
}

void Index::run(const char* sql) {
  const int code = sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code);
}

void Index::fail_damaged(const std::string& why) const {
  throw IndexDamaged(fmt::format("{}: the index of the store is damaged ({})", path_, why),
                     kToldFailed);
}

void Index::fail(int code) const {
  const std::string why =
      database_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(database_.get());
  const bool of_system = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN;
  const int system = database_ != nullptr && of_system ? sqlite3_system_errno(database_.get()) : 0;
  const std::string what = fmt::format("{}: {}", path_, why);
  if (database_ != nullptr && moved()) throw IndexMoved(what, kToldFailed);
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    // What is asked is always the same, so these are about what it meets.
    case SQLITE_ERROR:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_FORMAT:
      fail_damaged(why);
    case SQLITE_BUSY:
    case SQLITE_PROTOCOL: {
      const std::string told =
          fmt::format("another process has been writing to the store for {} s", kPatienceMs / 1000);
      throw StatesUnavailable(fmt::format("{}: {}", path_, told), told);
    }
    case SQLITE_FULL:
      throw StoreFull(what, kToldFull);
    default:
      fail_as(system, what);
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

// Of a row of record, name, last_used, id.
StateInfo Index::info_of(const Statement& row) const {
  const std::string record = row.text(0);
  StateInfo info;
  try {
    info = parse_record(std::as_bytes(std::span(record)), path_);
  } catch (const Error&) {
    std::optional<StateInfo> read;
    if (const std::string id = row.text(3); is_state_id(id)) read = files_.read_record(id);
    if (!read) throw IndexDamaged(fmt::format("{}: a row is damaged", path_), kToldFailed);
    info = *std::move(read);
  }
  // Two records may claim a name; the index knows which has it.
  if (info.labels.name != row.text(1)) info.labels.name.clear();
  // What no clock has said is not true; and what has, is later than the state.
  const double last_used = row.real(2);
  if (std::isfinite(last_used)) info.last_used = std::max(info.created, last_used);
  return info;
}

std::optional<StateInfo> Index::find(const std::string& id) {
  Statement query(*this, "SELECT record, name, last_used, id FROM states WHERE id = ?");
  query.bind(id);
  if (!query.step()) return std::nullopt;
  return info_of(query);
}

std::optional<StateInfo> Index::find_by_name(const std::string& name) {
  Statement query(*this, "SELECT record, name, last_used, id FROM states WHERE name = ?");
  query.bind(name);
  if (!query.step()) return std::nullopt;
  return info_of(query);
}

std::vector<StateInfo> Index::list(const std::string& parent) {
  Statement query(*this, parent.empty()
                             ? "SELECT record, name, last_used, id FROM states ORDER BY created, id"
                             : "SELECT record, name, last_used, id FROM states WHERE parent = ? "
                               "ORDER BY created, id");
  if (!parent.empty()) query.bind(parent);
  std::vector<StateInfo> all;
  while (query.step()) {
    try {
      all.push_back(info_of(query));
    } catch (const Error&) {
      // Nor does its record tell: what cannot be read is said when the store is opened.
    }
  }
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

std::set<std::string> Index::contents() {
  Statement query(*this, "SELECT DISTINCT content FROM states");
  std::set<std::string> all;
  while (query.step()) all.insert(query.text(0));
  return all;
}

std::map<std::string, Index::Entry> Index::entries() {
  Statement query(*this, "SELECT id, record_mtime, record_inode, content, last_used FROM states");
  std::map<std::string, Entry> all;
  while (query.step()) {
    all[query.text(0)] = {{query.integer(1), query.integer(2)}, query.text(3), query.real(4)};
  }
  return all;
}

}  // namespace anser
