#include "cli/npy.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <bit>
#include <cerrno>
#include <cstring>

#include "anser/error.h"
#include "base/check.h"

namespace anser {

static_assert(std::endian::native == std::endian::little, "the header says '<f4'");

NpyWriter::NpyWriter(const std::string& path, int64_t rows, int64_t cols)
    : path_(path), missing_(rows * cols) {
  struct stat info;
  const bool special = stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode);
  written_path_ = special ? path : path + ".part";
  file_ = std::fopen(written_path_.c_str(), "wb");
  if (file_ == nullptr) fail();

  // Magic, version, length of the text, text: padded so that the data begins at a multiple of 64.
  std::string text =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, cols);
  const size_t prefix = 6 + 2 + 2;
  while ((prefix + text.size() + 1) % 64 != 0) text += ' ';
  text += '\n';
  const unsigned char start[prefix] = {0x93,
                                       'N',
                                       'U',
                                       'M',
                                       'P',
                                       'Y',
                                       1,
                                       0,
                                       static_cast<unsigned char>(text.size() & 0xff),
                                       static_cast<unsigned char>(text.size() >> 8)};
  write(start, sizeof(start));
  write(text.data(), text.size());
}

NpyWriter::~NpyWriter() {
  if (file_ == nullptr) return;
  std::fclose(file_);
  if (written_path_ != path_) std::remove(written_path_.c_str());
}

void NpyWriter::append(std::span<const float> values) {
  ANSER_CHECK(int64_t(values.size()) <= missing_);
  missing_ -= int64_t(values.size());
  write(values.data(), values.size_bytes());
}

void NpyWriter::finish() {
  ANSER_CHECK(missing_ == 0);
  std::FILE* file = file_;
  file_ = nullptr;
  const bool renamed = written_path_ != path_;
  if (std::fclose(file) != 0 ||
      (renamed && std::rename(written_path_.c_str(), path_.c_str()) != 0)) {
    const int error = errno;
    if (renamed) std::remove(written_path_.c_str());
    errno = error;
    fail();
  }
}

void NpyWriter::fail() {
  throw Error(fmt::format("{}: cannot write: {}", path_, std::strerror(errno)));
}

void NpyWriter::write(const void* data, size_t bytes) {
  if (std::fwrite(data, 1, bytes, file_) == bytes) return;
  // A constructor that throws runs no destructor.
  const int error = errno;
  std::fclose(file_);
  file_ = nullptr;
  if (written_path_ != path_) std::remove(written_path_.c_str());
  errno = error;
  fail();
}

}  // namespace anser
