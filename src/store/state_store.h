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
// - The records and contents are the truth. The index is made again from them where it is missing,
//   and brought up to date whenever somebody opens the store alone. So whole files may be copied in
//   while nobody uses it.
//
// All functions may be called from several threads at once, and several processes may use one
// folder, on the same machine: SQLite's index does not work over network file systems. A thread
// waits for another one while that works on the index (microseconds; milliseconds when SQLite
// tidies up its log, once in hundreds of changes), not for its compressing, decompressing, writing
// or listing of states. relabel() waits for the disk, and others for it.
//
// All functions throw Error, which says what, where, and what to do.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/atomic_file.h"
#include "store/folder_lock.h"
#include "store/index.h"
#include "store/ram_tier.h"
#include "store/states.h"

namespace anser {

struct StateStoreOptions {
  // Of compressed contents; records and the index, under a kilobyte a state each, are not counted.
  // A put() that goes over it evicts the contents that were not used for the longest time, each
  // with all states that share it, but nothing that is pinned; if that does not suffice it throws
  // and keeps nothing. 0: no limit.
  uint64_t max_disk_bytes = 0;
  // Of states that are kept in memory as well, so that get() need not read them. 0: none.
  uint64_t max_ram_bytes = 0;
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

  std::string record_path(const std::string& id) const { return folder_ + "/" + id + ".json"; }
  std::string content_path(const std::string& id) const { return folder_ + "/" + id + ".zst"; }
  std::string index_path() const { return folder_ + "/index.sqlite"; }

  void open_index();
  void read_folder();
  // Below: with mutex_ held.
  void note_uses();
  void add_uses(StateInfo& info) const;
  StateInfo require(const std::string& id);
  void enter(const StateInfo& info, AtomicFile& record);
  Removed evict(const StateInfo& newcomer);

  void write_record(const StateInfo& info, const std::string& source);
  void delete_files(const Removed& removed);
  std::shared_ptr<const State> load(const StateInfo& info) const;

  const std::string folder_;
  const StateStoreOptions options_;
  std::vector<std::string> problems_;
  FolderLock lock_;

  std::mutex mutex_;  // of all below
  std::unique_ptr<Index> index_;
  RamTier ram_;
  // When states were last used, by id, as far as the index does not know: it is told when a state
  // is added, so that get() need not write. Whoever is killed forgets some.
  std::unordered_map<std::string, double> uses_;
};

}  // namespace anser
