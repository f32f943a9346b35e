// Integer arithmetic of quantised weights on AVX2, and with ANSER_512 on AVX-512; inputs-inl.h says
// what is expected of such a header. Streaming waits for memory, so 32 bytes at a time do for it.

typedef int16_t Activation;
typedef int16_t Code;
constexpr bool kSignedCodes = false;
constexpr int kGroup = 2;

ANSER_INLINE __m256i load_256(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i_u*>(from));
}
ANSER_INLINE void store_256(void* to, __m256i a) {
  _mm256_storeu_si256(static_cast<__m256i_u*>(to), a);
}

ANSER_INLINE uint32_t not_zero_activations(const Activation* x) {
  const __m256i zero = _mm256_setzero_si256();
  const __m256i low = _mm256_cmpeq_epi16(load_256(x), zero);
  const __m256i high = _mm256_cmpeq_epi16(load_256(x + 16), zero);
  const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xd8);
  return ~uint32_t(_mm256_movemask_epi8(both));
}

// 64 codes of one input: outputs 0 to 31 and 32 to 63, a byte each.
struct CodeRow {
  __m256i low, high;
};

template <int kBits>
ANSER_INLINE CodeRow load_codes(const std::byte* row, int64_t high_bits) {
  if constexpr (kBits == 8) {
    return {load_256(row), load_256(row + 32)};
  } else {
    const __m256i nibble = _mm256_set1_epi8(15), pairs = load_256(row);
    CodeRow codes = {_mm256_and_si256(pairs, nibble),
                     _mm256_and_si256(_mm256_srli_epi16(pairs, 4), nibble)};
    if constexpr (kBits == 6) {
      // Outputs j and j + 16 next to each other, in bits 0 and 1, and j + 32 and j + 48 in 4 and 5.
      const __m256i high = _mm256_srlv_epi64(
          _mm256_broadcastsi128_si256(
              _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(row + high_bits))),
          _mm256_setr_epi64x(0, 0, 2, 2));
      const __m256i two = _mm256_set1_epi8(0x30);
      codes.low = _mm256_or_si256(codes.low, _mm256_and_si256(_mm256_slli_epi16(high, 4), two));
      codes.high = _mm256_or_si256(codes.high, _mm256_and_si256(high, two));
    }
    return codes;
  }
}

// The bytes of two rows as pairs of 16 bits: outputs 0-3 16-19, 4-7 20-23, 8-11 24-27, 12-15 28-31.
ANSER_INLINE void pair_16(__m256i a, __m256i b, __m256i* to) {
  const __m256i zero = _mm256_setzero_si256();
  const __m256i a0 = _mm256_unpacklo_epi8(a, zero), a1 = _mm256_unpackhi_epi8(a, zero);
  const __m256i b0 = _mm256_unpacklo_epi8(b, zero), b1 = _mm256_unpackhi_epi8(b, zero);
  to[0] = _mm256_unpacklo_epi16(a0, b0);
  to[1] = _mm256_unpackhi_epi16(a0, b0);
  to[2] = _mm256_unpacklo_epi16(a1, b1);
  to[3] = _mm256_unpackhi_epi16(a1, b1);
}

// Vectors in the order of pair_16 to outputs 0-7, 8-15, 16-23, 24-31.
ANSER_INLINE void in_order(const __m256i* from, __m256i* to) {
  to[0] = _mm256_permute2x128_si256(from[0], from[1], 0x20);
  to[1] = _mm256_permute2x128_si256(from[2], from[3], 0x20);
  to[2] = _mm256_permute2x128_si256(from[0], from[1], 0x31);
  to[3] = _mm256_permute2x128_si256(from[2], from[3], 0x31);
}

