// NumPy's array file, format version 1.0.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/atomic_file.h"

namespace anser {

// Writes a float32 array [rows, cols] in C order, piece by piece. The file appears under its name
// only when finish() has been called (base/atomic_file.h).
class NpyWriter {
 public:
  // Throws Error, as do the others, when the file cannot be written.
  NpyWriter(const std::string& path, int64_t rows, int64_t cols);

  void append(std::span<const float> values);
  void finish();  // when rows * cols values have been appended

 private:
  AtomicFile file_;
  int64_t missing_;  // values that are still to come
};

}  // namespace anser
