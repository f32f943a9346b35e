#include "store/state_store.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>

#include "base/atomic_file.h"
#include "store/content_file.h"
#include "store/index_page.h"
#include "store/packed_state.h"
#include "store/state_id.h"

namespace anser {
namespace {

namespace fs = std::filesystem;

constexpr double kTidySeconds = 60 * 60;  // between two times that a store that is used is tidied

// Makes the folder, and those above it, and returns its name.
const std::string& made(const std::string& folder) {
  std::error_code error;
  if (fs::is_directory(folder, error)) return folder;
  const fs::path above = fs::path(folder).parent_path();
  if (!above.empty()) fs::create_directories(above, error);
  // States tell what was said.
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    fail_as(errno, fmt::format("cannot make the folder {}: {}", folder, std::strerror(errno)));
  }
  return folder;
}

}  // namespace

StateStore::StateStore(const std::string& folder, const StateStoreOptions& options)
    : files_(made(folder)),
      options_(options),
      index_(files_, [this](const std::string& sentence) { tell(sentence); }),
      orphans_(files_),
      ram_(options.max_ram_bytes) {
  const std::lock_guard guard(mutex_);
  index_.run([] {});
  tidy(index_.lock().alone());
  index_.lock().share();
  opened_ = true;
}

StateStore::~StateStore() {
  try {
    if (uses_.empty() || !index_.is_open()) return;
    Index::Transaction transaction(*index_);
    note_uses();
    transaction.commit();
  } catch (const Error&) {
    // Then they are forgotten.
  }
}

void StateStore::tell(const std::string& sentence) {
  if (!opened_) return problems_.push_back(sentence);
  if (options_.notice) options_.notice(sentence);
}

// `alone`: nobody else has the store open, so what looks half done is, and its writer is dead.
void StateStore::tidy(bool alone) {
  tidied_ = seconds_since_1970();
  try {
    const StoreFiles::Listing files = files_.list();
    if (alone) {
      for (const std::string& path : files.unfinished) ::unlink(path.c_str());
    }
    orphans_.tidy(files, index_->contents(), alone);
  } catch (const StoreError& error) {
    tell(error.what());
  }
}

// Within a transaction.
void StateStore::note_uses() {
  for (const auto& [id, when] : uses_) index_->touch(id, when);
  uses_.clear();
}

void StateStore::add_uses(StateInfo& info) const {
  if (const auto use = uses_.find(info.id); use != uses_.end()) info.last_used = use->second;
}

StateInfo StateStore::require(const std::string& id) {
  std::optional<StateInfo> info;
  if (is_state_id(id)) info = index_.look_up(id);
  if (!info) fail_unknown_state(id, files_.folder());
  return *std::move(info);
}

// Whether the records say what the index says of states that may go.
bool StateStore::may_go(const Index::Shared& shared) {
  return std::all_of(shared.ids.begin(), shared.ids.end(), [&](const std::string& id) {
    try {
      const std::optional<StateInfo> info = files_.read_record(id);
      return !info || (info->content == shared.content && !info->pinned());
    } catch (const StoreError&) {
      return true;  // what it said when it could be read is in the index
    }
  });
}

// Within a transaction: the rows of what has to make room.
StateStore::Removed StateStore::evict(const StateInfo& newcomer) {
  Removed removed;
  const uint64_t most = options_.max_disk_bytes;
  if (most == 0) return removed;
  uint64_t bytes = index_->stored_bytes();
  if (bytes + orphans_.bytes() > most && orphans_.bytes() > 0) {
    orphans_.make_room(bytes + orphans_.bytes() - most);
  }
  bytes += orphans_.bytes();
  while (bytes > most) {
    const std::optional<Index::Shared> coldest = index_->coldest(newcomer.content);
    if (!coldest) {
      const std::string told = fmt::format(
          "the store is full: with this state of {} bytes there would be {}, at most {} are "
          "allowed, and all others have a name or a tag; remove some",
          newcomer.stored_bytes, bytes, most);
      throw StoreFull(fmt::format("{}: {}", files_.folder(), told), told);
    }
    if (!may_go(*coldest)) {
      throw IndexDamaged(fmt::format("{}: the index of the store is damaged (the records of states "
                                     "say something else)",
                                     files_.index()),
                         kToldFailed);
    }
    for (const std::string& id : coldest->ids) index_->erase(id);
    removed.ids.insert(removed.ids.end(), coldest->ids.begin(), coldest->ids.end());
    removed.contents.push_back(coldest->content);
    bytes -= coldest->bytes;
  }
  return removed;
}

