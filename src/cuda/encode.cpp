#include "cuda/encode.h"

#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "cuda/runtime.h"
#include "model/blocks.h"

namespace anser {
namespace {

using cuda::DeviceMatrix;
using cuda::Format;

constexpr int kGroup = 32;  // elements that are unpacked together

// Some 32 neighbouring weights: value = code * scale - minimum, a scale for every `group` of them.
struct Codes {
  int8_t code[kGroup];
  uint16_t scale[2], minimum[2];  // f16; the second only where a group is 16
};

template <class Block>
Block block_at(const std::byte* row, int64_t index) {
  Block block;
  std::memcpy(&block, row + index * int64_t(sizeof(Block)), sizeof(Block));
  return block;
}

void take_nibbles(const uint8_t* q, int8_t* to) {
  for (int i = 0; i < 16; ++i) {
    to[i] = int8_t(q[i] & 15);
    to[i + 16] = int8_t(q[i] >> 4);
  }
}

void take_fifth_bits(const uint8_t* high, int8_t* to) {
  for (int i = 0; i < 32; ++i) to[i] = int8_t(to[i] | (high[i / 8] >> i % 8 & 1) << 4);
}

// The 6-bit scale and minimum of sub-block j; see BlockQ4K.
void take_sub_scales(const uint8_t* s, int j, int& scale, int& minimum) {
  if (j < 4) {
    scale = s[j] & 63;
    minimum = s[j + 4] & 63;
  } else {
    scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
    minimum = s[j + 4] >> 4 | s[j] >> 6 << 4;
  }
}

template <class Block>
void take_sub_block(const Block& b, int j, Codes& to) {
  for (int i = 0; i < 32; ++i) to.code[i] = int8_t(b.q[j / 2 * 32 + i] >> 4 * (j % 2) & 15);
  int scale, minimum;
  take_sub_scales(b.scales, j, scale, minimum);
  to.scale[0] = f32_to_f16(f16_to_f32(b.d) * float(scale));
  to.minimum[0] = f32_to_f16(f16_to_f32(b.dmin) * float(minimum));
}

// Elements 32 i to 32 i + 32 of a row.
Codes take_codes(DType type, const std::byte* row, int64_t i) {
  Codes to = {};
  switch (type) {
    case DType::q8_0: {
      const auto b = block_at<BlockQ8_0>(row, i);
      std::memcpy(to.code, b.q, 32);
      to.scale[0] = b.d;
      break;
    }
    case DType::q4_0: {
      const auto b = block_at<BlockQ4_0>(row, i);
      take_nibbles(b.q, to.code);
      to.scale[0] = b.d;
      to.minimum[0] = f32_to_f16(8 * f16_to_f32(b.d));
      break;
    }
    case DType::q4_1: {
      const auto b = block_at<BlockQ4_1>(row, i);
      take_nibbles(b.q, to.code);
      to.scale[0] = b.d;
      to.minimum[0] = b.m ^ 0x8000;
      break;
    }
    case DType::q5_0: {
      const auto b = block_at<BlockQ5_0>(row, i);
      take_nibbles(b.q, to.code);
      take_fifth_bits(b.high, to.code);
      for (int8_t& code : to.code) code = int8_t(code - 16);
      to.scale[0] = b.d;
      break;
    }
    case DType::q5_1: {
      const auto b = block_at<BlockQ5_1>(row, i);
      take_nibbles(b.q, to.code);
      take_fifth_bits(b.high, to.code);
      to.scale[0] = b.d;
      to.minimum[0] = b.m ^ 0x8000;
      break;
    }
    case DType::q4_k:
      take_sub_block(block_at<BlockQ4K>(row, i / 8), int(i % 8), to);
      break;
    case DType::q5_k: {
      const auto b = block_at<BlockQ5K>(row, i / 8);
      const int j = int(i % 8);
      take_sub_block(b, j, to);
      for (int e = 0; e < 32; ++e) to.code[e] = int8_t(to.code[e] | (b.high[e] >> j & 1) << 4);
      break;
    }
    case DType::q6_k: {
      const auto b = block_at<BlockQ6K>(row, i / 8);
      const int half = int(i % 8) / 4, k = int(i % 4);
      for (int e = 0; e < 32; ++e) {
        const int low = b.low[64 * half + 32 * (k % 2) + e] >> (k < 2 ? 0 : 4) & 15;
        const int high = b.high[32 * half + e] >> 2 * k & 3;
        to.code[e] = int8_t((low | high << 4) - 32);
      }
      for (int s = 0; s < 2; ++s) {
        to.scale[s] = f32_to_f16(f16_to_f32(b.d) * float(b.scales[8 * half + 2 * k + s]));
      }
      break;
    }
    default:
      break;
  }
  return to;
}

Format format_of(DType type) {
  switch (type) {
    case DType::f32:
      return Format::f32;
    case DType::f16:
      return Format::f16;
    case DType::bf16:
      return Format::bf16;
    case DType::q4_0:
    case DType::q4_1:
    case DType::q4_k:
      return Format::nibbles;
    default:
      return Format::bytes;
  }
}

bool has_minima(DType type) {
  return type == DType::q4_0 || type == DType::q4_1 || type == DType::q5_1 || type == DType::q4_k ||
         type == DType::q5_k;
}

size_t code_bytes(Format format, size_t count) {
  switch (format) {
    case Format::f32:
      return 4 * count;
    case Format::f16:
    case Format::bf16:
      return 2 * count;
    case Format::bytes:
      return count;
    case Format::nibbles:
      return count / 2;
  }
  return 0;
}

// Lines of plain numbers. Whether they are rows or columns of what is stored is all that differs.
template <class T>
void encode_plain(const Matrix& W, const DeviceMatrix& to_matrix, T* to, Part lines) {
  const int width = to_matrix.transposed ? W.rows : W.cols;
  // The numbers of a line are neighbours in the file, or a file's line apart.
  const bool neighbours = to_matrix.transposed == W.transposed;
  const int64_t apart = W.transposed ? W.rows : W.cols;
  const auto* from = reinterpret_cast<const T*>(W.data);
  constexpr int kTogether = 32;  // lines that share the cache lines of what is read
  for (int64_t begin = lines.begin; begin < lines.end; begin += kTogether) {
    const int64_t end = std::min<int64_t>(begin + kTogether, lines.end);
    if (neighbours) {
      for (int64_t line = begin; line < end; ++line) {
        std::memcpy(to + line * to_matrix.stride, W.data + line * width * int64_t(sizeof(T)),
                    size_t(width) * sizeof(T));
      }
      continue;
    }
    for (int c = 0; c < width; ++c) {
      for (int64_t line = begin; line < end; ++line) {
        std::memcpy(to + line * to_matrix.stride + c, from + c * apart + line, sizeof(T));
      }
    }
  }
}

// Rows begin to end of a quantised matrix, 32 inputs at a time.
void encode_codes(const Matrix& W, const EncodedLayout& layout, std::byte* to, Part rows) {
  const DeviceMatrix& m = layout.matrix;
  auto* scales = reinterpret_cast<uint16_t*>(to + layout.scales_at);
  auto* minima =
      layout.minima_at > 0 ? reinterpret_cast<uint16_t*>(to + layout.minima_at) : nullptr;
  auto* codes = reinterpret_cast<uint8_t*>(to);
  const int groups = kGroup / m.group;
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const std::byte* row = W.data + r * int64_t(W.row_bytes());
    for (int64_t i = 0; i < W.cols / kGroup; ++i) {
      const Codes unpacked = take_codes(W.type, row, i);
      for (int e = 0; e < kGroup; ++e) {
        const int64_t column = i * kGroup + e;
        const int64_t at = m.transposed ? column * m.stride + r : r * m.stride + column;
        const auto code = uint8_t(unpacked.code[e]);
        if (m.format == Format::bytes) {
          codes[at] = code;
        } else {
          uint8_t& pair = codes[at / 8 * 4 + at % 4];
          pair = uint8_t(pair | code << at % 8 / 4 * 4);
        }
      }
      for (int g = 0; g < groups; ++g) {
        const int64_t group = i * groups + g;
        const int64_t at = m.transposed ? group * m.stride + r : r * (m.stride / m.group) + group;
        scales[at] = unpacked.scale[g];
        if (minima != nullptr) minima[at] = unpacked.minimum[g];
      }
    }
  }
}

}  // namespace

