// What the index of a store knows beyond the records, for who must not write.
#pragma once

#include <map>
#include <string>

namespace anser {

struct IndexedState {
  std::string name;
  double last_used = 0;
};

// By id. Empty where there is no index, or none that can be read. Nothing is written: a plain
// read-only connection would, for SQLite's log in WAL mode wants files beside the database.
std::map<std::string, IndexedState> view_index(const std::string& path);

}  // namespace anser
