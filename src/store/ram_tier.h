// States kept in memory, the least recently used given up first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "anser/state.h"

namespace anser {

// Used by one thread at a time; the states that it hands out may be read by many.
class RamTier {
 public:
  explicit RamTier(uint64_t max_bytes) : max_bytes_(max_bytes) {}

  // nullptr: it is not there.
  std::shared_ptr<const State> find(const std::string& key);
  // What is larger than all the room is not kept.
  void keep(const std::string& key, std::shared_ptr<const State> state);
  void drop(const std::string& key);
  uint64_t bytes() const { return bytes_; }

 private:
  struct Item {
    std::string key;
    std::shared_ptr<const State> state;
    uint64_t bytes;
  };

  const uint64_t max_bytes_;
  uint64_t bytes_ = 0;
  std::list<Item> items_;  // the most recently used in front
  std::unordered_map<std::string, std::list<Item>::iterator> by_key_;
};

}  // namespace anser
