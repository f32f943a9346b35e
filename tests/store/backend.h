// The stores that there are, for tests of what all of them do.
#pragma once

#include <memory>
#include <string>

#include "store/open_states.h"

namespace support {

// A place for states, empty at first and gone with the object.
class Backend {
 public:
  virtual ~Backend() = default;
  // Several may be open at once.
  virtual std::unique_ptr<anser::States> open(uint64_t max_ram_bytes = 0) = 0;
  // How many of them are kept.
  virtual size_t contents() = 0;
  virtual size_t records() = 0;
  // Puts garbage in the content's place.
  virtual void damage_content(const std::string& content) = 0;
};

std::unique_ptr<Backend> folder_backend();

// Why there is none, or the empty text.
std::string why_no_redis();
std::unique_ptr<Backend> redis_backend();

}  // namespace support
