// Contents that no record names: what writers that were killed have left, and whatever may yet find
// its record again. They are set aside under another name, and deleted a day later, or when the
// room is needed.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "store/store_files.h"

namespace anser {

class Orphans {
 public:
  explicit Orphans(const StoreFiles& files) : files_(files) {}

  // Sets aside what no record names, and deletes what was set aside a day ago. Reads all records
  // first when there is anything to do, and does nothing while one of them cannot be read.
  // `nobody_writes`: a content without a record is nobody's work; else it is not before a day has
  // gone by. `named`: contents that surely have records.
  void tidy(const StoreFiles::Listing& files, const std::set<std::string>& named,
            bool nobody_writes);

  // Sets aside a content that a record may name which cannot be read.
  void add(const std::string& content);

  // Of all that is set aside, as of the last tidy().
  uint64_t bytes() const { return bytes_; }
  // Deletes the oldest of them until they have `bytes` less, or none is left.
  void make_room(uint64_t bytes);

 private:
  struct Orphan {
    std::string id;
    uint64_t bytes;
    double since;  // seconds since 1970
  };
  std::vector<Orphan> look(const StoreFiles::Listing& files) const;

  const StoreFiles& files_;
  uint64_t bytes_ = 0;
};

// Gives a content that was set aside its place back, if it is not there.
void bring_back(const StoreFiles& files, const std::string& content);

}  // namespace anser
