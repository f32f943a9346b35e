// The blocks of the quantised types as they lie in a GGUF file. Little endian; no alignment at all.
// How a weight is computed from its block: model/dequantize.cpp.
//
// Read by the instruction-set files (src/cpu/isa): plain declarations only.
#pragma once

#include <cstdint>

namespace anser {

struct [[gnu::packed]] BlockQ8_0 {
  uint16_t d;  // f16
  int8_t q[32];
};

// In the 4 and 5 bit types of 32 elements, byte i holds element i in its low nibble and element
// i + 16 in its high nibble.
struct [[gnu::packed]] BlockQ4_0 {
  uint16_t d;
  uint8_t q[16];
};

struct [[gnu::packed]] BlockQ4_1 {
  uint16_t d, m;
  uint8_t q[16];
};

struct [[gnu::packed]] BlockQ5_0 {
  uint16_t d;
  uint8_t high[4];  // bit i of this 32-bit number is the fifth bit of element i
  uint8_t q[16];
};

struct [[gnu::packed]] BlockQ5_1 {
  uint16_t d, m;
  uint8_t high[4];
  uint8_t q[16];
};

// Eight sub-blocks of 32 elements, each with a 6-bit scale and a 6-bit minimum. Run p = 0..3 of 32
// nibble bytes holds sub-block 2p in the low nibbles and 2p + 1 in the high ones.
struct [[gnu::packed]] BlockQ4K {
  uint16_t d, dmin;
  // Sub-blocks j < 4: scale = low 6 bits of [j], minimum = low 6 bits of [j + 4].
  // j >= 4: low 4 bits of the scale = low nibble of [j + 4], of the minimum = its high nibble; the
  // upper 2 bits = the top bits of [j - 4] and of [j].
  uint8_t scales[12];
  uint8_t q[128];
};

struct [[gnu::packed]] BlockQ5K {
  uint16_t d, dmin;
  uint8_t scales[12];
  uint8_t high[32];  // bit j of byte e is the fifth bit of element e of sub-block j
  uint8_t q[128];
};

// Two halves of 128 elements; each has 64 bytes of low, 32 of high and 8 of scales, a scale for 16
// elements. Element 32 k + e of a half (k = 0..3, e = 0..31): its low 4 bits are a nibble of
// low[32 (k mod 2) + e], the low one for k < 2; its high 2 bits are bits 2k, 2k + 1 of high[e].
struct [[gnu::packed]] BlockQ6K {
  uint8_t low[128];
  uint8_t high[64];
  int8_t scales[16];
  uint16_t d;
};

static_assert(sizeof(BlockQ8_0) == 34 && sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20);
static_assert(sizeof(BlockQ5_0) == 22 && sizeof(BlockQ5_1) == 24);
static_assert(sizeof(BlockQ4K) == 144 && sizeof(BlockQ5K) == 176 && sizeof(BlockQ6K) == 210);

}  // namespace anser
