// Replacing a file so that a crash or a full disk leaves the old one.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace anser {

// Writes `bytes` to a temporary file beside `path`, flushes it to disk and renames it. Throws
// Error, having removed the temporary file. A path that exists and is no regular file (a pipe,
// /dev/stdout) is written in place.
void write_file_atomically(const std::string& path, std::span<const std::byte> bytes);

}  // namespace anser
