// Replacing a file so that a crash or a full disk leaves the old one.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace anser {

// Who may read a file that is written.
enum class Readers {
  usual,  // as the file that is replaced, or else as the process's umask says
  owner,  // its owner alone, whatever was there: it holds what somebody has said
};

// A file written in pieces under a temporary name beside its place, which it takes in commit().
// Without commit() nothing is left behind; a signal that ends the process finds the file in
// base/temporary_files.h. Where `path` is a symbolic link, what it leads to is replaced. What is no
// regular file (a pipe, /dev/stdout) is written in place.
//
// Throws Error that names the path when something cannot be done; what can be known of that before
// the first byte is known from the constructor.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path, Readers readers = Readers::usual);
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
  void open_in_place();
  void open_beside(Readers readers);
  [[noreturn]] void fail(int error);

  std::string path_;          // as it was given
  std::string target_;        // behind symbolic links
  std::string written_path_;  // target_ when in place
  bool in_place_ = false;
  int noted_ = -1;  // by note_temporary_file()
  int fd_ = -1;
  size_t expected_ = 0;  // 0: not stated
  size_t written_ = 0;
  bool flushed_ = false;
};

// Waits until the names in a folder are on the disk, so that a power cut does not undo a rename.
// Throws Error.
void sync_folder(const std::string& path);

void write_file_atomically(const std::string& path, std::span<const std::byte> bytes,
                           Readers readers = Readers::usual);

}  // namespace anser
