// The entries of a zip archive as spans of the mapped file. Only stored (uncompressed, unencrypted)
// entries, which is what torch.save writes; zip64 included. Entry data is never touched.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace anser {

struct ZipEntry {
  std::string_view name;  // into the archive's bytes, as is data
  std::span<const std::byte> data;
};

// In the order of the central directory, without folders. Names are unique. Throws Error.
std::vector<ZipEntry> read_zip_directory(std::span<const std::byte> bytes, const std::string& path);

}  // namespace anser
