// A folder of states: compressed files, an index to find them, and the hot ones in memory.
//
// states.h says what a store does. docs/formats.md describes the files, docs/decisions/0007 says
// why they are so.
//
// What is promised:
// - A state whose id put() or fork() has returned is there until it is removed or evicted, whatever
//   happens to the process or the power.
// - Nothing half written is ever visible. What a writer that died has left is deleted when the
//   store is next opened by somebody who has it alone.
// - The records and contents are the truth. The index is held against them whenever the store is
//   opened, and whenever its file or the folder has changed: one that is missing or damaged is made
//   again, also while others use the store. Where there can be none, on a disk without room, states
//   are found by their records and can be removed, and nothing can be added.
// - A content is deleted with the last state that names it. One that no record names is set aside
//   first (orphans.h). So whole files may be copied in.
//
// All functions may be called from several threads at once, and several processes may use one
// folder, on the same machine: SQLite's index does not work over network file systems. A thread
// waits for another one while that works on the index (microseconds; milliseconds when the log is
// tidied up, once in hundreds of changes, or when others have changed the folder), not for its
// compressing, decompressing, writing or listing of states. relabel() waits for the disk, and
// others for it.
//
// All functions throw Error, which says what, where, and what to do.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "store/orphans.h"
#include "store/ram_tier.h"
#include "store/states.h"
#include "store/store_files.h"
#include "store/synced_index.h"

namespace anser {

struct StateStoreOptions {
  // Of compressed contents, those that are set aside among them; records and the index, under a
  // kilobyte a state each, are not counted.
  // A put() that goes over it evicts the contents that were not used for the longest time, each
  // with all states that share it, but nothing that is pinned; if that does not suffice it throws
  // and keeps nothing. 0: no limit.
  uint64_t max_disk_bytes = 0;
  // Of states that are kept in memory as well, so that get() need not read them. 0: none.
  uint64_t max_ram_bytes = 0;
  // Gets a sentence for what is found wrong after the store has been opened, from any thread.
  std::function<void(const std::string& sentence)> notice = {};
};

class StateStore : public States {
 public:
  // Makes the folder if there is none, readable by its owner only.
  explicit StateStore(const std::string& folder, const StateStoreOptions& options = {});
  ~StateStore() override;
  StateStore(const StateStore&) = delete;
  StateStore& operator=(const StateStore&) = delete;

  // What was found wrong with files on opening, a sentence each: they are left out, and left alone.
  const std::vector<std::string>& problems() const { return problems_; }

  std::string put(const State& state, const std::string& model, const std::string& parent = "",
                  const StateLabels& labels = {}, const std::string& id = "") override;
  std::string fork(const std::string& id, const StateLabels& labels = {}) override;
  State get(const std::string& id, const Model& model) override;
  State get(const std::string& id) override;
  std::unique_ptr<ContentReader> content(const StateInfo& info) override;
  std::optional<StateInfo> find(const std::string& id_or_name) override;
  std::vector<StateInfo> list(const StateFilter& filter = {}) override;
  StatePage page(const StateFilter& filter, const PageOptions& options) override;
  void relabel(const std::string& id, StateLabels labels) override;
  void remove(const std::string& id) override;
  uint64_t ram_bytes() override;

 private:
  struct Removed {
    std::vector<std::string> ids, contents;
  };

  // Below: with mutex_ held.
  void tidy(bool alone);
  void tell(const std::string& sentence);
  void note_uses();
  void add_uses(StateInfo& info) const;
  StateInfo require(const std::string& id);
  void enter(const StateInfo& info, const RecordStamp& stamp);
  Removed evict(const StateInfo& newcomer);
  bool may_go(const Index::Shared& shared);
  void delete_content(const std::string& content);
  void let_go(const std::string& content);

  void write_record(const StateInfo& info, const std::string& source);
  Removed place_record(const StateInfo& info, const std::string& source, AtomicFile& record);
  template <class Look>
  std::invoke_result_t<Look&, Index&> look(Look&& look);
  std::shared_ptr<const State> load(const StateInfo& info) const;

  const StoreFiles files_;
  const StateStoreOptions options_;
  std::vector<std::string> problems_;
  bool opened_ = false;

  std::mutex mutex_;  // of all below
  SyncedIndex index_;
  Orphans orphans_;
  double tidied_ = 0;  // when, seconds since 1970
  RamTier ram_;
  // When states were last used, by id, as far as the index does not know: it is told when a state
  // is added, so that get() need not write. Whoever is killed forgets some.
  std::unordered_map<std::string, double> uses_;
};

}  // namespace anser
