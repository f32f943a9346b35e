// Who uses a store's folder. The locks are the kernel's: they go when the process goes, however
// that ends.
#pragma once

#include <string>

namespace anser {

// Held as long as the store is open.
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
  // Whether the file at the path is still the one that is locked: folders are deleted, and made
  // again.
  bool stands() const;

 private:
  const std::string path_;
  int fd_;
  bool alone_;
};

// Held for a moment, by one at a time: who puts another index in the place of one, or deletes what
// was set aside.
class FolderTurn {
 public:
  enum class Wait { yes, no };
  // Throws StoreError that names the folder.
  FolderTurn(const std::string& folder, Wait wait);
  ~FolderTurn();
  FolderTurn(const FolderTurn&) = delete;
  FolderTurn& operator=(const FolderTurn&) = delete;

  // Always, for who waits.
  bool mine() const { return mine_; }

 private:
  int fd_;
  bool mine_ = false;
};

}  // namespace anser
