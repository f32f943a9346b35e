// Integer arithmetic of quantised weights on AVX-512 with VNNI, whose dot product takes four codes
// of 8 bits without sign and four activations with sign; inputs-inl.h says what is expected of such
// a header.

typedef int8_t Activation;
typedef uint8_t Code;
constexpr bool kSignedCodes = false;
constexpr int kGroup = 4;

ANSER_INLINE __m256i load_256(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i_u*>(from));
}

ANSER_INLINE uint32_t not_zero_activations(const Activation* x) {
  return _mm256_test_epi8_mask(load_256(x), load_256(x));
}

// 64 codes of one input, a byte each.
template <int kBits>
ANSER_INLINE __m512i load_codes(const std::byte* row, int64_t high_bits) {
  if constexpr (kBits == 8) return _mm512_loadu_si512(row);
  // Each 256 bits get all pairs of nibbles and shift theirs down.
  const __m512i pairs = _mm512_broadcast_i64x4(load_256(row));
  const __m512i shift = _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4);
  const __m512i low = _mm512_and_si512(_mm512_srlv_epi64(pairs, shift), _mm512_set1_epi8(15));
  if constexpr (kBits == 4) return low;
  // Each 128 bits get the high bits of all outputs: of theirs, bits 0 and 1 after the shift.
  const __m512i four =
      _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(row + high_bits)));
  const __m512i own = _mm512_srlv_epi64(four, _mm512_setr_epi64(0, 0, 2, 2, 4, 4, 6, 6));
  const __m512i high = _mm512_slli_epi16(_mm512_and_si512(own, _mm512_set1_epi8(3)), 4);
  return _mm512_or_si512(low, high);
}

// The bytes of four rows in groups of four: group j has, in its lanes of 128 bits, outputs
// 4j to 4j + 3, the same of the next 16 outputs, and so on.
ANSER_INLINE void group_rows(__m512i a, __m512i b, __m512i c, __m512i d, __m512i* to) {
  const __m512i ab0 = _mm512_unpacklo_epi8(a, b), ab1 = _mm512_unpackhi_epi8(a, b);
  const __m512i cd0 = _mm512_unpacklo_epi8(c, d), cd1 = _mm512_unpackhi_epi8(c, d);
  to[0] = _mm512_unpacklo_epi16(ab0, cd0);
  to[1] = _mm512_unpackhi_epi16(ab0, cd0);
  to[2] = _mm512_unpacklo_epi16(ab1, cd1);
  to[3] = _mm512_unpackhi_epi16(ab1, cd1);
}

// From that order to outputs 0-15, 16-31, 32-47, 48-63: a transpose of 4 x 4 lanes.
ANSER_INLINE void in_order(const __m512i* from, __m512i* to) {
  const __m512i low01 = _mm512_shuffle_i32x4(from[0], from[1], 0x44);
  const __m512i low23 = _mm512_shuffle_i32x4(from[2], from[3], 0x44);
  const __m512i high01 = _mm512_shuffle_i32x4(from[0], from[1], 0xee);
  const __m512i high23 = _mm512_shuffle_i32x4(from[2], from[3], 0xee);
  to[0] = _mm512_shuffle_i32x4(low01, low23, 0x88);
  to[1] = _mm512_shuffle_i32x4(low01, low23, 0xdd);
  to[2] = _mm512_shuffle_i32x4(high01, high23, 0x88);
  to[3] = _mm512_shuffle_i32x4(high01, high23, 0xdd);
}

// products[o] = sum over the inputs of code * x, for 64 outputs.
template <int kBits>
ANSER_INLINE void dot_inputs(const PackedTile<const std::byte>& tile, int block,
                             const Inputs& inputs, const Activation* x, int32_t* products) {
  const std::byte* rows = tile.codes(block);
  const int64_t row_bytes = tile.row_bytes(), high_bits = tile.high_bits();
  const int count = inputs.count;
  __m512i sums[4] = {};
  for (int i = 0; i < count; i += kGroup) {
    __m512i row[kGroup];
    uint32_t group = 0;
    ANSER_UNROLL for (int j = 0; j < kGroup; ++j) {
      const int k = inputs.index[i + j];
      row[j] = load_codes<kBits>(rows + k * row_bytes, high_bits);
      group |= i + j < count ? uint32_t(uint8_t(x[k])) << 8 * j : 0;
    }
    const __m512i factors = _mm512_set1_epi32(int32_t(group));
    __m512i groups[4];
    group_rows(row[0], row[1], row[2], row[3], groups);
    ANSER_UNROLL for (int j = 0; j < 4; ++j) {
      sums[j] = _mm512_dpbusd_epi32(sums[j], groups[j], factors);
    }
  }
  __m512i ordered[4];
  in_order(sums, ordered);
  ANSER_UNROLL for (int j = 0; j < 4; ++j) _mm512_storeu_si512(products + 16 * j, ordered[j]);
}

