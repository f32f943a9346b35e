#include "store/state_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>

#include "base/atomic_file.h"
#include "base/read_file.h"
#include "formats/checks.h"
#include "store/content_file.h"
#include "store/index_page.h"
#include "store/packed_state.h"
#include "store/state_id.h"

namespace anser {
namespace {

namespace fs = std::filesystem;

constexpr double kTidySeconds = 60 * 60;  // between two times that a store that is used is tidied
constexpr double kTryFileSeconds = 10;    // between two tries to have the index in a file again

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

// When a name was last added to the folder or taken away, in ns; 0: so lately that another change
// might look the same.
int64_t last_change(const std::string& folder) {
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0) {
    fail_as(errno, fmt::format("the folder {}: {}", folder, std::strerror(errno)));
  }
  const timespec& when = status.st_mtim;
  constexpr double kTick = 0.05;  // seconds; clocks of file systems are coarse
  if (seconds_since_1970() - (double(when.tv_sec) + 1e-9 * double(when.tv_nsec)) < kTick) return 0;
  return int64_t(when.tv_sec) * 1'000'000'000 + when.tv_nsec;
}

// Whether it is a file that no index can be in. SQLite takes one of no bytes for a new one, and
// throws away the log that others are using.
bool is_stub(const std::string& path) {
  struct stat status {};
  constexpr off_t kSmallestPage = 512;
  return ::stat(path.c_str(), &status) == 0 && status.st_size < kSmallestPage;
}

void delete_index(const std::string& path) {
  for (const char* part : {"", "-wal", "-shm"}) delete_file(path + part);
}

}  // namespace

StateStore::StateStore(const std::string& folder, const StateStoreOptions& options)
    : files_(made(folder)),
      options_(options),
      lock_(std::make_unique<FolderLock>(files_.lock())),
      orphans_(files_),
      ram_(options.max_ram_bytes) {
  const std::lock_guard guard(mutex_);
  with_index([&] { keep_in_step(); });
  tidy(lock_->alone());
  lock_->share();
  opened_ = true;
}

StateStore::~StateStore() {
  try {
    if (uses_.empty() || index_ == nullptr) return;
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

// `anew`: the one that is there is damaged.
void StateStore::open_index(bool anew) {
  if (!lock_->stands()) {
    lock_ = std::make_unique<FolderLock>(files_.lock());
    lock_->share();
  }
  const FolderTurn turn(files_.folder(), FolderTurn::Wait::yes);
  const std::string path = files_.index();
  // Unless somebody else has replaced it already.
  const bool replace = anew && (index_ == nullptr || !index_->moved());
  index_.reset();
  folder_changed_ = 0;
  tried_file_ = seconds_since_1970();
  const auto open = [&] {
    index_ = std::make_unique<Index>(path, files_, [this](Index& index) { catch_up(index); });
  };
  try {
    if (replace || is_stub(path)) delete_index(path);
    try {
      return open();
    } catch (const IndexDamaged& error) {
      tell(fmt::format("{}: it is made again from the states' records", error.what()));
    }
    delete_index(path);
    open();
  } catch (const IndexOfOtherVersion&) {
    throw;
  } catch (const StatesUnavailable&) {
    throw;
  } catch (const StoreError& error) {
    use_memory(error);
  }
}

// States can be found and removed by their records.
void StateStore::use_memory(const StoreError& why) {
  index_.reset();
  index_ = std::make_unique<Index>(files_, [this](Index& index) { catch_up(index); });
  no_room_ = dynamic_cast<const StoreFull*>(&why) != nullptr;
  if (why_memory_ != why.what()) {
    tell(fmt::format("{}: so all records are read instead, and no state can be added", why.what()));
  }
  why_memory_ = why.what();
  told_memory_ = why.told();
}

// For who is about to change something: perhaps there is room by now.
void StateStore::want_file() {
  if (index_ != nullptr && index_->in_memory()) index_.reset();
}

// For what others shall see at once.
void StateStore::need_file() const {
  if (!index_->in_memory()) return;
  if (no_room_) throw StoreFull(why_memory_, told_memory_);
  throw StoreFailed(why_memory_, told_memory_);
}

// Runs what asks the index, or changes it; once more where that turns out to be damaged or gone.
template <class Work>
std::invoke_result_t<Work&> StateStore::with_index(Work&& work) {
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
      tell(fmt::format("{}: it is made again from the states' records", error.what()));
      open_index(/*anew=*/true);
    }
  }
}

