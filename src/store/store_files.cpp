#include "store/store_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>

#include "base/temporary_files.h"
#include "store/state_id.h"

namespace anser {
namespace {

namespace fs = std::filesystem;

// A note of 64 KiB, written with escapes, and the rest of a record are far below that.
constexpr size_t kMaxRecord = size_t{1} << 20;

[[noreturn]] void fail_at(const std::string& path, const char* doing, int error) {
  fail_as(error, fmt::format("{}: cannot {}: {}", path, doing, std::strerror(error)));
}

std::optional<struct stat> look_at(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) return status;
  // Without its folder it is not known what there is.
  if (errno != ENOENT) fail_at(path, "look at", errno);
  return std::nullopt;
}

RecordStamp stamp_of(const struct stat& status) {
  return {int64_t(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec,
          int64_t(status.st_ino)};
}

// Read and not mapped: a file that is cut off meanwhile ends no process. Nothing: there is none.
std::optional<std::string> read_small_file(const std::string& path) {
  const std::optional<int> opened = open_to_read(path);
  if (!opened) return std::nullopt;
  const int fd = *opened;
  std::string text;
  char part[8192];
  ssize_t n = 0;
  int error = 0;
  while (text.size() <= kMaxRecord) {
    n = ::read(fd, part, sizeof(part));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) error = errno;
    if (n <= 0) break;
    text.append(part, size_t(n));
  }
  ::close(fd);
  if (error != 0) fail_at(path, "read", error);
  if (text.size() > kMaxRecord) {
    throw RecordDamaged(
        fmt::format("{}: expected a record of at most {} bytes, found a larger file", path,
                    kMaxRecord),
        kToldFailed);
  }
  return text;
}

}  // namespace

StoreFiles::Listing StoreFiles::list() const {
  Listing listing;
  std::error_code error;
  fs::directory_iterator at(folder_, error);
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (is_temporary_name(name)) listing.unfinished.push_back(at->path().string());
    const size_t dot = name.find('.');
    if (dot == std::string::npos || !is_state_id(name.substr(0, dot))) continue;
    const std::string id = name.substr(0, dot), rest = name.substr(dot);
    if (rest == ".json") listing.records.insert(id);
    if (rest == ".zst") listing.contents.insert(id);
    if (rest == ".zst.orphan") listing.orphans.insert(id);
    if (rest.ends_with(".new")) listing.unfinished.push_back(at->path().string());
  }
  if (error) fail_at("the folder " + folder_, "be read", error.value());
  return listing;
}

std::optional<RecordStamp> StoreFiles::record_stamp(const std::string& id) const {
  const std::optional<struct stat> status = look_at(record(id));
  if (!status) return std::nullopt;
  return stamp_of(*status);
}

std::optional<StateInfo> StoreFiles::read_record(const std::string& id) const {
  const std::string path = record(id);
  const std::optional<std::string> text = read_small_file(path);
  if (!text) return std::nullopt;
  try {
    StateInfo info = parse_record(std::as_bytes(std::span(*text)), path);
    if (info.id == id) return info;
    throw Error(fmt::format("{}: the record of another state, {}", path, info.id));
  } catch (const Error& error) {
    throw RecordDamaged(error.what(), kToldFailed);
  }
}

bool StoreFiles::has_content(const std::string& id) const {
  return look_at(content(id)).has_value();
}

std::optional<std::set<std::string>> StoreFiles::named_contents(const Listing& files) const {
  std::set<std::string> named;
  try {
    for (const std::string& id : files.records) {
      if (const auto info = read_record(id)) named.insert(info->content);
    }
  } catch (const StoreError&) {
    return std::nullopt;
  }
  return named;
}

std::optional<int> open_to_read(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 && errno == ENOENT) return std::nullopt;
  if (fd < 0) fail_at(path, "open", errno);
  struct stat status {};
  const int error = ::fstat(fd, &status) != 0 ? errno : 0;
  if (error == 0 && S_ISREG(status.st_mode)) return fd;
  ::close(fd);
  if (error != 0) fail_at(path, "look at", error);
  throw StoreFailed(fmt::format("{}: cannot read: it is not a regular file", path), kToldFailed);
}

std::string missing_content(const StoreFiles& files, const StateInfo& info) {
  return fmt::format("{}: the state's content, {}, is missing: bring it back or delete this file",
                     files.record(info.id), files.content(info.content));
}

RecordStamp stamp_of(const std::string& path) {
  const std::optional<struct stat> status = look_at(path);
  if (!status) fail_at(path, "look at", ENOENT);
  return stamp_of(*status);
}

void delete_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) fail_at(path, "delete", errno);
}

}  // namespace anser
