// Opens a store of states by its address: a folder, or a Redis server.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "store/states.h"

namespace anser {

struct OpenStatesOptions {
  uint64_t max_ram_bytes = 0;   // of states that are kept in memory as well
  uint64_t max_disk_bytes = 0;  // of a folder; 0: no limit
  double lifetime_days = 30;    // in Redis, of states without name and tag; 0: for ever
  bool read_only = false;       // of a folder: nothing is made or written there, nor can be
  bool make = true;             // a folder where there is none
  // Gets a sentence for what is found wrong later on, from any thread.
  std::function<void(const std::string& sentence)> notice = {};
};

struct OpenedStates {
  std::unique_ptr<States> states;
  std::string where;                  // for messages: no password in it
  std::vector<std::string> problems;  // what is not right with it, a sentence each
};

// `address`: redis://... (redis_url.h), or else a folder, which is made if there is none. Throws
// Error; also for every redis:// where the program was built without hiredis.
OpenedStates open_states(const std::string& address, const OpenStatesOptions& options = {});

}  // namespace anser
