// Integer arithmetic of quantised weights in plain C++, for the baseline. inputs-inl.h says what
// is expected of such a header.

typedef int16_t Activation;
typedef int16_t Code;
constexpr bool kSignedCodes = false;
constexpr int kGroup = 2;

ANSER_INLINE uint32_t not_zero_activations(const Activation* x) {
  uint32_t bits = 0;
  for (int i = 0; i < kBlockInputs; ++i) bits |= uint32_t(x[i] != 0) << i;
  return bits;
}

template <int kBits>
ANSER_INLINE int code_at(const std::byte* row, int64_t high_bits, int o) {
  if constexpr (kBits == 8) return int(row[o]);
  int code = int(row[o % 32]) >> (o / 32 * 4) & 15;
  if constexpr (kBits == 6) code |= (int(row[high_bits + o % 16]) >> (o / 16 * 2) & 3) << 4;
  return code;
}

template <int kBits>
ANSER_INLINE void dot_inputs(const PackedTile<const std::byte>& tile, int block,
                             const Inputs& inputs, const Activation* x, int32_t* products) {
  for (int o = 0; o < kTile; ++o) products[o] = 0;
  for (int i = 0; i < inputs.count; ++i) {
    const int k = inputs.index[i];
    const std::byte* row = tile.codes(block) + k * tile.row_bytes();
    for (int o = 0; o < kTile; ++o) {
      products[o] += code_at<kBits>(row, tile.high_bits(), o) * x[k];
    }
  }
}

template <int kBits>
ANSER_INLINE void group_codes(const PackedTile<const std::byte>& tile, int block, int k0,
                              Code* codes) {
  for (int k = 0; k < kBlockInputs; ++k) {
    const std::byte* row = tile.codes(block) + k * tile.row_bytes();
    for (int o = 0; o < kTile; ++o) {
      const int at = code_offset(k0 + k / kGroup * kGroup, o / kLanes, kGroup);
      codes[at + o % kLanes * kGroup + k % kGroup] = Code(code_at<kBits>(row, tile.high_bits(), o));
    }
  }
}

typedef int32_t I32x4 __attribute__((vector_size(16)));
typedef int16_t I16x8 __attribute__((vector_size(16)));

struct IntVec {
  I32x4 p[kParts];
};
ANSER_INLINE IntVec int_broadcast(int32_t a) {
  IntVec to;
  ANSER_UNROLL for (int i = 0; i < kParts; ++i) to.p[i] = I32x4{a, a, a, a};
  return to;
}
ANSER_INLINE IntVec int_load(const Code* from) {
  IntVec to;
  memcpy(&to, from, sizeof(to));
  return to;
}
ANSER_INLINE IntVec int_activations(const Activation* x) {
  int32_t pair;
  memcpy(&pair, x, sizeof(pair));
  return int_broadcast(pair);
}
// Pairs of 16 bits in 32: the low one by sign extension, the high one by its shift.
ANSER_INLINE IntVec int_dot(IntVec sum, IntVec codes, IntVec x) {
  ANSER_UNROLL for (int i = 0; i < kParts; ++i) {
    const I32x4 low = (codes.p[i] << 16) >> 16, high = codes.p[i] >> 16;
    sum.p[i] += low * ((x.p[i] << 16) >> 16) + high * (x.p[i] >> 16);
    ANSER_KEEP_IN_REGISTER(sum.p[i]);
  }
  return sum;
}
ANSER_INLINE Vec int_to_float(IntVec a) {
  Vec to;
  ANSER_UNROLL for (int i = 0; i < kParts; ++i) to.p[i] = __builtin_convertvector(a.p[i], Part);
  return to;
}
ANSER_INLINE Vec difference(const int32_t* from, int32_t less) {
  IntVec a;
  memcpy(&a, from, sizeof(a));
  ANSER_UNROLL for (int i = 0; i < kParts; ++i) a.p[i] -= less;
  return int_to_float(a);
}
// Adding 1.5 * 2^23 rounds to an integer, to even on a tie, which then stands in the low bits.
ANSER_INLINE int32_t store_rounded(Activation* to, Vec a) {
  int32_t bits[kLanes], sum = 0;
  store(reinterpret_cast<float*>(bits), a + broadcast(0x1.8p23f));
  for (int i = 0; i < kLanes; ++i) {
    to[i] = Activation(bits[i] - 0x4b400000);
    sum += to[i];
  }
  return sum;
}

#include "cpu/isa/int_tile-inl.h"
