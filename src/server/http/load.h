// What a server's connections hold in memory at the moment, and what was done to keep that bounded.
#pragma once

#include <atomic>
#include <cstdint>

namespace anser::http {

struct Load {
  std::atomic<uint64_t> body_bytes{0};    // bodies that come in, and those that are worked on
  std::atomic<uint64_t> answer_bytes{0};  // answers that wait for their clients
  std::atomic<uint64_t> refused{0};       // answers for which there was no room: 503
  std::atomic<uint64_t> cut{0};           // slow clients that were cut off to make room
};

}  // namespace anser::http
