// The files of a store of states in a folder, docs/formats.md: two for a state, its record and its
// content, by its id. What they say is the truth about the store.
//
// All functions throw StoreError that names the path. They may be called from several threads.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "store/state_info.h"
#include "store/store_errors.h"

namespace anser {

// Tells whether a record file is still the one that was read: a record that is written again is
// another file.
struct RecordStamp {
  int64_t mtime_ns = 0;
  int64_t inode = 0;
  bool operator==(const RecordStamp&) const = default;
};

// A record that could be read, but is not what this program writes: reading it again is in vain.
class RecordDamaged : public StoreFailed {
 public:
  using StoreFailed::StoreFailed;
};

class StoreFiles {
 public:
  explicit StoreFiles(std::string folder) : folder_(std::move(folder)) {}

  const std::string& folder() const { return folder_; }
  std::string record(const std::string& id) const { return folder_ + "/" + id + ".json"; }
  std::string content(const std::string& id) const { return folder_ + "/" + id + ".zst"; }
  // A content that no record has named.
  std::string orphan(const std::string& id) const { return content(id) + ".orphan"; }
  std::string index() const { return folder_ + "/index.sqlite"; }
  std::string lock() const { return folder_ + "/lock"; }

  struct Listing {
    std::set<std::string> records, contents, orphans;  // ids
    std::vector<std::string> unfinished;               // paths
  };
  Listing list() const;

  // Nothing: there is no such file.
  std::optional<RecordStamp> record_stamp(const std::string& id) const;
  // Nothing: there is no such file. Throws for a record that cannot be read.
  std::optional<StateInfo> read_record(const std::string& id) const;
  bool has_content(const std::string& id) const;

  // The contents that records name; nothing where one of them cannot be read, as it is not known
  // then what it names. Reads all of them.
  std::optional<std::set<std::string>> named_contents(const Listing& files) const;

 private:
  const std::string folder_;
};

// What is wrong with a record whose content is not there.
std::string missing_content(const StoreFiles& files, const StateInfo& info);

RecordStamp stamp_of(const std::string& path);

// A descriptor of the file. Nothing: there is none. What is no file, such as a pipe of which nobody
// knows when it would bring something, is refused.
std::optional<int> open_to_read(const std::string& path);

// What is not there already is no failure.
void delete_file(const std::string& path);

}  // namespace anser