ANSER_INLINE __m512i join(__m256i low, __m256i high) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// The nibbles of four rows in groups of four, outputs in order. They are grouped while still in
// pairs, which is half of the work.
ANSER_INLINE void group_nibbles(const std::byte* rows, int64_t row_bytes, __m512i* to) {
  const __m256i a = load_256(rows), b = load_256(rows + row_bytes);
  const __m256i c = load_256(rows + 2 * row_bytes), d = load_256(rows + 3 * row_bytes);
  const __m256i ab0 = _mm256_unpacklo_epi8(a, b), ab1 = _mm256_unpackhi_epi8(a, b);
  const __m256i cd0 = _mm256_unpacklo_epi8(c, d), cd1 = _mm256_unpackhi_epi8(c, d);
  // Lanes of outputs 0-3, 16-19, 4-7, 20-23, and of 8-11, 24-27, 12-15, 28-31.
  const __m512i even = join(_mm256_unpacklo_epi16(ab0, cd0), _mm256_unpackhi_epi16(ab0, cd0));
  const __m512i odd = join(_mm256_unpacklo_epi16(ab1, cd1), _mm256_unpackhi_epi16(ab1, cd1));
  const __m512i first = _mm512_shuffle_i32x4(even, odd, 0x88);   // 0-15, and 32-47 above them
  const __m512i second = _mm512_shuffle_i32x4(even, odd, 0xdd);  // 16-31, and 48-63
  const __m512i nibble = _mm512_set1_epi8(15);
  to[0] = _mm512_and_si512(first, nibble);
  to[1] = _mm512_and_si512(second, nibble);
  to[2] = _mm512_and_si512(_mm512_srli_epi16(first, 4), nibble);
  to[3] = _mm512_and_si512(_mm512_srli_epi16(second, 4), nibble);
}

// And the high bits of codes of 6, to bits 4 and 5.
ANSER_INLINE void add_high_bits(const std::byte* rows, int64_t row_bytes, __m512i* to) {
  const auto row = [&](int k) ANSER_INLINE_LAMBDA {
    return _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(rows + k * row_bytes));
  };
  const __m128i a = row(0), b = row(1), c = row(2), d = row(3);
  const __m128i ab0 = _mm_unpacklo_epi8(a, b), ab1 = _mm_unpackhi_epi8(a, b);
  const __m128i cd0 = _mm_unpacklo_epi8(c, d), cd1 = _mm_unpackhi_epi8(c, d);
  const __m512i all =  // of outputs 0-15, and of 16-31, 32-47, 48-63 two bits further up each
      join(_mm256_set_m128i(_mm_unpackhi_epi16(ab0, cd0), _mm_unpacklo_epi16(ab0, cd0)),
           _mm256_set_m128i(_mm_unpackhi_epi16(ab1, cd1), _mm_unpacklo_epi16(ab1, cd1)));
  const auto add = [](__m512i code, __m512i bits) ANSER_INLINE_LAMBDA {
    constexpr int kOrOfAnd = 0xf8;  // first | (second & third)
    return _mm512_ternarylogic_epi64(code, bits, _mm512_set1_epi8(0x30), kOrOfAnd);
  };
  to[0] = add(to[0], _mm512_slli_epi16(all, 4));
  to[1] = add(to[1], _mm512_slli_epi16(all, 2));
  to[2] = add(to[2], all);
  to[3] = add(to[3], _mm512_srli_epi16(all, 2));
}

// To the places of inputs k0 to k0 + 31 of a chunk.
template <int kBits>
ANSER_INLINE void group_codes(const PackedTile<const std::byte>& tile, int block, int k0,
                              Code* codes) {
  const std::byte* rows = tile.codes(block);
  const int64_t row_bytes = tile.row_bytes(), high_bits = tile.high_bits();
  for (int k = 0; k < kBlockInputs; k += kGroup) {
    __m512i ordered[4];
    const std::byte* from = rows + k * row_bytes;
    if constexpr (kBits == 8) {
      __m512i row[kGroup], groups[4];
      ANSER_UNROLL for (int j = 0; j < kGroup; ++j) row[j] = load_codes<8>(from + j * row_bytes, 0);
      group_rows(row[0], row[1], row[2], row[3], groups);
      in_order(groups, ordered);
    } else {
      group_nibbles(from, row_bytes, ordered);
      if constexpr (kBits == 6) add_high_bits(from + high_bits, row_bytes, ordered);
    }
    ANSER_UNROLL for (int v = 0; v < 4; ++v) {
      _mm512_storeu_si512(codes + code_offset(k0 + k, v, kGroup), ordered[v]);
    }
  }
}

struct IntVec {
  __m512i p;
};
ANSER_INLINE IntVec int_broadcast(int32_t a) {
  return {_mm512_set1_epi32(a)};
}
ANSER_INLINE IntVec int_load(const Code* from) {
  return {_mm512_loadu_si512(from)};
}
ANSER_INLINE IntVec int_activations(const Activation* x) {
  int32_t group;
  memcpy(&group, x, sizeof(group));
  return int_broadcast(group);
}
ANSER_INLINE IntVec int_dot(IntVec sum, IntVec codes, IntVec x) {
  return {_mm512_dpbusd_epi32(sum.p, codes.p, x.p)};
}
ANSER_INLINE Vec int_to_float(IntVec a) {
  return {{_mm512_cvtepi32_ps(a.p)}};
}
ANSER_INLINE Vec difference(const int32_t* from, int32_t less) {
  return int_to_float({_mm512_sub_epi32(_mm512_loadu_si512(from), _mm512_set1_epi32(less))});
}
ANSER_INLINE int32_t store_rounded(Activation* to, Vec a) {
  const __m512i q = _mm512_cvtps_epi32(a.p[0]);
  _mm_storeu_si128(reinterpret_cast<__m128i_u*>(to), _mm512_cvtepi32_epi8(q));
  return _mm512_reduce_add_epi32(q);
}

#include "cpu/isa/int_tile-inl.h"
