// A file's bytes, mapped read-only: opening touches no page, pages come in as they are read.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace anser {

class MappedFile {
 public:
  // Throws Error when the file cannot be opened, is no regular file or cannot be mapped.
  // An empty file gives an empty span.
  static std::shared_ptr<const MappedFile> open(const std::string& path);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

  // The path of the file that is mapped where `address` is; nullptr: none that is known. A page
  // that cannot be read, for its file was cut off or its disk fails, is a signal, SIGBUS, and this
  // is for its handler. The text stays while the file is mapped.
  static const char* path_of(const void* address) noexcept;

  // Gives the pages that were read back to the system, which still has them cached; they come in
  // again when they are read again. A hint: bytes() stays as valid as it was.
  void forget_pages() const;

 private:
  MappedFile(std::string path, const std::byte* data, size_t size);

  std::string path_;
  const std::byte* data_;
  size_t size_;
  int noted_ = -1;  // where path_of() finds it; -1: nowhere
};

}  // namespace anser
