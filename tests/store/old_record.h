// The record of a state as another version of the program has written it.
#pragma once

#include <stdexcept>
#include <string>

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

#include "support/temp_dir.h"

namespace support {

// Puts `to` in the place of `from`, and under it the checksum that fits. No store may have it open.
inline void rewrite_record(const std::string& path, const std::string& from,
                           const std::string& to) {
  std::string line = read_file(path);
  line.resize(line.find('\n') + 1);
  const size_t at = line.find(from);
  if (at == std::string::npos) throw std::runtime_error("no " + from + " in " + path);
  line.replace(at, from.size(), to);
  write_file(path, line + fmt::format("xxh3 {:016x}\n", XXH3_64bits(line.data(), line.size())));
}

}  // namespace support
