// A file's bytes, read whole: whatever happens to the file afterwards, they stay as they are. For
// what is small enough; models are mapped (base/mapped_file.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace anser {

// Throws Error when the file cannot be opened or read, is no regular file, or has more than `most`
// bytes, which shows before any is read.
std::vector<std::byte> read_file(const std::string& path, uint64_t most);

// The first bytes, `most` or fewer if there are no more. Throws Error as above.
std::vector<std::byte> read_file_begin(const std::string& path, size_t most);

}  // namespace anser
