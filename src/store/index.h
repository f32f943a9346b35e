// The index of a store: what is known of its states, in SQLite, so that they can be found without
// reading their records. The records are the truth; an index that is lost is made again from them.
//
// An Index is used by one thread at a time. Several processes may have the same file open; what
// they write they write in turns, waiting for each other for up to ten seconds.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "anser/error.h"
#include "store/state_info.h"

struct sqlite3;
struct sqlite3_stmt;

namespace anser {

// The file is no index of ours, or no longer one.
class IndexDamaged : public Error {
 public:
  using Error::Error;
};

// Tells whether a record file is still the one that was read: a record that is written again is
// another file.
struct RecordStamp {
  int64_t mtime_ns = 0;
  int64_t inode = 0;
  bool operator==(const RecordStamp&) const = default;
};

class Index {
 public:
  // Opens or creates it. All functions throw Error that names the path and what SQLite says.
  explicit Index(const std::string& path);
  ~Index();
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;

  // Whether this call of the constructor created it.
  bool is_new() const { return is_new_; }

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
  // In order of creation. Empty parent: all.
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

  struct Entry {
    RecordStamp stamp;
    std::string content;
  };
  std::map<std::string, Entry> entries();  // by id

 private:
  class Statement;
  void run(const char* sql);
  int64_t version();  // of the tables; 0: there are none yet
  [[noreturn]] void fail(int code) const;
  StateInfo info_of(const Statement& row) const;

  const std::string path_;
  std::unique_ptr<sqlite3, int (*)(sqlite3*)> database_;
  bool is_new_ = false;
};

}  // namespace anser
