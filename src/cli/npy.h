// NumPy's array file, format version 1.0.
#pragma once

#include <cstdint>
#include <cstdio>
#include <span>
#include <string>

namespace anser {

// Writes a float32 array [rows, cols] in C order, piece by piece. The file appears under its name
// only when finish() has been called; before that it is `path`.part. A path that is no regular file
// (/dev/stdout, a pipe) is written to directly.
class NpyWriter {
 public:
  // Throws Error, as do the others, when the file cannot be written.
  NpyWriter(const std::string& path, int64_t rows, int64_t cols);
  ~NpyWriter();
  NpyWriter(const NpyWriter&) = delete;
  NpyWriter& operator=(const NpyWriter&) = delete;

  void append(std::span<const float> values);
  void finish();  // when rows * cols values have been appended

 private:
  [[noreturn]] void fail();
  void write(const void* data, size_t bytes);

  std::string path_;
  std::string written_path_;
  std::FILE* file_ = nullptr;
  int64_t missing_;  // values that are still to come
};

}  // namespace anser
