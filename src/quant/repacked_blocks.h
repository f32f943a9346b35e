// The blocks, as they lie in GGUF files, of the types that are repacked when they are loaded.
// Little endian; no alignment at all. Those of the types that the kernels know: model/blocks.h.
#pragma once

#include <cstdint>

namespace anser {

// Sixteen sub-blocks of 16 elements: a 4-bit scale in the low nibble of scales[j], a 4-bit minimum
// in its high one. Element 128 h + 32 k + e (h = 0, 1; k = 0..3; e = 0..31) is bits 2k, 2k + 1 of
// q[32 h + e].
//   value = d * scale * q - dmin * minimum
struct [[gnu::packed]] BlockQ2K {
  uint8_t scales[16];
  uint8_t q[64];
  uint16_t d, dmin;  // f16
};

// Sixteen sub-blocks of 16 elements. The low two bits of an element lie as in Q2_K; its third is
// bit 4 h + k of high[e], and where that is zero, 4 is subtracted. The scale of sub-block j has its
// low 4 bits in a nibble of scales[j mod 8], the low one for j < 8, and its high 2 bits at bits 2
// (j / 4) of scales[8 + j mod 4].
//   value = d * (scale - 32) * q
struct [[gnu::packed]] BlockQ3K {
  uint8_t high[32];
  uint8_t q[64];
  uint8_t scales[12];
  uint16_t d;
};

// Byte i holds element i in its low nibble and element i + 16 in its high nibble; a nibble is the
// number of a level.
//   value = d * level
struct [[gnu::packed]] BlockIQ4NL {
  uint16_t d;
  uint8_t q[16];
};

// Eight sub-blocks of 32 elements, each with 16 bytes as in IQ4_NL. The scale of sub-block j has
// its low 4 bits in a nibble of scales_low[j / 2], the low one for even j, and its high 2 bits at
// bits 2 j of scales_high.
//   value = d * (scale - 32) * level
struct [[gnu::packed]] BlockIQ4XS {
  uint16_t d;
  uint16_t scales_high;
  uint8_t scales_low[4];
  uint8_t q[128];
};

static_assert(sizeof(BlockQ2K) == 84 && sizeof(BlockQ3K) == 110);
static_assert(sizeof(BlockIQ4NL) == 18 && sizeof(BlockIQ4XS) == 136);

}  // namespace anser
