// A weight matrix in device memory.
#pragma once

#include <cstdint>

namespace anser::cuda {

enum class Format : uint8_t {
  f32,
  f16,
  bf16,
  bytes,    // int8 code * scale - minimum
  nibbles,  // 4-bit code * scale - minimum; byte j of an octet's four has numbers j and, high, j +
            // 4
};

constexpr bool is_plain(Format format) {
  return format != Format::bytes && format != Format::nibbles;
}

constexpr int bits_of(Format format) {
  switch (format) {
    case Format::f32:
      return 32;
    case Format::f16:
    case Format::bf16:
      return 16;
    case Format::bytes:
      return 8;
    case Format::nibbles:
      return 4;
  }
  return 0;
}

// y = W x with W [rows = outputs][cols = inputs]. In memory it is [lines][stride], a line being an
// output's weights or, transposed, an input's. Lines are padded with zeros to whole octets, the
// unit of eight numbers in which all kernels read, and begin on 16 bytes.
struct DeviceMatrix {
  const void* codes = nullptr;
  // f16, one for `group` inputs: not transposed [rows][stride / group], transposed
  // [lines / group][stride]. The files' own scales where they are f16 (Q8_0, Q4_0, Q4_1, Q5_0,
  // Q5_1); the K types' products of scales, which have up to 19 bits, are rounded to f16's 11.
  const uint16_t* scales = nullptr;
  const uint16_t* minima = nullptr;  // nullptr: all zero
  Format format = Format::f32;
  bool transposed = false;
  int rows = 0, cols = 0;
  int stride = 0;  // numbers
  int group = 32;
};

}  // namespace anser::cuda
