// Who uses a store's folder. The lock is the kernel's: it goes when the process goes, however that
// ends.
#pragma once

#include <string>

namespace anser {

class FolderLock {
 public:
  // Waits while another process tidies up. Throws Error that names the path.
  explicit FolderLock(const std::string& path);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  // Nobody else has the folder, and whoever wants it waits until share() or the lock's end: what
  // looks half done is, and its writer is dead.
  bool alone() const { return alone_; }
  void share();

 private:
  const std::string path_;
  int fd_;
  bool alone_;
};

}  // namespace anser
