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

// The low two bits of element i of a Q2_K or Q3_K block.
int low_bits(const uint8_t* q, int i) {
  return q[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}

int scale_of(const BlockQ3K& b, int j) {
  const int high = b.scales[8 + j % 4] >> (j / 4 * 2) & 3;
  return (nibble(b.scales[j % 8], j >= 8) | high << 4) - 32;
}

int weight_of(const BlockQ3K& b, int i) {
  return low_bits(b.q, i) - ((b.high[i % 32] >> (i / 32) & 1) != 0 ? 0 : 4);
}

// The levels of IQ4_NL and IQ4_XS, part of the format.
constexpr int8_t kLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                1,    13,   25,  38,  53,  69,  89,  113};

int scale_of(const BlockIQ4XS& b, int j) {
  const int high = b.scales_high >> (2 * j) & 3;
  return (nibble(b.scales_low[j / 2], j % 2 == 1) | high << 4) - 32;
}

// Element i of a block. All products are exact in F32: 11 bits of d, at most 6 of scale, 8 of
// weight.

float element(const BlockQ2K& b, int i) {
  const uint8_t scale = b.scales[i / 16];
  return f16_to_f32(b.d) * nibble(scale, false) * low_bits(b.q, i) -
         f16_to_f32(b.dmin) * nibble(scale, true);
}

float element(const BlockQ3K& b, int i) {
  return f16_to_f32(b.d) * scale_of(b, i / 16) * weight_of(b, i);
}

float element(const BlockIQ4NL& b, int i) {
  return f16_to_f32(b.d) * kLevels[nibble(b.q[i % 16], i >= 16)];
}

float element(const BlockIQ4XS& b, int i) {
  const int j = i / 32;
  return f16_to_f32(b.d) * scale_of(b, j) * kLevels[nibble(b.q[16 * j + i % 16], i % 32 >= 16)];
}

BlockQ6K exactly(const BlockQ3K& b) {
  BlockQ6K to = {};
  to.d = b.d;
  for (int j = 0; j < 16; ++j) to.scales[j] = int8_t(scale_of(b, j));
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, k = i % 128 / 32, e = i % 32;
    const int bits = weight_of(b, i) + 32;
    to.low[64 * half + 32 * (k % 2) + e] |= uint8_t((bits & 15) << (k < 2 ? 0 : 4));
    to.high[32 * half + e] |= uint8_t(bits >> 4 << (2 * k));
  }
  return to;
}

BlockQ8_0 exactly(const BlockIQ4NL& b) {
  BlockQ8_0 to;
  to.d = b.d;
  for (int i = 0; i < 32; ++i) to.q[i] = kLevels[nibble(b.q[i % 16], i >= 16)];
  return to;
}

template <class Block>
Block load(const std::byte* from) {
  Block block;
  std::memcpy(&block, from, sizeof(block));
  return block;
}

template <class Block, int kElements>
void to_exact(const std::byte* from, int64_t n, std::byte* to) {
  for (int64_t i = 0; i < n; i += kElements, from += sizeof(Block)) {
    const auto block = exactly(load<Block>(from));
    std::memcpy(to, &block, sizeof(block));
    to += sizeof(block);
  }
}

template <class Block, int kElements>
void to_f32(const std::byte* from, int64_t n, std::byte* to) {
  for (int64_t i = 0; i < n; i += kElements, from += sizeof(Block)) {
    const Block block = load<Block>(from);
    for (int e = 0; e < kElements; ++e, to += sizeof(float)) {
      const float x = element(block, e);
      std::memcpy(to, &x, sizeof(x));
    }
  }
}

template <class Block, int kElements>
bool to_f16(const std::byte* from, int64_t n, std::byte* to) {
  bool fits = true;
  for (int64_t i = 0; i < n; i += kElements, from += sizeof(Block)) {
    const Block block = load<Block>(from);
    for (int e = 0; e < kElements; ++e, to += sizeof(uint16_t)) {
      const float x = element(block, e);
      const uint16_t half = f32_to_f16(x);
      fits &= !std::isfinite(x) || std::isfinite(f16_to_f32(half));
      std::memcpy(to, &half, sizeof(half));
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
      if (!wide) return to_f16<BlockQ2K, 256>(from, n, to);
      to_f32<BlockQ2K, 256>(from, n, to);
      return true;
    case DType::iq4_xs:
      if (!wide) return to_f16<BlockIQ4XS, 256>(from, n, to);
      to_f32<BlockIQ4XS, 256>(from, n, to);
      return true;
    case DType::q3_k:
      wide ? to_f32<BlockQ3K, 256>(from, n, to) : to_exact<BlockQ3K, 256>(from, n, to);
      return true;
    case DType::iq4_nl:
      wide ? to_f32<BlockIQ4NL, 32>(from, n, to) : to_exact<BlockIQ4NL, 32>(from, n, to);
      return true;
    default:
      ANSER_CHECK(!"a type that is repacked");
  }
}

}  // namespace anser