EncodedLayout encoded_layout(const Matrix& W, bool across) {
  EncodedLayout layout;
  DeviceMatrix& m = layout.matrix;
  m.format = format_of(W.type);
  m.transposed = across;
  m.rows = W.rows;
  m.cols = W.cols;
  m.group = W.type == DType::q6_k ? 16 : 32;
  const int lines = across ? W.cols : W.rows;
  m.stride = ((across ? W.rows : W.cols) + 7) / 8 * 8;
  const size_t count = size_t(lines) * m.stride;
  layout.bytes = cuda::aligned(code_bytes(m.format, count));
  if (is_plain(m.format)) return layout;
  const size_t scales = cuda::aligned(count / m.group * sizeof(uint16_t));
  layout.scales_at = layout.bytes;
  layout.bytes += scales;
  if (!has_minima(W.type)) return layout;
  layout.minima_at = layout.bytes;
  layout.bytes += scales;
  return layout;
}

void encode(const Matrix& W, const EncodedLayout& layout, std::byte* to, ThreadPool& pool) {
  std::memset(to, 0, layout.bytes);
  const DeviceMatrix& m = layout.matrix;
  pool.run([&](int worker) {
    if (is_plain(m.format)) {
      const Part lines = part_of(m.transposed ? m.cols : m.rows, worker, pool.size());
      if (m.format == Format::f32) {
        encode_plain(W, m, reinterpret_cast<uint32_t*>(to), lines);
      } else {
        encode_plain(W, m, reinterpret_cast<uint16_t*>(to), lines);
      }
    } else {
      // Rows of an octet can share the bytes of a transposed line: they go to one worker.
      encode_codes(W, layout, to, part_of(W.rows, worker, pool.size(), 8));
    }
  });
}

}  // namespace anser
