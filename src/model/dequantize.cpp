#include "model/dequantize.h"

#include <cstring>

#include "base/check.h"
#include "base/half.h"
#include "model/blocks.h"

namespace anser {
namespace {

struct ScaleMin {
  int scale, min;
};

// The 6-bit pair of sub-block j of a Q4_K or Q5_K block; see blocks.h.
ScaleMin scale_min(const uint8_t* b, int j) {
  if (j < 4) return {b[j] & 63, b[j + 4] & 63};
  return {(b[j + 4] & 15) | (b[j - 4] >> 6) << 4, (b[j + 4] >> 4) | (b[j] >> 6) << 4};
}

int nibble(uint8_t byte, bool high) {
  return high ? byte >> 4 : byte & 15;
}

// Element e of a block; one function per type.

float element(const BlockQ8_0& b, int e) {
  return f16_to_f32(b.d) * b.q[e];
}

float element(const BlockQ4_0& b, int e) {
  return f16_to_f32(b.d) * (nibble(b.q[e % 16], e >= 16) - 8);
}

float element(const BlockQ4_1& b, int e) {
  return f16_to_f32(b.d) * nibble(b.q[e % 16], e >= 16) + f16_to_f32(b.m);
}

int fifth_bit(const uint8_t* high, int e) {
  return (high[e / 8] >> (e % 8) & 1) << 4;
}

float element(const BlockQ5_0& b, int e) {
  return f16_to_f32(b.d) * ((nibble(b.q[e % 16], e >= 16) | fifth_bit(b.high, e)) - 16);
}

float element(const BlockQ5_1& b, int e) {
  const int q = nibble(b.q[e % 16], e >= 16) | fifth_bit(b.high, e);
  return f16_to_f32(b.d) * q + f16_to_f32(b.m);
}

float element(const BlockQ4K& b, int e) {
  const int j = e / 32;
  const ScaleMin s = scale_min(b.scales, j);
  const int q = nibble(b.q[j / 2 * 32 + e % 32], j % 2 == 1);
  return f16_to_f32(b.d) * s.scale * q - f16_to_f32(b.dmin) * s.min;
}

float element(const BlockQ5K& b, int e) {
  const int j = e / 32;
  const ScaleMin s = scale_min(b.scales, j);
  const int q = nibble(b.q[j / 2 * 32 + e % 32], j % 2 == 1) | (b.high[e % 32] >> j & 1) << 4;
  return f16_to_f32(b.d) * s.scale * q - f16_to_f32(b.dmin) * s.min;
}

float element(const BlockQ6K& b, int e) {
  const int half = e / 128, k = e % 128 / 32;
  const int low = nibble(b.low[half * 64 + k % 2 * 32 + e % 32], k >= 2);
  const int high = b.high[half * 32 + e % 32] >> (2 * k) & 3;
  return f16_to_f32(b.d) * b.scales[e / 16] * ((low | high << 4) - 32);
}

template <class Block, int kElements>
void blocks(const std::byte* from, int64_t n, float* to) {
  ANSER_CHECK(n % kElements == 0);
  for (int64_t i = 0; i < n; i += kElements, from += sizeof(Block)) {
    Block block;
    std::memcpy(&block, from, sizeof(block));
    for (int e = 0; e < kElements; ++e) to[i + e] = element(block, e);
  }
}

template <float widen(uint16_t)>
void halves(const std::byte* from, int64_t n, float* to) {
  for (int64_t i = 0; i < n; ++i) {
    uint16_t bits;
    std::memcpy(&bits, from + 2 * i, 2);
    to[i] = widen(bits);
  }
}

}  // namespace

void dequantize_row(DType type, const std::byte* from, int64_t n, float* to) {
  switch (type) {
    case DType::f32:
      if (n > 0) std::memcpy(to, from, size_t(n) * 4);
      return;
    case DType::f16:
      return halves<f16_to_f32>(from, n, to);
    case DType::bf16:
      return halves<bf16_to_f32>(from, n, to);
    case DType::q8_0:
      return blocks<BlockQ8_0, 32>(from, n, to);
    case DType::q4_0:
      return blocks<BlockQ4_0, 32>(from, n, to);
    case DType::q4_1:
      return blocks<BlockQ4_1, 32>(from, n, to);
    case DType::q5_0:
      return blocks<BlockQ5_0, 32>(from, n, to);
    case DType::q5_1:
      return blocks<BlockQ5_1, 32>(from, n, to);
    case DType::q4_k:
      return blocks<BlockQ4K, 256>(from, n, to);
    case DType::q5_k:
      return blocks<BlockQ5K, 256>(from, n, to);
    case DType::q6_k:
      return blocks<BlockQ6K, 256>(from, n, to);
    default:
      ANSER_CHECK(!"a type of weight matrices");
  }
}

}  // namespace anser
