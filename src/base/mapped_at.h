// Which file lies at an address, for a signal handler: takes no lock and no memory.
#pragma once

#include <climits>
#include <cstdint>

namespace anser {

// A piece of a file in this process's memory, whoever has mapped it.
struct MappedPiece {
  char path[PATH_MAX];
  uint64_t end;  // in bytes: a file that is shorter has been cut off since
};

// False: nothing is mapped there, or no file.
bool find_mapped_at(const void* address, MappedPiece& piece) noexcept;

}  // namespace anser
