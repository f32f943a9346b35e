#include "store/state_store.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <span>
#include <utility>

#include "base/read_file.h"
#include "base/temporary_files.h"
#include "formats/checks.h"
#include "store/packed_state.h"
#include "store/state_id.h"

namespace anser {
namespace {

namespace fs = std::filesystem;

// A record has labels, of which a note may have 64 KB.
constexpr uint64_t kMostRecordBytes = 1 << 20;

// Makes the folder, and those above it, and returns its name.
const std::string& made(const std::string& folder) {
  std::error_code error;
  if (fs::is_directory(folder, error)) return folder;
  const fs::path above = fs::path(folder).parent_path();
  if (!above.empty()) fs::create_directories(above, error);
  // States tell what was said.
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    throw Error(fmt::format("cannot make the folder {}: {}", folder, std::strerror(errno)));
  }
  return folder;
}

RecordStamp stamp_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    throw Error(fmt::format("{}: cannot look at: {}", path, std::strerror(errno)));
  }
  return {int64_t(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec,
          int64_t(status.st_ino)};
}

// The files of a store, by the ids in their names.
struct Listing {
  std::vector<std::string> records;
  std::set<std::string> contents;
  std::vector<std::string> unfinished;  // paths
};

Listing list_files(const std::string& folder) {
  Listing listing;
  std::error_code error;
  fs::directory_iterator at(folder, error);
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (is_temporary_name(name)) listing.unfinished.push_back(at->path().string());
    const size_t dot = name.find('.');
    if (dot == std::string::npos || !is_state_id(name.substr(0, dot))) continue;
    const std::string id = name.substr(0, dot), rest = name.substr(dot);
    if (rest == ".json") listing.records.push_back(id);
    if (rest == ".zst") listing.contents.insert(id);
    if (rest.ends_with(".new")) listing.unfinished.push_back(at->path().string());
  }
  if (error) throw Error(fmt::format("cannot read the folder {}: {}", folder, error.message()));
  return listing;
}

}  // namespace

StateStore::StateStore(const std::string& folder, const StateStoreOptions& options)
    : folder_(made(folder)),
      options_(options),
      lock_(folder + "/lock"),
      ram_(options.max_ram_bytes) {
  open_index();
  if (lock_.alone() || index_->is_new()) read_folder();
  lock_.share();
}

StateStore::~StateStore() {
  try {
    if (uses_.empty()) return;
    Index::Transaction transaction(*index_);
    note_uses();
    transaction.commit();
  } catch (const Error&) {
    // Then they are forgotten.
  }
}

void StateStore::open_index() {
  try {
    index_ = std::make_unique<Index>(index_path());
  } catch (const IndexDamaged&) {
    if (!lock_.alone()) throw;
    for (const char* part : {"", "-wal", "-shm"}) ::unlink((index_path() + part).c_str());
    index_ = std::make_unique<Index>(index_path());
  }
}

