#include "model/quantize.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/half.h"
#include "model/blocks.h"
#include "model/quantize_k.h"
#include "model/quantize_search.h"

namespace anser {
namespace {

using namespace quantize;
using quantize::quantize_block;

template <uint16_t narrow(float)>
void halves(const float* from, int64_t n, std::byte* to) {
  for (int64_t i = 0; i < n; ++i) {
    const uint16_t bits = narrow(from[i]);
    std::memcpy(to + 2 * i, &bits, 2);
  }
}

// Every weight is within half a step of its code's value.
void quantize_block(const float* x, BlockQ8_0& to) {
  const float most = std::fabs(extreme_of(x, 32));
  to.d = f32_to_f16(most / 127);
  // The nearest fp16 may be so much too small that the largest weight would be cut off.
  if (f16_to_f32(to.d) * 127.5f < most) ++to.d;
  float q[32];
  encode<32>(x, {f16_to_f32(to.d), 0}, {-127, 127}, q);
  for (int i = 0; i < 32; ++i) to.q[i] = int8_t(q[i]);
}

// The scale, as fp16, and codes from -levels to levels - 1 of a block of 32.
uint16_t search_block(const float* x, float levels, float* best) {
  const Codes codes = {-levels, levels - 1};
  // The plain way: the extreme, whatever its sign, becomes the lowest code.
  uint16_t d = f32_to_f16(extreme_of(x, 32) / -levels);
  float best_error = encode<32>(x, {f16_to_f32(d), 0}, codes, best);

  // The codes are made for the scale as it is stored; then the best scale for these codes, and so
  // on while it helps.
  float scale = search_scale<32>(x, codes, 0.4f, 4);
  for (;;) {
    const uint16_t half = f32_to_f16(scale);
    float q[32];
    const Line line = {f16_to_f32(half), 0};
    const float error = encode<32>(x, line, codes, q);
    if (!(error < best_error)) return d;
    best_error = error;
    d = half;
    std::copy_n(q, 32, best);
    scale = project<32>(x, line, codes).scale();
  }
}

template <class Block>
void pack_nibbles(const int* q, Block& to) {
  for (int i = 0; i < 16; ++i) to.q[i] = uint8_t((q[i] & 15) | (q[i + 16] & 15) << 4);
}

void quantize_block(const float* x, BlockQ4_0& to) {
  float codes[32];
  to.d = search_block(x, 8, codes);
  int q[32];
  for (int i = 0; i < 32; ++i) q[i] = int(codes[i]) + 8;
  pack_nibbles(q, to);
}

void quantize_block(const float* x, BlockQ5_0& to) {
  float codes[32];
  to.d = search_block(x, 16, codes);
  int q[32];
  uint32_t high = 0;
  for (int i = 0; i < 32; ++i) {
    q[i] = int(codes[i]) + 16;
    high |= uint32_t(q[i] >> 4) << i;
  }
  std::memcpy(to.high, &high, sizeof(high));
  pack_nibbles(q, to);
}

template <class Block, int kElements>
void blocks(const float* from, int64_t n, std::byte* to) {
  ANSER_CHECK(n % kElements == 0);
  for (int64_t i = 0; i < n; i += kElements, to += sizeof(Block)) {
    Block block;
    quantize_block(from + i, block);
    std::memcpy(to, &block, sizeof(block));
  }
}

}  // namespace

bool can_quantize_to(DType type) {
  switch (type) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
    case DType::q8_0:
    case DType::q4_0:
    case DType::q5_0:
    case DType::q4_k:
    case DType::q5_k:
    case DType::q6_k:
      return true;
    default:
      return false;
  }
}

float largest_weight(DType type) {
  if (type == DType::f32) return std::numeric_limits<float>::max();
  return type == DType::bf16 ? bf16_to_f32(0x7f7f) : f16_to_f32(0x7bff);
}

void quantize_row(DType type, const float* from, int64_t n, std::byte* to) {
  switch (type) {
    case DType::f32:
      if (n > 0) std::memcpy(to, from, size_t(n) * 4);
      return;
    case DType::f16:
      return halves<f32_to_f16>(from, n, to);
    case DType::bf16:
      return halves<f32_to_bf16>(from, n, to);
    case DType::q8_0:
      return blocks<BlockQ8_0, 32>(from, n, to);
    case DType::q4_0:
      return blocks<BlockQ4_0, 32>(from, n, to);
    case DType::q5_0:
      return blocks<BlockQ5_0, 32>(from, n, to);
    case DType::q4_k:
      return blocks<BlockQ4K, 256>(from, n, to);
    case DType::q5_k:
      return blocks<BlockQ5K, 256>(from, n, to);
    case DType::q6_k:
      return blocks<BlockQ6K, 256>(from, n, to);
    default:
      ANSER_CHECK(!"a type that can be written");
  }
}

}  // namespace anser
