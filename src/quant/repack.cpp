#include "quant/repack.h"

#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/half.h"
#include "model/blocks.h"
#include "quant/repacked_blocks.h"

namespace anser {
namespace {

int nibble(uint8_t byte, bool high) {
  return high ? byte >> 4 : byte & 15;
}

// The levels of IQ4_NL and IQ4_XS, part of the format.
constexpr int8_t kLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                1,    13,   25,  38,  53,  69,  89,  113};

int scale_of(const BlockQ3K& b, int j) {
  const int high = b.scales[8 + j % 4] >> (j / 4 * 2) & 3;
  return (nibble(b.scales[j % 8], j >= 8) | high << 4) - 32;
}

int scale_of(const BlockIQ4XS& b, int j) {
  const int high = b.scales_high >> (2 * j) & 3;
  return (nibble(b.scales_low[j / 2], j % 2 == 1) | high << 4) - 32;
}

// A block as sub-blocks, in each of which only a few different numbers can occur: `code` says which
// of them element i of the block is, `number` what code c means in sub-block j. All products are
// exact in F32: 11 bits of d, at most 6 of scale, 8 of weight.
template <class Block>
struct Coded;

// The two bits of element i that Q2_K and Q3_K store alike.
int low_bits(const uint8_t* q, int i) {
  return q[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}

template <>
struct Coded<BlockQ2K> {
  static constexpr int kElements = 256, kSubBlock = 16, kCodes = 4;
  static int code(const BlockQ2K& b, int i) { return low_bits(b.q, i); }
  static float number(const BlockQ2K& b, int j, int c) {
    return f16_to_f32(b.d) * nibble(b.scales[j], false) * c -
           f16_to_f32(b.dmin) * nibble(b.scales[j], true);
  }
};

template <>
struct Coded<BlockQ3K> {
  static constexpr int kElements = 256, kSubBlock = 16, kCodes = 8;
  static int code(const BlockQ3K& b, int i) {
    return low_bits(b.q, i) | (b.high[i % 32] >> (i / 32) & 1) << 2;
  }
  static float number(const BlockQ3K& b, int j, int c) {
    return f16_to_f32(b.d) * scale_of(b, j) * (c - 4);
  }
};

template <>
struct Coded<BlockIQ4NL> {
  static constexpr int kElements = 32, kSubBlock = 32, kCodes = 16;
  static int code(const BlockIQ4NL& b, int i) { return nibble(b.q[i % 16], i >= 16); }
  static float number(const BlockIQ4NL& b, int, int c) { return f16_to_f32(b.d) * kLevels[c]; }
};

template <>
struct Coded<BlockIQ4XS> {
  static constexpr int kElements = 256, kSubBlock = 32, kCodes = 16;
  static int code(const BlockIQ4XS& b, int i) {
    return nibble(b.q[i / 32 * 16 + i % 16], i % 32 >= 16);
  }
  static float number(const BlockIQ4XS& b, int j, int c) {
    return f16_to_f32(b.d) * scale_of(b, j) * kLevels[c];
  }
};

BlockQ6K exactly(const BlockQ3K& b) {
  BlockQ6K to;
  to.d = b.d;
  for (int j = 0; j < 16; ++j) to.scales[j] = int8_t(scale_of(b, j));
  for (int half = 0; half < 2; ++half) {
    for (int e = 0; e < 32; ++e) {
      // The weights -4 to 3 of the four elements that share bytes are 28 to 35 in Q6_K.
      int w[4];
      for (int k = 0; k < 4; ++k) {
        const int third_bit = b.high[e] >> (4 * half + k) & 1;
        w[k] = 28 + (b.q[32 * half + e] >> (2 * k) & 3) + 4 * third_bit;
      }
      to.low[64 * half + e] = uint8_t((w[0] & 15) | (w[2] & 15) << 4);
      to.low[64 * half + 32 + e] = uint8_t((w[1] & 15) | (w[3] & 15) << 4);
      to.high[32 * half + e] =
          uint8_t(w[0] >> 4 | w[1] >> 4 << 2 | w[2] >> 4 << 4 | w[3] >> 4 << 6);
    }
  }
  return to;
}

BlockQ8_0 exactly(const BlockIQ4NL& b) {
  BlockQ8_0 to;
  to.d = b.d;
  for (int i = 0; i < 32; ++i) to.q[i] = kLevels[Coded<BlockIQ4NL>::code(b, i)];
  return to;
}

template <class Block>
Block load(const std::byte* from) {
  Block block;
  std::memcpy(&block, from, sizeof(block));
  return block;
}

template <class Block>
bool to_exact(const std::byte* from, int64_t n, std::byte* to) {
  for (int64_t i = 0; i < n; i += Coded<Block>::kElements, from += sizeof(Block)) {
    const auto block = exactly(load<Block>(from));
    std::memcpy(to, &block, sizeof(block));
    to += sizeof(block);
  }
  return true;
}

// As F16 bits or F32. False when a finite number is too large.
template <class Block, class Number>
bool to_numbers(const std::byte* from, int64_t n, std::byte* to) {
  using C = Coded<Block>;
  bool fits = true;
  for (int64_t i = 0; i < n; i += C::kElements, from += sizeof(Block)) {
    const Block block = load<Block>(from);
    for (int j = 0; j < C::kElements / C::kSubBlock; ++j) {
      Number numbers[C::kCodes];
      bool too_large[C::kCodes];
      for (int c = 0; c < C::kCodes; ++c) {
        const float x = C::number(block, j, c);
        if constexpr (sizeof(Number) == sizeof(float)) {
          numbers[c] = x;
          too_large[c] = false;
        } else {
          numbers[c] = f32_to_f16(x);
          too_large[c] = std::isfinite(x) && !std::isfinite(f16_to_f32(numbers[c]));
        }
      }
      for (int e = 0; e < C::kSubBlock; ++e, to += sizeof(Number)) {
        const int c = C::code(block, j * C::kSubBlock + e);
        std::memcpy(to, &numbers[c], sizeof(Number));
        fits &= !too_large[c];
      }
    }
  }
  return fits;
}

}  // namespace

bool is_repacked(DType type) {
  return type == DType::q2_k || type == DType::q3_k || type == DType::iq4_nl ||
         type == DType::iq4_xs;
}

DType repacked_type(DType type) {
  switch (type) {
    case DType::q3_k:
      return DType::q6_k;
    case DType::iq4_nl:
      return DType::q8_0;
    case DType::q2_k:
    case DType::iq4_xs:
      return DType::f16;
    default:
      ANSER_CHECK(!"a type that is repacked");
  }
}

bool repacks_exactly(DType type) {
  return block_elements(repacked_type(type)) > 1;
}

bool repack(DType from_type, const std::byte* from, int64_t n, DType to_type, std::byte* to) {
  ANSER_CHECK(n % block_elements(from_type) == 0);
  ANSER_CHECK(to_type == DType::f32 || to_type == repacked_type(from_type));
  const bool wide = to_type == DType::f32;
  switch (from_type) {
    case DType::q2_k:
      return wide ? to_numbers<BlockQ2K, float>(from, n, to)
                  : to_numbers<BlockQ2K, uint16_t>(from, n, to);
    case DType::iq4_xs:
      return wide ? to_numbers<BlockIQ4XS, float>(from, n, to)
                  : to_numbers<BlockIQ4XS, uint16_t>(from, n, to);
    case DType::q3_k:
      return wide ? to_numbers<BlockQ3K, float>(from, n, to) : to_exact<BlockQ3K>(from, n, to);
    case DType::iq4_nl:
      return wide ? to_numbers<BlockIQ4NL, float>(from, n, to) : to_exact<BlockIQ4NL>(from, n, to);
    default:
      ANSER_CHECK(!"a type that is repacked");
  }
}

}  // namespace anser
