// The index of a store: what is known of its states, in SQLite, so that they can be found without
// reading their records. The records are the truth; an index that is lost or damaged is made again
// from them.
//
// An Index is used by one thread at a time. Several processes may have the same file open; what
// they write they write in turns, waiting for each other for up to ten seconds.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "store/state_info.h"
#include "store/store_errors.h"
#include "store/store_files.h"

struct sqlite3;
struct sqlite3_stmt;

namespace anser {

// The file is no index of ours, or no longer one.
class IndexDamaged : public StoreFailed {
 public:
  using StoreFailed::StoreFailed;
};

// Another program's, newer than this one.
class IndexOfOtherVersion : public StoreFailed {
 public:
  using StoreFailed::StoreFailed;
};

// The file is not in its place any more: somebody has deleted it, or put another one there.
class IndexMoved : public StoreFailed {
 public:
  using StoreFailed::StoreFailed;
};

class Index {
 public:
  // What makes a new index tell what it shall; called within the transaction that makes it, so that
  // nobody ever sees it empty.
  using Fill = std::function<void(Index&)>;

  // Opens it, or creates it unless there is no `fill`. `files`: where to read what a damaged row
  // does not tell any more; must outlive it. All functions throw StoreError that names the path and
  // what SQLite says.
  Index(const std::string& path, const StoreFiles& files, const Fill& fill);
  // One in memory, for who cannot have a file.
  Index(const StoreFiles& files, const Fill& fill);
  ~Index();
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;

  bool in_memory() const { return in_memory_; }
  // Whether the file is another one than this process has open.
  bool moved() const;
  // Whether nobody but SQLite's users has touched the file since it was checked, as far as that can
  // be seen from outside.
  bool is_checked() const;
  // Reads all of it from the disk. Throws IndexDamaged unless all rows are found in every order.
  void check();
  // It must be checked again.
  void distrust() { checked_ = {}; }

  // From begin() to commit() no other process writes. Without commit() nothing has happened.
  class Transaction {
   public:
    explicit Transaction(Index& index);
    ~Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    void commit();

   private:
    Index& index_;
    bool open_ = true;
  };

  std::optional<StateInfo> find(const std::string& id);
  std::optional<StateInfo> find_by_name(const std::string& name);
  // In order of creation. Empty parent: all. Rows that neither they nor their records tell what
  // they are are left out.
  std::vector<StateInfo> list(const std::string& parent);

  // A part of that, from behind `after` on, or from the beginning; also backwards. A row whose
  // record cannot be read has no `info`.
  struct Place {
    double created;
    std::string id;
  };
  struct Row {
    Place place;
    std::optional<StateInfo> info;
  };
  std::vector<Row> rows(const std::string& parent, const std::optional<Place>& after,
                        bool newest_first, int64_t count);
  std::optional<Place> place_of(const std::string& id);

  // Takes the place of what the id had before. No other state may have the name.
  void insert(const StateInfo& info, const RecordStamp& stamp);
  void erase(const std::string& id);
  void touch(const std::string& id, double last_used);

  // All contents together, each once.
  uint64_t stored_bytes();
  bool has_content(const std::string& content);
  // Of the contents none of whose states is pinned, the one that has not been used for the longest
  // time, with its states; never `kept`.
  struct Shared {
    std::string content;
    uint64_t bytes;
    std::vector<std::string> ids;
  };
  std::optional<Shared> coldest(const std::string& kept);

  std::set<std::string> contents();

  struct Entry {
    RecordStamp stamp;
    std::string content;
    double last_used;
  };
  std::map<std::string, Entry> entries();  // by id

 private:
  class Statement;
  // The file, as it is seen from outside.
  struct Stamp {
    int64_t inode = 0, size = 0, mtime_ns = 0;
    bool operator==(const Stamp&) const = default;
  };

  Stamp stamp() const;
  void open(const char* path, bool create);
  void create(const Fill& fill);
  void run(const char* sql);
  int64_t version();  // of the tables; 0: there are none yet
  void check_header(bool new_too);
  void check_version();
  void check_tables();
  void check_rows();
  static int tidy_log(void* index, sqlite3* database, const char* name, int pages);
  [[noreturn]] void fail(int code) const;
  [[noreturn]] void fail_damaged(const std::string& why) const;
  StateInfo info_of(const Statement& row) const;

  const std::string path_;
  const bool in_memory_;
  const StoreFiles& files_;
  std::unique_ptr<sqlite3, int (*)(sqlite3*)> database_;
  Stamp checked_;  // inode 0: it is not
};

}  // namespace anser
