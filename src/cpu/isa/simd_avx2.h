// Registers of AVX2, FMA and F16C: a vector is two ymm. See simd-inl.h for what is expected here.

typedef __m256 Part;
constexpr int kParts = 2;
constexpr int kPartLanes = 8;

struct Vec {
  Part p[kParts];
};

// Register tiles of the matrix product. Floats: 6 rows x 16 outputs are 12 accumulators of one ymm,
// with 2 registers of W and one of x 15 of the 16. Integers: 3 rows x 16 outputs are 6; with 4 the
// compiler spills one, which costs more than the fourth row gains.
constexpr int kFloatTileRows = 6, kFloatTileVecs = 1;
constexpr bool kBytesInOrder = true;  // see matmul_parts-inl.h
constexpr int kIntTileRows = 3, kIntTileVecs = 1;

ANSER_INLINE Part f16_part(__m128i halves) {
  return _mm256_cvtph_ps(halves);
}
ANSER_INLINE Part bf16_part(__m128i halves) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}
ANSER_INLINE Part load_part(const float* from) {
  return _mm256_loadu_ps(from);
}
ANSER_INLINE Part load_part(const F16* from) {
  return f16_part(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(from)));
}
ANSER_INLINE Part load_part(const Bf16* from) {
  return bf16_part(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(from)));
}
ANSER_INLINE void store_part(float* to, Part a) {
  _mm256_storeu_ps(to, a);
}
ANSER_INLINE Part broadcast_part(float a) {
  return _mm256_set1_ps(a);
}
ANSER_INLINE Part fma_part(Part a, Part b, Part c) {
  return _mm256_fmadd_ps(a, b, c);
}
ANSER_INLINE Part max_part(Part a, Part b) {
  return _mm256_max_ps(a, b);
}
ANSER_INLINE Part sqrt_part(Part a) {
  return _mm256_sqrt_ps(a);
}

// All ones in the first n of 16 lanes.
struct Mask {
  __m256i p[2];
};
ANSER_INLINE Mask first_lanes(int n) {
  alignas(32) static const int32_t kOnesZeros[2 * kLanes] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                                             -1, -1, -1, -1, -1, -1, -1, -1};
  const int32_t* from = kOnesZeros + kLanes - n;
  return {{_mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(from)),
           _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(from + 8))}};
}

ANSER_INLINE Vec load_partial(const float* from, int n) {
  const Mask mask = first_lanes(n);
  return {{_mm256_maskload_ps(from, mask.p[0]), _mm256_maskload_ps(from + 8, mask.p[1])}};
}
ANSER_INLINE Vec load_partial(const F16* from, int n) {
  F16 padded[kLanes] = {};
  memcpy(padded, from, size_t(n) * sizeof(F16));
  return {{load_part(padded), load_part(padded + 8)}};
}
ANSER_INLINE Vec load_partial(const Bf16* from, int n) {
  Bf16 padded[kLanes] = {};
  memcpy(padded, from, size_t(n) * sizeof(Bf16));
  return {{load_part(padded), load_part(padded + 8)}};
}
ANSER_INLINE void store_partial(float* to, int n, Vec a) {
  const Mask mask = first_lanes(n);
  _mm256_maskstore_ps(to, mask.p[0], a.p[0]);
  _mm256_maskstore_ps(to + 8, mask.p[1], a.p[1]);
}
ANSER_INLINE Vec keep_first(Vec a, int n) {
  const Mask mask = first_lanes(n);
  return {{_mm256_and_ps(a.p[0], _mm256_castsi256_ps(mask.p[0])),
           _mm256_and_ps(a.p[1], _mm256_castsi256_ps(mask.p[1]))}};
}

ANSER_INLINE Vec to_float(I8x16 a) {
  const __m128i bytes = (__m128i)a;
  return {{_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
           _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))}};
}
ANSER_INLINE Vec to_float(U8x16 a) {
  const __m128i bytes = (__m128i)a;
  return {{_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
           _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)))}};
}
ANSER_INLINE float half_to_float(uint16_t bits) {
  return _cvtsh_ss(bits);
}

ANSER_INLINE __m128 add_to_four(Vec a) {
  const __m256 s8 = a.p[0] + a.p[1];
  return _mm256_castps256_ps128(s8) + _mm256_extractf128_ps(s8, 1);
}

ANSER_INLINE float reduce_add(Vec a) {
  const __m128 s4 = add_to_four(a);
  const __m128 s2 = s4 + _mm_movehl_ps(s4, s4);
  return s2[0] + s2[1];
}

ANSER_INLINE uint32_t not_zero_lanes(Vec a) {
  const __m256 zero = _mm256_setzero_ps();
  const int low = _mm256_movemask_ps(_mm256_cmp_ps(a.p[0], zero, _CMP_NEQ_UQ));
  const int high = _mm256_movemask_ps(_mm256_cmp_ps(a.p[1], zero, _CMP_NEQ_UQ));
  return uint32_t(low | high << 8);
}

ANSER_INLINE float reduce_max(Vec a) {
  const __m256 m8 = _mm256_max_ps(a.p[0], a.p[1]);
  const __m128 m4 = _mm_max_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
  const __m128 m2 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));
  return m2[0] > m2[1] ? m2[0] : m2[1];
}

// The four sums of reduce_add at once.
ANSER_INLINE void reduce_add4(Vec a, Vec b, Vec c, Vec d, float* to) {
  const __m128 a4 = add_to_four(a), b4 = add_to_four(b);
  const __m128 c4 = add_to_four(c), d4 = add_to_four(d);
  const __m128 ab = _mm_movelh_ps(a4, b4) + _mm_movehl_ps(b4, a4);  // a02 a13 b02 b13
  const __m128 cd = _mm_movelh_ps(c4, d4) + _mm_movehl_ps(d4, c4);
  _mm_storeu_ps(to, _mm_shuffle_ps(ab, cd, 0x88) + _mm_shuffle_ps(ab, cd, 0xdd));
}
