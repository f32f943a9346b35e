// Registers of AVX-512 F, BW, DQ, VL: a vector is one zmm. See simd-inl.h for what is expected
// here.

typedef __m512 Part;
constexpr int kParts = 1;
constexpr int kPartLanes = 16;

struct Vec {
  Part p[kParts];
};

// Register tiles of the matrix product. Floats: 12 rows x 32 outputs are 24 accumulators, with 2
// registers of W 26 of the 32 (x comes as a broadcast operand). Integers: 6 rows x 64 outputs.
constexpr int kFloatTileRows = 12, kFloatTileVecs = 2;
constexpr bool kBytesInOrder = false;  // see matmul_parts-inl.h
constexpr int kIntTileRows = 6, kIntTileVecs = 4;

ANSER_INLINE Part load_part(const float* from) {
  return _mm512_loadu_ps(from);
}
ANSER_INLINE Part load_part(const F16* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(from)));
}
ANSER_INLINE Part bf16_part(__m256i halves) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
ANSER_INLINE Part load_part(const Bf16* from) {
  return bf16_part(_mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(from)));
}
ANSER_INLINE void store_part(float* to, Part a) {
  _mm512_storeu_ps(to, a);
}
ANSER_INLINE Part broadcast_part(float a) {
  return _mm512_set1_ps(a);
}
ANSER_INLINE Part fma_part(Part a, Part b, Part c) {
  return _mm512_fmadd_ps(a, b, c);
}
ANSER_INLINE Part max_part(Part a, Part b) {
  return _mm512_max_ps(a, b);
}
ANSER_INLINE Part sqrt_part(Part a) {
  return _mm512_sqrt_ps(a);
}

ANSER_INLINE __mmask16 first_lanes(int n) {
  return __mmask16((1u << n) - 1);
}

ANSER_INLINE Vec load_partial(const float* from, int n) {
  return {{_mm512_maskz_loadu_ps(first_lanes(n), from)}};
}
ANSER_INLINE Vec load_partial(const F16* from, int n) {
  return {{_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n), from))}};
}
ANSER_INLINE Vec load_partial(const Bf16* from, int n) {
  return {{bf16_part(_mm256_maskz_loadu_epi16(first_lanes(n), from))}};
}
ANSER_INLINE void store_partial(float* to, int n, Vec a) {
  _mm512_mask_storeu_ps(to, first_lanes(n), a.p[0]);
}
ANSER_INLINE Vec keep_first(Vec a, int n) {
  return {{_mm512_maskz_mov_ps(first_lanes(n), a.p[0])}};
}

ANSER_INLINE Vec to_float(I8x16 a) {
  return {{_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32((__m128i)a))}};
}
ANSER_INLINE Vec to_float(U8x16 a) {
  return {{_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32((__m128i)a))}};
}
ANSER_INLINE float half_to_float(uint16_t bits) {
  return _cvtsh_ss(bits);
}

ANSER_INLINE float reduce_add(Vec a) {
  const __m256 low = _mm512_castps512_ps256(a.p[0]);
  const __m256 s8 = low + _mm512_extractf32x8_ps(a.p[0], 1);
  const __m128 s4 = _mm256_castps256_ps128(s8) + _mm256_extractf128_ps(s8, 1);
  const __m128 s2 = s4 + _mm_movehl_ps(s4, s4);
  return s2[0] + s2[1];
}

ANSER_INLINE uint32_t not_zero_lanes(Vec a) {
  return _mm512_cmp_ps_mask(a.p[0], _mm512_setzero_ps(), _CMP_NEQ_UQ);
}

ANSER_INLINE float reduce_max(Vec a) {
  return _mm512_reduce_max_ps(a.p[0]);
}

// The four sums of reduce_add at once: halves of two vectors share a register on the way down.
ANSER_INLINE void reduce_add4(Vec a, Vec b, Vec c, Vec d, float* to) {
  const __m512 ab = _mm512_shuffle_f32x4(a.p[0], b.p[0], 0x44) +  // a0 a1 b0 b1, 4 lanes each
                    _mm512_shuffle_f32x4(a.p[0], b.p[0], 0xee);   // a2 a3 b2 b3
  const __m512 cd =
      _mm512_shuffle_f32x4(c.p[0], d.p[0], 0x44) + _mm512_shuffle_f32x4(c.p[0], d.p[0], 0xee);
  const __m512 s4 = _mm512_shuffle_f32x4(ab, cd, 0x88) + _mm512_shuffle_f32x4(ab, cd, 0xdd);
  const __m512 s2 = s4 + _mm512_permute_ps(s4, 0x4e);
  const __m512 s1 = s2 + _mm512_permute_ps(s2, 0xb1);
  const __m512i first = _mm512_castsi128_si512(_mm_setr_epi32(0, 4, 8, 12));
  _mm_storeu_ps(to, _mm512_castps512_ps128(_mm512_permutexvar_ps(first, s1)));
}
