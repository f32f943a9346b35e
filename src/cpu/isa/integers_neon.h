// Integer arithmetic of quantised weights on NEON, and with ANSER_DOTPROD by its dot products of
// four; with ANSER_I8MM register tiles multiply 2 x 8 by 8 x 2 (int_tile_i8mm.h). inputs-inl.h says
// what is expected of such a header.

typedef int8_t Activation;
typedef int8_t Code;
constexpr bool kSignedCodes = true;
#if ANSER_I8MM
constexpr int kGroup = 8;
#else
constexpr int kGroup = 4;
#endif

ANSER_INLINE uint32_t not_zero_activations(const Activation* x) {
  return bits_of_bytes(vtstq_s8(vld1q_s8(x), vld1q_s8(x))) |
         bits_of_bytes(vtstq_s8(vld1q_s8(x + 16), vld1q_s8(x + 16))) << 16;
}

// 64 codes of one input, 16 to a register.
struct CodeRow {
  int8x16_t p[4];
};

template <int kBits>
ANSER_INLINE CodeRow load_codes(const std::byte* row, int64_t high_bits) {
  const auto* from = reinterpret_cast<const uint8_t*>(row);
  CodeRow codes;
  if constexpr (kBits == 8) {
    ANSER_UNROLL for (int v = 0; v < 4; ++v) {
      codes.p[v] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(from + 16 * v), vdupq_n_u8(128)));
    }
  } else {
    uint8x16_t nibbles[4];
    ANSER_UNROLL for (int v = 0; v < 2; ++v) {
      const uint8x16_t pairs = vld1q_u8(from + 16 * v);
      nibbles[v] = vandq_u8(pairs, vdupq_n_u8(15));
      nibbles[v + 2] = vshrq_n_u8(pairs, 4);
    }
    if constexpr (kBits == 6) {
      // Bits 0 and 1 belong to the first 16 outputs, 2 and 3 to the next, and so on.
      const uint8x16_t four = vld1q_u8(from + high_bits), two = vdupq_n_u8(0x30);
      nibbles[0] = vorrq_u8(nibbles[0], vandq_u8(vshlq_n_u8(four, 4), two));
      nibbles[1] = vorrq_u8(nibbles[1], vandq_u8(vshlq_n_u8(four, 2), two));
      nibbles[2] = vorrq_u8(nibbles[2], vandq_u8(four, two));
      nibbles[3] = vorrq_u8(nibbles[3], vandq_u8(vshrq_n_u8(four, 2), two));
    }
    ANSER_UNROLL for (int v = 0; v < 4; ++v) codes.p[v] = vreinterpretq_s8_u8(nibbles[v]);
  }
  return codes;
}

// products[o] = sum over the inputs of code * x, for 64 outputs. Streaming waits for memory, and
// without the shuffles that dot products ask for, plain multiply-adds keep up with them.
template <int kBits>
ANSER_INLINE void dot_inputs(const PackedTile<const std::byte>& tile, int block,
                             const Inputs& inputs, const Activation* x, int32_t* products) {
  // Inputs whose products fit 16 bits together: 127 * 128, 127 * 63 or 127 * 15 each.
  constexpr int kInputs = 32767 / (127 * (kBits == 8 ? 128 : (1 << kBits) - 1));
  const std::byte* rows = tile.codes(block);
  const int64_t row_bytes = tile.row_bytes(), high_bits = tile.high_bits();
  int32x4_t sums[16] = {};
  for (int first = 0; first < inputs.count; first += kInputs) {
    const int last = min(first + kInputs, inputs.count);
    int16x8_t narrow[8] = {};
    for (int i = first; i < last; ++i) {
      const int k = inputs.index[i];
      const int8x16_t factor = vdupq_n_s8(x[k]);
      const CodeRow codes = load_codes<kBits>(rows + k * row_bytes, high_bits);
      ANSER_UNROLL for (int v = 0; v < 4; ++v) {
        narrow[2 * v] = vmlal_s8(narrow[2 * v], vget_low_s8(codes.p[v]), vget_low_s8(factor));
        narrow[2 * v + 1] = vmlal_high_s8(narrow[2 * v + 1], codes.p[v], factor);
      }
    }
    ANSER_UNROLL for (int j = 0; j < 8; ++j) {
      sums[2 * j] = vaddw_s16(sums[2 * j], vget_low_s16(narrow[j]));
      sums[2 * j + 1] = vaddw_high_s16(sums[2 * j + 1], narrow[j]);
    }
  }
  ANSER_UNROLL for (int j = 0; j < 16; ++j) vst1q_s32(products + 4 * j, sums[j]);
}

// 16 outputs of four inputs in groups of four: register j has outputs 4j to 4j + 3.
ANSER_INLINE void group_four(int8x16_t a, int8x16_t b, int8x16_t c, int8x16_t d, int32x4_t* to) {
  const int16x8_t ab0 = vreinterpretq_s16_s8(vzip1q_s8(a, b));
  const int16x8_t ab1 = vreinterpretq_s16_s8(vzip2q_s8(a, b));
  const int16x8_t cd0 = vreinterpretq_s16_s8(vzip1q_s8(c, d));
  const int16x8_t cd1 = vreinterpretq_s16_s8(vzip2q_s8(c, d));
  to[0] = vreinterpretq_s32_s16(vzip1q_s16(ab0, cd0));
  to[1] = vreinterpretq_s32_s16(vzip2q_s16(ab0, cd0));
  to[2] = vreinterpretq_s32_s16(vzip1q_s16(ab1, cd1));
  to[3] = vreinterpretq_s32_s16(vzip2q_s16(ab1, cd1));
}

