// A cursor over the bytes of a file that cannot leave them. All formats here are little endian.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "formats/checks.h"

namespace anser {

static_assert(std::endian::native == std::endian::little,
              "the readers and the kernels take the bytes of a file as they are");

template <typename T>
requires std::integral<T> || std::floating_point<T> T load_little_endian(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class ByteReader {
 public:
  // `path` goes into error messages and must outlive the reader.
  ByteReader(std::span<const std::byte> bytes, const std::string& path)
      : bytes_(bytes), path_(path) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }

  // `what` names the thing that is read, for the message when the bytes end before it does.
  template <typename T>
  T read(const char* what) {
    return load_little_endian<T>(take(sizeof(T), what).data());
  }

  std::span<const std::byte> take(uint64_t count, const char* what) {
    if (count > remaining()) {
      fail(path_, "cut off or damaged: {} at byte {} takes {} bytes, but only {} are left. {}",
           what, position_, count, remaining(), kFetchAgain);
    }
    const auto taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& path_;
  size_t position_ = 0;
};

}  // namespace anser
