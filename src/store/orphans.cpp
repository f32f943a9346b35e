#include "store/orphans.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "store/folder_lock.h"
#include "store/packed_state.h"

namespace anser {
namespace {

// Seconds. Longer than any put() takes, and long enough to notice that something is missing.
constexpr double kDay = 24 * 60 * 60;

// Seconds since 1970 when a file was written, or set aside; `or_else` where that is not known.
double written(const std::string& path, double or_else, uint64_t* bytes = nullptr) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return or_else;
  if (bytes != nullptr) *bytes = uint64_t(status.st_size);
  return double(status.st_mtim.tv_sec) + 1e-9 * double(status.st_mtim.tv_nsec);
}

// Its day begins now. What cannot be renamed stays where it is.
void set_aside(const StoreFiles& files, const std::string& content) {
  const std::string path = files.content(content);
  ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
  std::rename(path.c_str(), files.orphan(content).c_str());
}

}  // namespace

void bring_back(const StoreFiles& files, const std::string& content) {
  if (files.has_content(content)) return;
  std::rename(files.orphan(content).c_str(), files.content(content).c_str());
}

std::vector<Orphans::Orphan> Orphans::look(const StoreFiles::Listing& files) const {
  std::vector<Orphan> all;
  for (const std::string& id : files.orphans) {
    uint64_t bytes = 0;
    const double since = written(files_.orphan(id), -1, &bytes);
    if (since >= 0) all.push_back({id, bytes, since});
  }
  return all;
}

void Orphans::tidy(const StoreFiles::Listing& files, const std::set<std::string>& named,
                   bool nobody_writes) {
  const double now = seconds_since_1970();
  std::vector<std::string> unnamed;
  for (const std::string& id : files.contents) {
    if (named.contains(id)) continue;
    if (nobody_writes || written(files_.content(id), now) < now - kDay) unnamed.push_back(id);
  }
  bytes_ = 0;
  std::vector<std::string> due;
  for (const Orphan& orphan : look(files)) {
    bytes_ += orphan.bytes;
    if (orphan.since < now - kDay) due.push_back(orphan.id);
  }
  if (unnamed.empty() && due.empty()) return;

  const FolderTurn turn(files_.folder(), FolderTurn::Wait::no);
  if (!turn.mine()) return;  // somebody else does it
  const StoreFiles::Listing again = files_.list();
  const auto truly_named = files_.named_contents(again);
  if (!truly_named) return;
  for (const std::string& id : unnamed) {
    if (!truly_named->contains(id)) set_aside(files_, id);
  }
  for (const std::string& id : due) {
    if (!truly_named->contains(id)) ::unlink(files_.orphan(id).c_str());
  }
  bytes_ = 0;
  for (const Orphan& orphan : look(files_.list())) bytes_ += orphan.bytes;
}

void Orphans::add(const std::string& content) {
  uint64_t bytes = 0;
  written(files_.content(content), 0, &bytes);
  set_aside(files_, content);
  bytes_ += bytes;
}

void Orphans::make_room(uint64_t bytes) {
  const FolderTurn turn(files_.folder(), FolderTurn::Wait::no);
  if (!turn.mine()) return;
  const StoreFiles::Listing files = files_.list();
  std::vector<Orphan> oldest_first = look(files);
  const auto named = files_.named_contents(files);
  if (!named) return;
  std::sort(oldest_first.begin(), oldest_first.end(),
            [](const Orphan& a, const Orphan& b) { return a.since < b.since; });
  bytes_ = 0;
  uint64_t freed = 0;
  for (const Orphan& orphan : oldest_first) {
    const bool goes = freed < bytes && !named->contains(orphan.id) &&
                      ::unlink(files_.orphan(orphan.id).c_str()) == 0;
    (goes ? freed : bytes_) += orphan.bytes;
  }
}

}  // namespace anser