void StateStore::make_ready() {
  if (index_ != nullptr && index_->in_memory()) {
    if (seconds_since_1970() - tried_file_ < kTryFileSeconds) return keep_in_step();
    index_.reset();
  }
  if (index_ != nullptr && index_->is_checked()) return can_read_more() ? keep_in_step() : void();
  if (index_ != nullptr && index_->moved()) index_.reset();
  if (index_ == nullptr) open_index(/*anew=*/false);
  if (!index_->is_checked()) index_->check();
  folder_changed_ = 0;
  keep_in_step();
}

// The index has what the records say, and only that, as far as the folder has changed.
void StateStore::keep_in_step() {
  const int64_t changed = last_change(files_.folder());
  if (changed != 0 && changed == folder_changed_ && !can_read_more()) return;
  if (!in_step(files_.list())) {
    try {
      Index::Transaction transaction(*index_);
      catch_up(*index_);
      transaction.commit();
    } catch (const IndexDamaged&) {
      throw;
    } catch (const IndexMoved&) {
      throw;
    } catch (const StatesUnavailable&) {
      throw;
    } catch (const StoreError& error) {
      if (index_->in_memory()) throw;
      use_memory(error);
    }
  }
  folder_changed_ = changed;
}

// Whether a record is to be read by now at which the disk had failed.
bool StateStore::can_read_more() const {
  return std::any_of(left_out_.begin(), left_out_.end(), [&](const auto& left) {
    if (!left.second.again) return false;
    try {
      files_.read_record(left.first);
    } catch (const RecordDamaged&) {
      return true;  // which is to be told
    } catch (const StoreError&) {
      return false;
    }
    return true;
  });
}

bool StateStore::in_step(const StoreFiles::Listing& files) {
  const std::map<std::string, Index::Entry> entries = index_->entries();
  size_t found = 0;
  for (const std::string& id : files.records) {
    const std::optional<RecordStamp> stamp = files_.record_stamp(id);
    if (!stamp) continue;  // removed meanwhile
    const auto entry = entries.find(id);
    if (entry != entries.end() && entry->second.stamp == *stamp &&
        files.contents.contains(entry->second.content)) {
      ++found;
      continue;
    }
    const auto left = left_out_.find(id);
    const bool still = left != left_out_.end() && left->second.stamp == *stamp &&
                       !left->second.again && !files.contents.contains(left->second.content) &&
                       !files.orphans.contains(left->second.content);
    if (!still) return false;
  }
  return found == entries.size();
}

// Within a transaction: brings the index up to date with the records.
void StateStore::catch_up(Index& index) {
  const StoreFiles::Listing files = files_.list();
  std::map<std::string, Index::Entry> before = index.entries();
  std::vector<std::pair<StateInfo, RecordStamp>> changed;
  std::map<std::string, LeftOut> left_out;
  for (const std::string& id : files.records) {
    const std::optional<RecordStamp> stamp = files_.record_stamp(id);
    if (!stamp) continue;
    const auto known = before.find(id);
    if (known != before.end() && known->second.stamp == *stamp &&
        files.contents.contains(known->second.content)) {
      before.erase(known);
      continue;
    }
    LeftOut left = {*stamp, ""};
    std::string why;
    try {
      std::optional<StateInfo> info = files_.read_record(id);
      if (!info) continue;
      // A record is written again when labels change, and copied; the state was used when it was.
      if (known != before.end() && std::isfinite(known->second.last_used)) {
        info->last_used = std::max(info->created, known->second.last_used);
      }
      if (files.orphans.contains(info->content)) bring_back(files_, info->content);
      if (files_.has_content(info->content)) {
        changed.emplace_back(*std::move(info), *stamp);
        continue;
      }
      left.content = info->content;
      why =
          fmt::format("{}: the state's content, {}, is missing: bring it back or delete this file",
                      files_.record(id), files_.content(info->content));
    } catch (const StatesUnavailable&) {
      throw;
    } catch (const RecordDamaged& error) {
      why = error.what();
    } catch (const StoreError& error) {
      why = error.what();
      left.again = true;
    }
    const auto known_left = left_out_.find(id);
    if (known_left == left_out_.end() || !(known_left->second == left)) tell(why);
    left_out.emplace(id, std::move(left));
  }
  left_out_ = std::move(left_out);
  // Without a record any more, or to be read again.
  for (const auto& [id, entry] : before) index.erase(id);
  insert_all(index, std::move(changed));
}

