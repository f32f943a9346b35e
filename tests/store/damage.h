// What can befall a file, chosen by a seed.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "base/splitmix64.h"
#include "support/temp_dir.h"

namespace support {

// How often tests of damage damage something: few times, unless the environment says more.
inline int ways_of_damage(int few) {
  const char* said = std::getenv("ANSER_DAMAGE_WAYS");
  return said == nullptr ? few : std::max(1, std::atoi(said));
}

// Bits, bytes and pages flipped, zeroed, random, swapped, cut off or doubled. `how` is filled with
// a word about it.
inline std::string damaged(std::string bytes, uint64_t seed, std::string* how = nullptr) {
  constexpr size_t kPage = 4096;
  uint64_t random = seed * 2 + 1;
  const auto below = [&](size_t n) { return n == 0 ? 0 : size_t(anser::splitmix64(random) % n); };
  const size_t pages = std::max<size_t>(1, bytes.size() / kPage);
  const auto page = [&] { return std::min(below(pages) * kPage, bytes.size()); };
  const auto fill = [&](size_t at, size_t size, bool zero) {
    for (size_t i = at; i < std::min(bytes.size(), at + size); ++i) {
      bytes[i] = zero ? '\0' : char(anser::splitmix64(random));
    }
  };
  const char* kinds[] = {"bit",     "bits", "header",      "byte",     "zeroed page", "random page",
                         "swapped", "cut",  "cut at page", "no bytes", "grown"};
  const size_t kind = below(std::size(kinds));
  if (how != nullptr) *how = kinds[kind];
  switch (kind) {
    case 0:
      bytes[below(bytes.size())] ^= char(1 << below(8));
      break;
    case 1:
      for (int i = 0; i < 20; ++i) bytes[below(bytes.size())] ^= char(1 << below(8));
      break;
    case 2:  // of the file, or of a page
      bytes[std::min(page() + below(112), bytes.size() - 1)] ^= char(1 << below(8));
      break;
    case 3:
      bytes[below(bytes.size())] = char(below(256));
      break;
    case 4:
      fill(page(), kPage, true);
      break;
    case 5:
      fill(page(), kPage, false);
      break;
    case 6: {
      const size_t a = page(), b = page();
      const std::string first = bytes.substr(a, kPage), second = bytes.substr(b, kPage);
      if (first.size() == second.size()) bytes.replace(a, kPage, second).replace(b, kPage, first);
      break;
    }
    case 7:
      bytes.resize(below(bytes.size()));
      break;
    case 8:
      bytes.resize(page());
      break;
    case 9:
      bytes.clear();
      break;
    default:
      bytes += bytes.substr(page(), kPage);
  }
  return bytes;
}

// In place, and from another process: what this one has locked in the file stays so.
inline void write_in_place(const std::string& path, const std::string& bytes) {
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork");
  if (child == 0) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT, 0600);
    const bool done = fd >= 0 &&
                      ::pwrite(fd, bytes.data(), bytes.size(), 0) == ssize_t(bytes.size()) &&
                      ::ftruncate(fd, off_t(bytes.size())) == 0;
    ::_exit(done ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status != 0) throw std::runtime_error("cannot write " + path);
}

}  // namespace support
