// Replacing a file so that a crash or a full disk leaves the old one.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace anser {

// A file written in pieces under a temporary name beside its place, which it takes in commit().
// Without commit() nothing is left behind. A path that exists and is no regular file (a pipe,
// /dev/stdout) is written in place.
//
// Throws Error that names the path when something cannot be done.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // States how many bytes there will be, before the first is written, so that a disk that is too
  // full shows now. Then exactly as many must come.
  void reserve(size_t bytes);
  void write(std::span<const std::byte> bytes);
  // Waits until what was written is on the disk, where commit() is to be quick.
  void flush();
  // Flushes to disk and renames. Nothing may follow.
  void commit();

  // Where the bytes are until commit().
  const std::string& written_path() const { return written_path_; }

 private:
  [[noreturn]] void fail(int error);

  std::string path_;
  std::string written_path_;  // path_ when in place
  int fd_;
  size_t expected_ = 0;  // 0: not stated
  size_t written_ = 0;
  bool flushed_ = false;
};

// Waits until the names in a folder are on the disk, so that a power cut does not undo a rename.
// Throws Error.
void sync_folder(const std::string& path);

void write_file_atomically(const std::string& path, std::span<const std::byte> bytes);

}  // namespace anser