// Of two states with a name, which only copied or resurrected files can bring about, the one in the
// index keeps it, or else the newer one.
void StateStore::insert_all(Index& index, std::vector<std::pair<StateInfo, RecordStamp>> states) {
  std::sort(states.begin(), states.end(),
            [](const auto& a, const auto& b) { return a.first.created > b.first.created; });
  for (auto& [info, stamp] : states) {
    if (!info.labels.name.empty() && index.find_by_name(info.labels.name)) info.labels.name.clear();
    index.insert(info, stamp);
  }
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

std::optional<StateInfo> StateStore::look_up(const std::string& id_or_name) {
  // No name has the form of an id.
  if (!is_state_id(id_or_name)) {
    std::optional<StateInfo> info = index_->find_by_name(id_or_name);
    if (info && !files_.record_stamp(info->id)) info.reset();  // removed
    return info;
  }
  const std::optional<RecordStamp> stamp = files_.record_stamp(id_or_name);
  if (!stamp) return std::nullopt;
  if (std::optional<StateInfo> info = index_->find(id_or_name)) return info;
  const auto left = left_out_.find(id_or_name);
  const bool still = left != left_out_.end() && !left->second.again && left->second.stamp == *stamp;
  if (still && (left->second.content.empty() || !files_.has_content(left->second.content))) {
    return std::nullopt;
  }
  folder_changed_ = 0;  // the index has yet to hear of it
  std::optional<StateInfo> info = files_.read_record(id_or_name);
  if (info) bring_back(files_, info->content);
  if (!info || !files_.has_content(info->content)) return std::nullopt;
  if (const auto holder = index_->find_by_name(info->labels.name)) info->labels.name.clear();
  return info;
}

StateInfo StateStore::require(const std::string& id) {
  std::optional<StateInfo> info;
  if (is_state_id(id)) info = look_up(id);
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
    const std::optional<StateInfo> holder = look_up(info.labels.name);
    if (holder && holder->id != info.id) fail_name_taken(info.labels.name, holder->id);
  }
  index_->insert(info, stamp);
}

// The files have changed already, and they are what counts: the index hears of it later.
void StateStore::commit_what_is_done(Index::Transaction& transaction) {
  try {
    transaction.commit();
  } catch (const StoreError&) {
    index_->distrust();
    folder_changed_ = 0;
  }
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
  want_file();
  with_index([&] {
    need_file();
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
  const bool all_read = std::all_of(left_out_.begin(), left_out_.end(),
                                    [](const auto& left) { return !left.second.content.empty(); });
  if (all_read) return delete_content(content);
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
    info = with_index([&] { return require(id); });
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
    info = with_index([&] { return require(id); });
    uses_[id] = seconds_since_1970();
    state = ram_.find(info.content);
  }
  if (state == nullptr) {
    try {
      state = load(info);
    } catch (const Error&) {
      const std::lock_guard guard(mutex_);
      with_index([&] { require(id); });  // it may have been removed meanwhile
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
  std::optional<StateInfo> info = with_index([&] { return look_up(id_or_name); });
  if (info) add_uses(*info);
  return info;
}

// Thousands of states take a while: nobody shall wait for that. Nothing: only the index in memory
// has them.
std::unique_ptr<Index> StateStore::open_reader() {
  const std::lock_guard guard(mutex_);
  return with_index([&]() -> std::unique_ptr<Index> {
    keep_in_step();
    if (index_->in_memory()) return nullptr;
    const FolderTurn turn(files_.folder(), FolderTurn::Wait::yes);
    return std::make_unique<Index>(files_.index(), files_, nullptr);
  });
}

// Runs what only looks at the index. Thousands of states take a while, for which nobody shall wait:
// so on a connection of its own, where the index is a file that is not damaged.
template <class Look>
std::invoke_result_t<Look&, Index&> StateStore::look(Look&& look) {
  if (const std::unique_ptr<Index> reader = open_reader()) {
    try {
      return look(*reader);
    } catch (const StoreFailed&) {
      const std::lock_guard guard(mutex_);
      if (index_ != nullptr) index_->distrust();
    }
  }
  const std::lock_guard guard(mutex_);
  return with_index([&] { return look(*index_); });
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
  want_file();
  with_index([&] {
    need_file();
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
    commit_what_is_done(transaction);
  });
  touching_files([&] { sync_folder(files_.folder()); });
}

void StateStore::remove(const std::string& id) {
  const std::lock_guard guard(mutex_);
  with_index([&] {
    std::optional<FolderTurn> turn;
    if (index_->in_memory()) turn.emplace(files_.folder(), FolderTurn::Wait::yes);
    // What a record says that could not be read before may be known by now.
    if (index_->in_memory() || !left_out_.empty()) {
      folder_changed_ = 0;
      keep_in_step();
    }
    Index::Transaction transaction(*index_);
    const StateInfo info = require(id);
    index_->erase(id);
    const bool last = !index_->has_content(info.content);
    delete_file(files_.record(id));
    // Before the index is written, which may need the room.
    if (last) let_go(info.content);
    commit_what_is_done(transaction);
  });
  touching_files([&] { sync_folder(files_.folder()); });
}

}  // namespace anser