// products[o] = sum over the inputs of code * x, for 64 outputs.
template <int kBits>
ANSER_INLINE void dot_inputs(const PackedTile<const std::byte>& tile, int block,
                             const Inputs& inputs, const Activation* x, int32_t* products) {
  const std::byte* rows = tile.codes(block);
  const int64_t row_bytes = tile.row_bytes(), high_bits = tile.high_bits();
  const int count = inputs.count;
  if constexpr (kBits == 8) {
    __m256i sums[2][4] = {};
    for (int i = 0; i < count; i += 2) {
      const int k0 = inputs.index[i], k1 = inputs.index[i + 1];
      const int32_t x0 = x[k0], x1 = i + 1 < count ? x[k1] : 0;
      const __m256i factors = _mm256_set1_epi32((x0 & 0xffff) | x1 << 16);
      const CodeRow a = load_codes<8>(rows + k0 * row_bytes, 0);
      const CodeRow b = load_codes<8>(rows + k1 * row_bytes, 0);
      __m256i pairs[4];
      pair_16(a.low, b.low, pairs);
      ANSER_UNROLL for (int j = 0; j < 4; ++j) {
        sums[0][j] = _mm256_add_epi32(sums[0][j], _mm256_madd_epi16(pairs[j], factors));
      }
      pair_16(a.high, b.high, pairs);
      ANSER_UNROLL for (int j = 0; j < 4; ++j) {
        sums[1][j] = _mm256_add_epi32(sums[1][j], _mm256_madd_epi16(pairs[j], factors));
      }
    }
    ANSER_UNROLL for (int h = 0; h < 2; ++h) {
      __m256i ordered[4];
      in_order(sums[h], ordered);
      ANSER_UNROLL for (int j = 0; j < 4; ++j) store_256(products + 32 * h + 8 * j, ordered[j]);
    }
  } else {
    // Products of narrow codes fit 16 bits: a pair is at most 2 * 127 * 15 or 63.
    constexpr int kInputs = 2 * (32767 / (2 * 127 * ((1 << kBits) - 1)));
    __m256i sums[8] = {};
    for (int first = 0; first < count; first += kInputs) {
      const int last = min(first + kInputs, count);
      __m256i narrow[4] = {};
      for (int i = first; i < last; i += 2) {
        const int k0 = inputs.index[i], k1 = inputs.index[i + 1];
        const int32_t x0 = x[k0], x1 = i + 1 < count ? x[k1] : 0;
        const __m256i factors = _mm256_set1_epi16(int16_t((x0 & 0xff) | x1 << 8));
        const CodeRow a = load_codes<kBits>(rows + k0 * row_bytes, high_bits);
        const CodeRow b = load_codes<kBits>(rows + k1 * row_bytes, high_bits);
        const __m256i pairs[4] = {
            _mm256_unpacklo_epi8(a.low, b.low), _mm256_unpackhi_epi8(a.low, b.low),
            _mm256_unpacklo_epi8(a.high, b.high), _mm256_unpackhi_epi8(a.high, b.high)};
        ANSER_UNROLL for (int j = 0; j < 4; ++j) {
          narrow[j] = _mm256_add_epi16(narrow[j], _mm256_maddubs_epi16(pairs[j], factors));
        }
      }
      // narrow: outputs 0-7 16-23, 8-15 24-31, and 32 more of each.
      ANSER_UNROLL for (int j = 0; j < 4; ++j) {
        const int at = j / 2 * 4 + j % 2;
        sums[at] =
            _mm256_add_epi32(sums[at], _mm256_cvtepi16_epi32(_mm256_castsi256_si128(narrow[j])));
        sums[at + 2] = _mm256_add_epi32(
            sums[at + 2], _mm256_cvtepi16_epi32(_mm256_extracti128_si256(narrow[j], 1)));
      }
    }
    ANSER_UNROLL for (int j = 0; j < 8; ++j) store_256(products + 8 * j, sums[j]);
  }
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
    ANSER_UNROLL for (int h = 0; h < 2; ++h) {
      const auto of = [&](int i) ANSER_INLINE_LAMBDA { return h == 0 ? in[i].low : in[i].high; };
      __m256i groups[4], ordered[4];
      pair_16(of(0), of(1), groups);
      in_order(groups, ordered);
      ANSER_UNROLL for (int j = 0; j < 4; ++j) {
        store_256(codes + code_offset(k0 + k, 2 * h + j / 2, kGroup) + j % 2 * 8 * kGroup,
                  ordered[j]);
      }
    }
  }
}

// Two activations.
ANSER_INLINE int32_t activation_group(const Activation* x) {
  int32_t group;
  memcpy(&group, x, sizeof(group));
  return group;
}

#if ANSER_512
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
  return int_broadcast(activation_group(x));
}
ANSER_INLINE IntVec int_dot(IntVec sum, IntVec codes, IntVec x) {
  sum.p = _mm512_add_epi32(sum.p, _mm512_madd_epi16(codes.p, x.p));
  ANSER_KEEP_IN_REGISTER_512(sum.p);
  return sum;
}
ANSER_INLINE Vec int_to_float(IntVec a) {
  return {{_mm512_cvtepi32_ps(a.p)}};
}
ANSER_INLINE Vec difference(const int32_t* from, int32_t less) {
  return {
      {_mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(from), _mm512_set1_epi32(less)))}};
}
ANSER_INLINE int32_t store_rounded(Activation* to, Vec a) {
  const __m512i q = _mm512_cvtps_epi32(a.p[0]);
  store_256(to, _mm512_cvtepi32_epi16(q));
  return _mm512_reduce_add_epi32(q);
}
#else
struct IntVec {
  __m256i p[2];
};
ANSER_INLINE IntVec int_broadcast(int32_t a) {
  return {{_mm256_set1_epi32(a), _mm256_set1_epi32(a)}};
}
ANSER_INLINE IntVec int_load(const Code* from) {
  return {{load_256(from), load_256(from + 16)}};
}
ANSER_INLINE IntVec int_activations(const Activation* x) {
  return int_broadcast(activation_group(x));
}
ANSER_INLINE IntVec int_dot(IntVec sum, IntVec codes, IntVec x) {
  ANSER_UNROLL for (int i = 0; i < 2; ++i) {
    sum.p[i] = _mm256_add_epi32(sum.p[i], _mm256_madd_epi16(codes.p[i], x.p[i]));
    ANSER_KEEP_IN_REGISTER(sum.p[i]);
  }
  return sum;
}
ANSER_INLINE Vec int_to_float(IntVec a) {
  return {{_mm256_cvtepi32_ps(a.p[0]), _mm256_cvtepi32_ps(a.p[1])}};
}
ANSER_INLINE Vec difference(const int32_t* from, int32_t less) {
  const __m256i b = _mm256_set1_epi32(less);
  return int_to_float(
      {{_mm256_sub_epi32(load_256(from), b), _mm256_sub_epi32(load_256(from + 8), b)}});
}
ANSER_INLINE int32_t store_rounded(Activation* to, Vec a) {
  const __m256i low = _mm256_cvtps_epi32(a.p[0]), high = _mm256_cvtps_epi32(a.p[1]);
  const __m256i mixed = _mm256_packs_epi32(low, high);  // 0-3 8-11 4-7 12-15
  store_256(to, _mm256_permute4x64_epi64(mixed, 0xd8));
  const __m256i eight = _mm256_add_epi32(low, high);
  const __m128i four =
      _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
#endif

#include "cpu/isa/int_tile-inl.h"
