#include "cpu/packed.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "model/blocks.h"

namespace anser {
namespace {

#include "cpu/isa/packing-inl.h"

static_assert(kTile == kTileOutputs);

// Square transposes by rounds of interleaving: n rows of n elements in vectors of 16 bytes.
template <class T>
struct Square {
  static constexpr int kSize = 16 / sizeof(T);
  typedef T Row __attribute__((vector_size(16)));
  Row rows[kSize];

  void transpose() {
    for (int round = 1; round < kSize; round *= 2) {
      Row next[kSize];
      for (int i = 0; i < kSize / 2; ++i) interleave(rows[i], rows[i + kSize / 2], next + 2 * i);
      std::copy(next, next + kSize, rows);
    }
  }

 private:
  static void interleave(Row a, Row b, Row* to) {
    if constexpr (kSize == 4) {
      to[0] = __builtin_shufflevector(a, b, 0, 4, 1, 5);
      to[1] = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    } else if constexpr (kSize == 8) {
      to[0] = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
      to[1] = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
    } else {
      to[0] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      to[1] = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                      15, 31);
    }
  }
};

// from [rows][columns] -> to [columns][rows], both counts multiples of 16; strides in elements.
template <class T>
void transpose(const T* from, int64_t from_stride, int rows, int columns, T* to,
               int64_t to_stride) {
  constexpr int n = Square<T>::kSize;
  for (int r = 0; r < rows; r += n) {
    for (int c = 0; c < columns; c += n) {
      Square<T> square;
      for (int i = 0; i < n; ++i) {
        std::memcpy(&square.rows[i], from + (r + i) * from_stride + c, 16);
      }
      square.transpose();
      for (int i = 0; i < n; ++i) std::memcpy(to + (c + i) * to_stride + r, &square.rows[i], 16);
    }
  }
}

// Numbers of a plain type. A file's bytes need not be aligned, so they pass through `copy`.
template <class T>
void pack_plain(const Matrix& m, int o, const PackedTile<std::byte>& tile) {
  const int outputs = std::min(kTile, m.rows - o);
  for (int i = 0; i < m.cols; i += kBlockInputs) {
    const int inputs = std::min(kBlockInputs, m.cols - i);
    auto* to = reinterpret_cast<T*>(tile.codes(i / kBlockInputs));
    if (m.transposed) {
      for (int k = 0; k < kBlockInputs; ++k, to += tile.width) {
        std::fill_n(to, kTile, T{});
        if (k >= inputs) continue;
        std::memcpy(to, m.data + (size_t(i + k) * m.rows + o) * sizeof(T), outputs * sizeof(T));
      }
    } else {
      T copy[kTile][kBlockInputs] = {};
      for (int r = 0; r < outputs; ++r) {
        std::memcpy(copy[r], m.data + (size_t(o + r) * m.cols + i) * sizeof(T), inputs * sizeof(T));
      }
      transpose(copy[0], kBlockInputs, kTile, kBlockInputs, to, tile.width);
    }
  }
}

// One block of 32 inputs of a tile on its way: codes as bytes, scales as they will be stored.
struct Unpacked {
  uint8_t codes[kTile][kBlockInputs];
  uint16_t d[kTile], m[kTile];           // of the block, or of the super-block
  uint8_t scale[kTile], minimum[kTile];  // K types
};

void nibbles(const uint8_t* q, uint8_t* to) {
  for (int i = 0; i < 16; ++i) {
    to[i] = q[i] & 15;
    to[i + 16] = q[i] >> 4;
  }
}

void add_fifth_bits(const uint8_t* high, uint8_t* to) {
  uint32_t bits;
  std::memcpy(&bits, high, sizeof(bits));
  for (int i = 0; i < 32; ++i) to[i] |= (bits >> i & 1) << 4;
}

// Scale and minimum j of the eight of a K block.
void six_bits(const uint8_t* b, int j, uint8_t& scale, uint8_t& minimum) {
  if (j < 4) {
    scale = b[j] & 63;
    minimum = b[j + 4] & 63;
  } else {
    scale = (b[j + 4] & 15) | (b[j - 4] >> 6) << 4;
    minimum = b[j + 4] >> 4 | (b[j] >> 6) << 4;
  }
}

// Element of output r from the blocks of its row; `b` is the index of a block of 32 inputs.
void unpack(DType type, const std::byte* row, int b, int r, Unpacked& to) {
  uint8_t* codes = to.codes[r];
  const int super = b / kSuperBlocks, j = b % kSuperBlocks;
  switch (type) {
    case DType::q8_0: {
      const auto& block = reinterpret_cast<const BlockQ8_0*>(row)[b];
      for (int i = 0; i < 32; ++i) codes[i] = uint8_t(block.q[i] + 128);
      to.d[r] = block.d;
      break;
    }
    case DType::q4_0: {
      const auto& block = reinterpret_cast<const BlockQ4_0*>(row)[b];
      nibbles(block.q, codes);
      to.d[r] = block.d;
      break;
    }
    case DType::q4_1: {
      const auto& block = reinterpret_cast<const BlockQ4_1*>(row)[b];
      nibbles(block.q, codes);
      to.d[r] = block.d;
      to.m[r] = block.m;
      break;
    }
    case DType::q5_0: {
      const auto& block = reinterpret_cast<const BlockQ5_0*>(row)[b];
      nibbles(block.q, codes);
      add_fifth_bits(block.high, codes);
      to.d[r] = block.d;
      break;
    }
    case DType::q5_1: {
      const auto& block = reinterpret_cast<const BlockQ5_1*>(row)[b];
      nibbles(block.q, codes);
      add_fifth_bits(block.high, codes);
      to.d[r] = block.d;
      to.m[r] = block.m;
      break;
    }
    case DType::q4_k: {
      const auto& block = reinterpret_cast<const BlockQ4K*>(row)[super];
      const uint8_t* q = block.q + 32 * (j / 2);
      for (int i = 0; i < 32; ++i) codes[i] = j % 2 == 0 ? q[i] & 15 : q[i] >> 4;
      six_bits(block.scales, j, to.scale[r], to.minimum[r]);
      to.d[r] = block.d;
      to.m[r] = block.dmin;
      break;
    }
    case DType::q5_k: {
      const auto& block = reinterpret_cast<const BlockQ5K*>(row)[super];
      const uint8_t* q = block.q + 32 * (j / 2);
      for (int i = 0; i < 32; ++i) {
        codes[i] = (j % 2 == 0 ? q[i] & 15 : q[i] >> 4) | (block.high[i] >> j & 1) << 4;
      }
      six_bits(block.scales, j, to.scale[r], to.minimum[r]);
      to.d[r] = block.d;
      to.m[r] = block.dmin;
      break;
    }
    case DType::q6_k: {
      const auto& block = reinterpret_cast<const BlockQ6K*>(row)[super];
      const int half = j / 4, k = j % 4;
      const uint8_t* low = block.low + 64 * half + 32 * (k % 2);
      const uint8_t* high = block.high + 32 * half;
      for (int i = 0; i < 32; ++i) {
        codes[i] = (k < 2 ? low[i] & 15 : low[i] >> 4) | (high[i] >> 2 * k & 3) << 4;
      }
      to.scale[r] = uint8_t(block.scales[2 * j]);
      to.minimum[r] = uint8_t(block.scales[2 * j + 1]);
      to.d[r] = block.d;
      break;
    }
    default:
      ANSER_CHECK(!"a quantised type");
  }
}

// A row of 64 codes of 4 or 6 bits.
void store_narrow(const uint8_t* codes, std::byte* nibbles, std::byte* high) {
  for (int i = 0; i < 32; ++i) nibbles[i] = std::byte((codes[i] & 15) | codes[i + 32] << 4);
  for (int i = 0; high != nullptr && i < 16; ++i) {
    high[i] = std::byte(codes[i] >> 4 | codes[i + 16] >> 4 << 2 | codes[i + 32] >> 4 << 4 |
                        codes[i + 48] >> 4 << 6);
  }
}

void pack_quantised(const Matrix& m, int o, const PackedTile<std::byte>& tile) {
  const Packing& packing = tile.packing;
  const int outputs = std::min(kTile, m.rows - o);
  const bool super_scales = packing.super_bytes > 0;
  const auto put = [&](std::byte* region, int at, const auto& values) {
    std::memcpy(region + (int64_t{at} * tile.width + tile.at) * sizeof(values[0]), values,
                sizeof(values));
  };
  for (int b = 0; b < m.cols / kBlockInputs; ++b) {
    Unpacked u = {};
    for (int r = 0; r < outputs; ++r) {
      unpack(m.type, m.data + size_t(o + r) * m.row_bytes(), b, r, u);
    }
    // Of an output that does not exist the codes do not matter: its scales are zero.
    std::byte* block = tile.block(b);
    put(super_scales ? tile.super(b) : block, 0, u.d);
    if (packing.minimum) put(super_scales ? tile.super(b) : block, 1, u.m);
    if (super_scales) {
      put(block, 0, u.scale);
      put(block, 1, u.minimum);
    }
    uint8_t rows[kBlockInputs][kTile];
    transpose(u.codes[0], kBlockInputs, kTile, kBlockInputs, rows[0], kTile);
    std::byte* to = tile.codes(b);
    for (int k = 0; k < kBlockInputs; ++k, to += tile.row_bytes()) {
      if (packing.code_bits == 8) {
        std::memcpy(to, rows[k], kTile);
      } else {
        store_narrow(rows[k], to, packing.code_bits == 6 ? to + tile.high_bits() : nullptr);
      }
    }
  }
}

}  // namespace

size_t packed_bytes(const Matrix& m) {
  return size_t(round_up(m.rows, kTile)) * size_t(packing_of(m.type).output_bytes(m.cols));
}

void pack_tile(const Matrix& m, int o, std::byte* to) {
  ANSER_CHECK(o % kTile == 0 && o < m.rows);
  const PackedTile<std::byte> tile = packed_tile(m.type, to, m.cols, m.rows, o);
  switch (tile.packing.code_bits) {
    case 32:
      return pack_plain<uint32_t>(m, o, tile);
    case 16:
      return pack_plain<uint16_t>(m, o, tile);
    default:
      ANSER_CHECK(!m.transposed);
      return pack_quantised(m, o, tile);
  }
}

}  // namespace anser