// To the places of inputs k0 to k0 + 31 of a chunk.
template <int kBits>
ANSER_INLINE void group_codes(const PackedTile<const std::byte>& tile, int block, int k0,
                              Code* codes) {
  const std::byte* rows = tile.codes(block);
  const int64_t row_bytes = tile.row_bytes(), high_bits = tile.high_bits();
  for (int k = 0; k < kBlockInputs; k += kGroup) {
    CodeRow in[kGroup];
    ANSER_UNROLL for (int i = 0; i < kGroup; ++i) {
      in[i] = load_codes<kBits>(rows + (k + i) * row_bytes, high_bits);
    }
    ANSER_UNROLL for (int v = 0; v < 4; ++v) {
      Code* to = codes + code_offset(k0 + k, v, kGroup);
      int32x4_t four[4];
      group_four(in[0].p[v], in[1].p[v], in[2].p[v], in[3].p[v], four);
#if ANSER_I8MM
      int32x4_t next[4];
      group_four(in[4].p[v], in[5].p[v], in[6].p[v], in[7].p[v], next);
      ANSER_UNROLL for (int j = 0; j < 4; ++j) {
        vst1q_s8(to + 32 * j, vreinterpretq_s8_s32(vzip1q_s32(four[j], next[j])));
        vst1q_s8(to + 32 * j + 16, vreinterpretq_s8_s32(vzip2q_s32(four[j], next[j])));
      }
#else
      ANSER_UNROLL for (int j = 0; j < 4; ++j) vst1q_s8(to + 16 * j, vreinterpretq_s8_s32(four[j]));
#endif
    }
  }
}

struct IntVec {
  int32x4_t p[4];
};
ANSER_INLINE Vec int_to_float(IntVec a) {
  return {
      {vcvtq_f32_s32(a.p[0]), vcvtq_f32_s32(a.p[1]), vcvtq_f32_s32(a.p[2]), vcvtq_f32_s32(a.p[3])}};
}
ANSER_INLINE Vec difference(const int32_t* from, int32_t less) {
  IntVec a;
  ANSER_UNROLL for (int i = 0; i < 4; ++i) {
    a.p[i] = vsubq_s32(vld1q_s32(from + 4 * i), vdupq_n_s32(less));
  }
  return int_to_float(a);
}
ANSER_INLINE int32_t store_rounded(Activation* to, Vec a) {
  int32x4_t q[4];
  ANSER_UNROLL for (int i = 0; i < 4; ++i) q[i] = vcvtnq_s32_f32(a.p[i]);
  const int16x8_t low = vcombine_s16(vmovn_s32(q[0]), vmovn_s32(q[1]));
  const int16x8_t high = vcombine_s16(vmovn_s32(q[2]), vmovn_s32(q[3]));
  vst1q_s8(to, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
  return vaddlvq_s16(low) + vaddlvq_s16(high);
}

#if ANSER_I8MM
#include "cpu/isa/int_tile_i8mm.h"
#else
ANSER_INLINE IntVec int_broadcast(int32_t a) {
  return {{vdupq_n_s32(a), vdupq_n_s32(a), vdupq_n_s32(a), vdupq_n_s32(a)}};
}
ANSER_INLINE IntVec int_load(const Code* from) {
  IntVec a;
  ANSER_UNROLL for (int i = 0; i < 4; ++i) {
    a.p[i] = vreinterpretq_s32_s8(vld1q_s8(from + 16 * i));
  }
  return a;
}
ANSER_INLINE IntVec int_activations(const Activation* x) {
  int32_t group;
  memcpy(&group, x, sizeof(group));
  return int_broadcast(group);
}
ANSER_INLINE int32x4_t dot_four(int32x4_t sum, int8x16_t codes, int8x16_t x) {
#if ANSER_DOTPROD
  return vdotq_s32(sum, codes, x);
#else
  // Two products of 127 * 128 fit 16 bits.
  const int16x8_t low = vmull_s8(vget_low_s8(codes), vget_low_s8(x)),
                  high = vmull_high_s8(codes, x);
  return vpadalq_s16(sum, vpaddq_s16(low, high));
#endif
}
ANSER_INLINE IntVec int_dot(IntVec sum, IntVec codes, IntVec x) {
  ANSER_UNROLL for (int i = 0; i < 4; ++i) {
    sum.p[i] = dot_four(sum.p[i], vreinterpretq_s8_s32(codes.p[i]), vreinterpretq_s8_s32(x.p[i]));
    ANSER_KEEP_IN_REGISTER(sum.p[i]);
  }
  return sum;
}
#include "cpu/isa/int_tile-inl.h"
#endif
