// The index of a folder of states, kept in step with the records, which are the truth: what it says
// is what they say, whatever has happened to its file.
//
// It is held against the records when it is opened, and whenever its file or the folder has
// changed; one that is missing, damaged or replaced is made again, also while others use the store.
// Where there can be no file, on a disk without room, one in memory is made from the records.
//
// Used by one thread at a time. All functions throw StoreError.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "store/folder_lock.h"
#include "store/index.h"
#include "store/store_files.h"

namespace anser {

class SyncedIndex {
 public:
  // Gets a sentence for whatever is found wrong.
  using Tell = std::function<void(const std::string& sentence)>;
  // Nothing is opened before the first run(). `files` must outlive it.
  SyncedIndex(const StoreFiles& files, Tell tell);

  // Runs what asks the index, or changes it, as it stands in step with the records; once more where
  // it turns out to be damaged or gone. Within `work`, and only there, the index is to be had by
  // the operators below.
  template <class Work>
  std::invoke_result_t<Work&> run(Work&& work);
  Index* operator->() { return index_.get(); }
  Index& operator*() { return *index_; }
  bool is_open() const { return index_ != nullptr; }

  // Who has the folder open.
  FolderLock& lock() { return *lock_; }

  // Before run(), for who is about to change something: perhaps there is room for a file by now.
  void want_file();
  // For what others shall see at once. Throws where there is none, and says why.
  void need_file() const;
  // A connection of its own, for who looks for long and shall hold up nobody. Nothing: only the
  // index in memory has the states.
  std::unique_ptr<Index> open_reader();
  // It is to be checked again.
  void distrust();

  // The rest within run().

  // A state that has a record, by id or else by name.
  std::optional<StateInfo> look_up(const std::string& id_or_name);
  // Whether records are left out: they cannot be read, or their contents are missing.
  bool leaves_out() const { return !left_out_.empty(); }
  bool all_records_read() const;
  // Reads what has changed, also where nothing seems to have.
  void sync();
  // The files have changed already, and they are what counts: where this fails the index hears of
  // it later.
  void commit_what_is_done(Index::Transaction& transaction);

 private:
  // A record that the index does not have, and why: it cannot be read, or its content is missing.
  struct LeftOut {
    RecordStamp stamp;
    std::string content;  // the missing one; empty: it cannot be read
    bool again = false;   // the disk failed, and may do better the next time
    bool operator==(const LeftOut&) const = default;
  };

  void open_index(bool anew);
  void make_again(const IndexDamaged& why);
  void use_memory(const StoreError& why);
  void make_ready();
  bool in_step(const StoreFiles::Listing& files);
  bool can_read_more() const;
  void keep_in_step();
  void catch_up(Index& index);
  static void insert_all(Index& index, std::vector<std::pair<StateInfo, RecordStamp>> states);

  const StoreFiles& files_;
  const Tell tell_;
  std::unique_ptr<FolderLock> lock_;
  std::unique_ptr<Index> index_;
  std::string why_memory_, told_memory_;     // why the index is in memory
  double tried_file_ = 0;                    // when, seconds since 1970
  bool no_room_ = false;                     // that is why
  std::map<std::string, LeftOut> left_out_;  // by id
  int64_t folder_changed_ = 0;               // when, as of the last time that they were in step
};

template <class Work>
std::invoke_result_t<Work&> SyncedIndex::run(Work&& work) {
  constexpr int kTries = 3;
  for (int i = 1;; ++i) {
    try {
      make_ready();
      return work();
    } catch (const IndexMoved&) {
      if (i == kTries) throw;
      index_.reset();
    } catch (const IndexDamaged& error) {
      if (i == kTries) throw;
      make_again(error);
    }
  }
}

}  // namespace anser
