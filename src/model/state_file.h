#pragma once

#include <cstddef>
#include <span>

namespace anser {

// True when the bytes begin as a state file does.
bool is_state_file(std::span<const std::byte> bytes);

}  // namespace anser