// Brings the index up to date with the records, and deletes what no record knows.
void StateStore::read_folder() {
  Index::Transaction transaction(*index_);
  const Listing files = list_files(folder_);
  std::map<std::string, Index::Entry> before = index_->entries();
  std::vector<std::pair<StateInfo, RecordStamp>> changed;
  bool unreadable = false;
  for (const std::string& id : files.records) {
    const std::string path = record_path(id);
    try {
      const RecordStamp stamp = stamp_of(path);
      const auto known = before.find(id);
      if (known != before.end() && known->second.stamp == stamp &&
          files.contents.contains(known->second.content)) {
        before.erase(known);
        continue;
      }
      StateInfo info = parse_record(read_file(path, kMostRecordBytes), path);
      if (info.id != id) fail(path, "the record of another state, {}", info.id);
      if (files.contents.contains(info.content)) {
        changed.emplace_back(std::move(info), stamp);
      } else {
        problems_.push_back(fmt::format(
            "{}: the state's content, {}, is missing: bring it back or delete this file", path,
            content_path(info.content)));
      }
    } catch (const Error& error) {
      problems_.push_back(error.what());
      unreadable = true;
    }
  }
  // Without a record any more, or to be read again.
  for (const auto& [id, entry] : before) index_->erase(id);
  // Of two states with a name, which only copied or resurrected files can bring about, the one in
  // the index keeps it, or else the newer one.
  std::sort(changed.begin(), changed.end(),
            [](const auto& a, const auto& b) { return a.first.created > b.first.created; });
  for (auto& [info, stamp] : changed) {
    if (!info.labels.name.empty() && index_->find_by_name(info.labels.name)) {
      info.labels.name.clear();
    }
    index_->insert(info, stamp);
  }
  transaction.commit();

  if (!lock_.alone()) return;
  for (const std::string& path : files.unfinished) ::unlink(path.c_str());
  // What a record that cannot be read refers to is not known.
  if (unreadable) return;
  for (const std::string& id : files.contents) {
    if (!index_->has_content(id)) ::unlink(content_path(id).c_str());
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
  if (is_state_id(id)) info = index_->find(id);
  if (!info) fail_unknown_state(id, folder_);
  return *std::move(info);
}

StateStore::Removed StateStore::evict(const StateInfo& newcomer) {
  Removed removed;
  if (options_.max_disk_bytes == 0) return removed;
  uint64_t bytes = index_->stored_bytes();
  while (bytes > options_.max_disk_bytes) {
    const std::optional<Index::Shared> coldest = index_->coldest(newcomer.content);
    if (!coldest) {
      throw Error(fmt::format(
          "{}: the store is full: with this state of {} bytes there would be {}, at most {} are "
          "allowed, and all others have a name or a tag; remove some",
          folder_, newcomer.stored_bytes, bytes, options_.max_disk_bytes));
    }
    for (const std::string& id : coldest->ids) index_->erase(id);
    removed.ids.insert(removed.ids.end(), coldest->ids.begin(), coldest->ids.end());
    removed.contents.push_back(coldest->content);
    bytes -= coldest->bytes;
  }
  return removed;
}

// Within a transaction: the row, and then the record's file under its name.
void StateStore::enter(const StateInfo& info, AtomicFile& record) {
  if (!info.labels.name.empty()) {
    const std::optional<StateInfo> holder = index_->find_by_name(info.labels.name);
    if (holder && holder->id != info.id) {
      fail_name_taken(info.labels.name, holder->id);
    }
  }
  index_->insert(info, stamp_of(record.written_path()));
  record.commit();
}

// Of a new state, whose content is there: its own, which goes if this fails, or that of `source`.
void StateStore::write_record(const StateInfo& info, const std::string& source) {
  const std::string text = to_record(info);
  Removed removed;
  try {
    AtomicFile record(record_path(info.id), Readers::owner);
    record.write(std::as_bytes(std::span(text)));
    record.flush();
    const std::lock_guard guard(mutex_);
    Index::Transaction transaction(*index_);
    if (!source.empty()) require(source);
    note_uses();
    enter(info, record);
    removed = evict(info);
    transaction.commit();
  } catch (...) {
    ::unlink(record_path(info.id).c_str());
    if (source.empty()) ::unlink(content_path(info.content).c_str());
    throw;
  }
  sync_folder(folder_);
  delete_files(removed);
}

void StateStore::delete_files(const Removed& removed) {
  if (removed.ids.empty()) return;
  for (const std::string& id : removed.ids) ::unlink(record_path(id).c_str());
  for (const std::string& id : removed.contents) {
    // A record that is still there was left out as damaged, and may be repaired.
    if (::access(record_path(id).c_str(), F_OK) != 0) ::unlink(content_path(id).c_str());
  }
  sync_folder(folder_);
  const std::lock_guard guard(mutex_);
  for (const std::string& id : removed.contents) ram_.drop(id);
}

std::string StateStore::put(const State& state, const std::string& model, const std::string& parent,
                            const StateLabels& labels, const std::string& id) {
  PackedState packed = pack_state(state, model, parent, labels, id);
  const StateInfo& info = packed.info;
  if (!id.empty() && find(id)) fail_id_taken(id);
  write_file_atomically(content_path(info.id), packed.compressed, Readers::owner);
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
    info = require(id);
  }
  info = info_of_fork(info, labels);
  write_record(info, id);
  return info.id;
}

std::shared_ptr<const State> StateStore::load(const StateInfo& info) const {
  const std::string path = content_path(info.content);
  return load_packed(path, info);
}

State StateStore::get(const std::string& id) {
  StateInfo info;
  std::shared_ptr<const State> state;
  {
    const std::lock_guard guard(mutex_);
    info = require(id);
    uses_[id] = seconds_since_1970();
    state = ram_.find(info.content);
  }
  if (state == nullptr) {
    try {
      state = load(info);
    } catch (const Error&) {
      const std::lock_guard guard(mutex_);
      require(id);  // it may have been removed meanwhile
      throw;
    }
    const std::lock_guard guard(mutex_);
    ram_.keep(info.content, state);
  }
  return *state;
}

State StateStore::get(const std::string& id, const Model& model) {
  State state = get(id);
  model.check_state(state, fmt::format("the state {} in {}", id, folder_));
  return state;
}

std::optional<StateInfo> StateStore::find(const std::string& id_or_name) {
  const std::lock_guard guard(mutex_);
  // No name has the form of an id.
  std::optional<StateInfo> info =
      is_state_id(id_or_name) ? index_->find(id_or_name) : index_->find_by_name(id_or_name);
  if (info) add_uses(*info);
  return info;
}

std::vector<StateInfo> StateStore::list(const StateFilter& filter) {
  // Thousands of states take a while: nobody shall wait for that.
  Index reader(index_path());
  std::vector<StateInfo> all = reader.list(filter.parent);
  std::erase_if(all, [&](const StateInfo& info) { return !fits(info, filter); });
  const std::lock_guard guard(mutex_);
  for (StateInfo& info : all) add_uses(info);
  return all;
}

void StateStore::relabel(const std::string& id, StateLabels labels) {
  const std::lock_guard guard(mutex_);
  // No other process writes this record meanwhile.
  Index::Transaction transaction(*index_);
  StateInfo info = require(id);
  normalize(labels, info.labels);
  info.labels = std::move(labels);
  AtomicFile record(record_path(id), Readers::owner);
  const std::string text = to_record(info);
  record.write(std::as_bytes(std::span(text)));
  record.flush();
  enter(info, record);
  transaction.commit();
  sync_folder(folder_);
}

void StateStore::remove(const std::string& id) {
  Removed removed;
  {
    const std::lock_guard guard(mutex_);
    Index::Transaction transaction(*index_);
    const StateInfo info = require(id);
    index_->erase(id);
    removed.ids.push_back(id);
    if (!index_->has_content(info.content)) removed.contents.push_back(info.content);
    transaction.commit();
  }
  delete_files(removed);
}

}  // namespace anser
