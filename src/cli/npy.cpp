#include "cli/npy.h"

#include <fmt/format.h>

#include <bit>

#include "base/check.h"

namespace anser {

static_assert(std::endian::native == std::endian::little, "the header says '<f4'");

NpyWriter::NpyWriter(const std::string& path, int64_t rows, int64_t cols)
    : file_(path), missing_(rows * cols) {
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
  file_.reserve(sizeof(start) + text.size() + size_t(missing_) * sizeof(float));
  file_.write(std::as_bytes(std::span(start)));
  file_.write(std::as_bytes(std::span(text)));
}

void NpyWriter::append(std::span<const float> values) {
  ANSER_CHECK(int64_t(values.size()) <= missing_);
  missing_ -= int64_t(values.size());
  file_.write(std::as_bytes(values));
}

void NpyWriter::finish() {
  ANSER_CHECK(missing_ == 0);
  file_.commit();
}

}  // namespace anser