// Within a transaction: the row.
void StateStore::enter(const StateInfo& info, const RecordStamp& stamp) {
  if (!info.labels.name.empty()) {
    const std::optional<StateInfo> holder = index_.look_up(info.labels.name);
    if (holder && holder->id != info.id) fail_name_taken(info.labels.name, holder->id);
  }
  index_->insert(info, stamp);
}

// Of a new state, whose content is there: its own, which goes if this fails, or that of `source`.
void StateStore::write_record(const StateInfo& info, const std::string& source) {
  const std::string text = to_record(info);
  Removed removed;
  try {
    touching_files([&] {
      AtomicFile record(files_.record(info.id), Readers::owner);
      record.write(std::as_bytes(std::span(text)));
      record.flush();
      removed = place_record(info, source, record);
      sync_folder(files_.folder());
    });
  } catch (...) {
    ::unlink(files_.record(info.id).c_str());
    if (source.empty()) ::unlink(files_.content(info.content).c_str());
    throw;
  }
  const std::lock_guard guard(mutex_);
  for (const std::string& content : removed.contents) delete_content(content);
  if (seconds_since_1970() - tidied_ > kTidySeconds) tidy(/*alone=*/false);
}

// Files change as rows do, within the transaction: whoever has the next one finds both in step.
StateStore::Removed StateStore::place_record(const StateInfo& info, const std::string& source,
                                             AtomicFile& record) {
  const RecordStamp stamp = stamp_of(record.written_path());
  Removed removed;
  bool placed = false;
  const std::lock_guard guard(mutex_);
  index_.want_file();
  index_.run([&] {
    index_.need_file();
    // Who removes the source without an index that all share has the other turn.
    std::optional<FolderTurn> turn;
    if (!source.empty()) turn.emplace(files_.folder(), FolderTurn::Wait::yes);
    Index::Transaction transaction(*index_);
    if (!source.empty()) require(source);
    note_uses();
    enter(info, stamp);
    removed = evict(info);
    if (!placed) record.commit();
    placed = true;
    for (const std::string& id : removed.ids) delete_file(files_.record(id));
    transaction.commit();
  });
  return removed;
}

void StateStore::delete_content(const std::string& content) {
  ram_.drop(content);
  // A record that is still there was left out as damaged, and may be repaired.
  if (files_.record_stamp(content)) return;
  delete_file(files_.content(content));
}

// Of a state that was removed, which was the last one to have it as far as records can be read.
void StateStore::let_go(const std::string& content) {
  if (index_.all_records_read()) return delete_content(content);
  ram_.drop(content);
  orphans_.add(content);
}

std::string StateStore::put(const State& state, const std::string& model, const std::string& parent,
                            const StateLabels& labels, const std::string& id) {
  PackedState packed = pack_state(state, model, parent, labels, id);
  const StateInfo& info = packed.info;
  if (!id.empty() && find(id)) fail_id_taken(id);
  touching_files(
      [&] { write_file_atomically(files_.content(info.id), packed.compressed, Readers::owner); });
  packed.compressed = {};
  write_record(info, "");
  if (options_.max_ram_bytes > 0) {
    // Not a copy: that of a state in a device's memory would be there, too.
    auto hot = std::make_shared<const State>(State::deserialize(packed.file, info.id));
    const std::lock_guard guard(mutex_);
    ram_.keep(info.content, std::move(hot));
  }
  return info.id;
}

std::string StateStore::fork(const std::string& id, const StateLabels& labels) {
  StateInfo info;
  {
    const std::lock_guard guard(mutex_);
    info = index_.run([&] { return require(id); });
  }
  info = info_of_fork(info, labels);
  write_record(info, id);
  return info.id;
}

std::shared_ptr<const State> StateStore::load(const StateInfo& info) const {
  const std::string path = files_.content(info.content);
  return touching_files([&] { return load_packed(path, info); });
}

