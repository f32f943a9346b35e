// The bytes of stored states: state files (docs/formats.md), compressed as one frame of zstd.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "anser/state.h"

namespace anser {

std::vector<std::byte> compress_state_file(std::span<const std::byte> file);

// `raw_bytes`: how large the state file is. Throws Error that names `source` for bytes that are not
// exactly one compressed state file of this size, undamaged.
std::vector<std::byte> decompress_state_file(std::span<const std::byte> bytes, uint64_t raw_bytes,
                                             const std::string& source);

// The checksum that a state file ends with.
uint64_t checksum_of(std::span<const std::byte> file);

}  // namespace anser
