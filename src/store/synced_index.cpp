#include "store/synced_index.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "store/orphans.h"
#include "store/packed_state.h"
#include "store/state_id.h"

namespace anser {
namespace {

constexpr double kTryFileSeconds = 10;  // between two tries to have the index in a file again

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
bool is_too_short(const std::string& path) {
  struct stat status {};
  constexpr off_t kSmallestPage = 512;
  return ::stat(path.c_str(), &status) == 0 && status.st_size < kSmallestPage;
}

void delete_index(const std::string& path) {
  for (const char* part : {"", "-wal", "-shm"}) delete_file(path + part);
}

}  // namespace

SyncedIndex::SyncedIndex(const StoreFiles& files, Tell tell)
    : files_(files), tell_(std::move(tell)), lock_(std::make_unique<FolderLock>(files.lock())) {}

// `anew`: the one that is there is damaged.
void SyncedIndex::open_index(bool anew) {
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
    if (replace || is_too_short(path)) delete_index(path);
    try {
      return open();
    } catch (const IndexDamaged& error) {
      tell_(fmt::format("{}: it is made again from the states' records", error.what()));
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
void SyncedIndex::use_memory(const StoreError& why) {
  index_.reset();
  index_ = std::make_unique<Index>(files_, [this](Index& index) { catch_up(index); });
  no_room_ = dynamic_cast<const StoreFull*>(&why) != nullptr;
  if (why_memory_ != why.what()) {
    tell_(
        fmt::format("{}: so all records are read instead, and no state can be added", why.what()));
  }
  why_memory_ = why.what();
  told_memory_ = why.told();
}

// For who is about to change something: perhaps there is room by now.
void SyncedIndex::want_file() {
  if (index_ != nullptr && index_->in_memory()) index_.reset();
}

// For what others shall see at once.
void SyncedIndex::need_file() const {
  if (!index_->in_memory()) return;
  if (no_room_) throw StoreFull(why_memory_, told_memory_);
  throw StoreFailed(why_memory_, told_memory_);
}

void SyncedIndex::make_ready() {
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
void SyncedIndex::keep_in_step() {
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
bool SyncedIndex::can_read_more() const {
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

bool SyncedIndex::in_step(const StoreFiles::Listing& files) {
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
void SyncedIndex::catch_up(Index& index) {
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
      why = missing_content(files_, *info);
    } catch (const StatesUnavailable&) {
      throw;
    } catch (const RecordDamaged& error) {
      why = error.what();
    } catch (const StoreError& error) {
      why = error.what();
      left.again = true;
    }
    const auto known_left = left_out_.find(id);
    if (known_left == left_out_.end() || !(known_left->second == left)) tell_(why);
    left_out.emplace(id, std::move(left));
  }
  left_out_ = std::move(left_out);
  // Without a record any more, or to be read again.
  for (const auto& [id, entry] : before) index.erase(id);
  insert_all(index, std::move(changed));
}

// Of two states with a name, which only copied or resurrected files can bring about, the one in the
// index keeps it, or else the newer one.
void SyncedIndex::insert_all(Index& index, std::vector<std::pair<StateInfo, RecordStamp>> states) {
  std::sort(states.begin(), states.end(),
            [](const auto& a, const auto& b) { return a.first.created > b.first.created; });
  for (auto& [info, stamp] : states) {
    if (!info.labels.name.empty() && index.find_by_name(info.labels.name)) info.labels.name.clear();
    index.insert(info, stamp);
  }
}

std::optional<StateInfo> SyncedIndex::look_up(const std::string& id_or_name) {
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

void SyncedIndex::commit_what_is_done(Index::Transaction& transaction) {
  try {
    transaction.commit();
  } catch (const StoreError&) {
    index_->distrust();
    folder_changed_ = 0;
  }
}

void SyncedIndex::distrust() {
  if (index_ != nullptr) index_->distrust();
}

void SyncedIndex::sync() {
  folder_changed_ = 0;
  keep_in_step();
}

bool SyncedIndex::all_records_read() const {
  return std::all_of(left_out_.begin(), left_out_.end(),
                     [](const auto& left) { return !left.second.content.empty(); });
}

void SyncedIndex::make_again(const IndexDamaged& why) {
  tell_(fmt::format("{}: it is made again from the states' records", why.what()));
  open_index(/*anew=*/true);
}

std::unique_ptr<Index> SyncedIndex::open_reader() {
  return run([&]() -> std::unique_ptr<Index> {
    keep_in_step();
    if (index_->in_memory()) return nullptr;
    const FolderTurn turn(files_.folder(), FolderTurn::Wait::yes);
    return std::make_unique<Index>(files_.index(), files_, nullptr);
  });
}

}  // namespace anser