State StateStore::get(const std::string& id) {
  StateInfo info;
  std::shared_ptr<const State> state;
  {
    const std::lock_guard guard(mutex_);
    info = index_.run([&] { return require(id); });
    uses_[id] = seconds_since_1970();
    state = ram_.find(info.content);
  }
  if (state == nullptr) {
    try {
      state = load(info);
    } catch (const Error&) {
      const std::lock_guard guard(mutex_);
      index_.run([&] { require(id); });  // it may have been removed meanwhile
      throw;
    }
    const std::lock_guard guard(mutex_);
    ram_.keep(info.content, state);
  }
  return *state;
}

State StateStore::get(const std::string& id, const Model& model) {
  State state = get(id);
  model.check_state(state, fmt::format("the state {} in {}", id, files_.folder()));
  return state;
}

std::optional<StateInfo> StateStore::find(const std::string& id_or_name) {
  const std::lock_guard guard(mutex_);
  std::optional<StateInfo> info = index_.run([&] { return index_.look_up(id_or_name); });
  if (info) add_uses(*info);
  return info;
}

// Runs what only looks at the index. Thousands of states take a while, for which nobody shall wait:
// so on a connection of its own, where the index is a file that is not damaged.
template <class Look>
std::invoke_result_t<Look&, Index&> StateStore::look(Look&& look) {
  std::unique_ptr<Index> reader;
  {
    const std::lock_guard guard(mutex_);
    reader = index_.open_reader();
  }
  if (reader != nullptr) {
    try {
      return look(*reader);
    } catch (const StoreFailed&) {
      const std::lock_guard guard(mutex_);
      index_.distrust();
    }
  }
  const std::lock_guard guard(mutex_);
  return index_.run([&] { return look(*index_); });
}

std::vector<StateInfo> StateStore::list(const StateFilter& filter) {
  std::vector<StateInfo> all = look([&](Index& index) { return index.list(filter.parent); });
  std::erase_if(all, [&](const StateInfo& info) { return !fits(info, filter); });
  const std::lock_guard guard(mutex_);
  for (StateInfo& info : all) add_uses(info);
  return all;
}

StatePage StateStore::page(const StateFilter& filter, const PageOptions& options) {
  StatePage page =
      look([&](Index& index) { return page_of(index, filter, options, files_.folder()); });
  const std::lock_guard guard(mutex_);
  for (StateInfo& info : page.states) add_uses(info);
  return page;
}

uint64_t StateStore::ram_bytes() {
  const std::lock_guard guard(mutex_);
  return ram_.bytes();
}

std::unique_ptr<ContentReader> StateStore::content(const StateInfo& info) {
  std::unique_ptr<ContentReader> content = open_content_file(files_.content(info.content), info);
  const std::lock_guard guard(mutex_);
  uses_[info.id] = seconds_since_1970();
  return content;
}

void StateStore::relabel(const std::string& id, StateLabels labels) {
  const std::lock_guard guard(mutex_);
  index_.want_file();
  index_.run([&] {
    index_.need_file();
    // No other process writes this record meanwhile.
    Index::Transaction transaction(*index_);
    StateInfo info = require(id);
    normalize(labels, info.labels);
    info.labels = labels;
    const std::string text = to_record(info);
    touching_files([&] {
      AtomicFile record(files_.record(id), Readers::owner);
      record.write(std::as_bytes(std::span(text)));
      record.flush();
      enter(info, stamp_of(record.written_path()));
      record.commit();
    });
    index_.commit_what_is_done(transaction);
  });
  touching_files([&] { sync_folder(files_.folder()); });
}

void StateStore::remove(const std::string& id) {
  const std::lock_guard guard(mutex_);
  index_.run([&] {
    std::optional<FolderTurn> turn;
    if (index_->in_memory()) turn.emplace(files_.folder(), FolderTurn::Wait::yes);
    // What a record says that could not be read before may be known by now.
    if (index_->in_memory() || index_.leaves_out()) {
      index_.sync();
    }
    Index::Transaction transaction(*index_);
    const StateInfo info = require(id);
    index_->erase(id);
    const bool last = !index_->has_content(info.content);
    delete_file(files_.record(id));
    // Before the index is written, which may need the room.
    if (last) let_go(info.content);
    index_.commit_what_is_done(transaction);
  });
  touching_files([&] { sync_folder(files_.folder()); });
}

}  // namespace anser
