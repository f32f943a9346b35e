#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace anser {

// True when the bytes begin as a state file does.
bool is_state_file(std::span<const std::byte> bytes);

// The bytes of the state file at `path`, which nobody can change or cut off any more; nothing where
// the file does not begin as one. Throws Error.
std::optional<std::vector<std::byte>> read_state_file(const std::string& path);

}  // namespace anser
