// Four lanes to a register through the compiler's vector types: SSE2 on x86-64, NEON on aarch64. A
// multiply-add rounds twice. See simd-inl.h for what is expected here.

typedef float Part __attribute__((vector_size(16)));
typedef int32_t PartMask __attribute__((vector_size(16)));
constexpr int kParts = 4;
constexpr int kPartLanes = 4;

struct Vec {
  Part p[kParts];
};

// Register tiles of the matrix product: 2 rows x 16 outputs are 8 accumulators of one xmm, which
// leaves half of the 16 for operands and products.
constexpr int kFloatTileRows = 2, kFloatTileVecs = 1;
constexpr bool kBytesInOrder = false;  // see matmul_parts-inl.h
constexpr int kIntTileRows = 2, kIntTileVecs = 1;

typedef uint16_t U16x4 __attribute__((vector_size(8)));

ANSER_INLINE U32x4 load_halves(const void* from) {
  U16x4 halves;
  memcpy(&halves, from, sizeof(halves));
  return __builtin_convertvector(halves, U32x4);
}

ANSER_INLINE U32x4 select(PartMask condition, U32x4 a, U32x4 b) {
  return (a & (U32x4)condition) | (b & ~(U32x4)condition);
}

// Subnormal halves, m * 2^-24, are made by a conversion from integer rather than by way of fp32
// subnormals, which the floating-point mode may flush.
ANSER_INLINE Part widen_halves(U32x4 halves) {
  const PartMask magnitude = (PartMask)(halves & 0x7fff);
  const U32x4 small = (U32x4)(__builtin_convertvector(magnitude, Part) * 0x1p-24f);
  const U32x4 finite = ((U32x4)magnitude << 13) + (112u << 23);
  const U32x4 infinite_or_nan = finite + (112u << 23);
  const U32x4 value =
      select(magnitude < 0x400, small, select(magnitude < 0x7c00, finite, infinite_or_nan));
  return (Part)(value | (halves & 0x8000) << 16);
}

ANSER_INLINE float half_to_float(uint16_t bits) {
  return widen_halves(U32x4{bits, 0, 0, 0})[0];
}

ANSER_INLINE Part load_part(const float* from) {
  Part a;
  memcpy(&a, from, sizeof(a));
  return a;
}
ANSER_INLINE Part load_part(const F16* from) {
  return widen_halves(load_halves(from));
}
ANSER_INLINE Part load_part(const Bf16* from) {
  return (Part)(load_halves(from) << 16);
}
ANSER_INLINE void store_part(float* to, Part a) {
  memcpy(to, &a, sizeof(a));
}
ANSER_INLINE Part broadcast_part(float a) {
  return Part{a, a, a, a};
}
ANSER_INLINE Part fma_part(Part a, Part b, Part c) {
  return a * b + c;
}
ANSER_INLINE Part max_part(Part a, Part b) {
  const PartMask greater = a > b;
  return (Part)(((PartMask)a & greater) | ((PartMask)b & ~greater));
}
ANSER_INLINE Part sqrt_part(Part a) {
  return Part{__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]),
              __builtin_sqrtf(a[3])};
}

template <class T>
ANSER_INLINE Vec load_padded(const T* from) {
  return {{load_part(from), load_part(from + 4), load_part(from + 8), load_part(from + 12)}};
}
template <class T>
ANSER_INLINE Vec load_partial(const T* from, int n) {
  T padded[kLanes] = {};
  memcpy(padded, from, size_t(n) * sizeof(T));
  return load_padded(padded);
}
ANSER_INLINE void store_partial(float* to, int n, Vec a) {
  memcpy(to, &a, size_t(n) * 4);
}
ANSER_INLINE Vec keep_first(Vec a, int n) {
  Vec kept = {};
  memcpy(&kept, &a, size_t(n) * 4);
  return kept;
}

template <class T>
ANSER_INLINE Vec bytes_to_float(T bytes) {
  float to[kLanes];
  for (int i = 0; i < kLanes; ++i) to[i] = float(int32_t(bytes[i]));
  return load_padded(to);
}
ANSER_INLINE Vec to_float(I8x16 a) {
  return bytes_to_float(a);
}
ANSER_INLINE Vec to_float(U8x16 a) {
  return bytes_to_float(a);
}

ANSER_INLINE float reduce_add(Vec a) {
  const Part s4 = (a.p[0] + a.p[2]) + (a.p[1] + a.p[3]);
  return (s4[0] + s4[2]) + (s4[1] + s4[3]);
}
ANSER_INLINE uint32_t not_zero_lanes(Vec a) {
  uint32_t bits = 0;
  for (int i = 0; i < kLanes; ++i) {
    bits |= uint32_t(a.p[i / kPartLanes][i % kPartLanes] != 0) << i;
  }
  return bits;
}

ANSER_INLINE float reduce_max(Vec a) {
  float most = a.p[0][0];
  for (int i = 0; i < kParts; ++i) {
    for (int j = 0; j < kPartLanes; ++j) most = a.p[i][j] > most ? a.p[i][j] : most;
  }
  return most;
}
ANSER_INLINE void reduce_add4(Vec a, Vec b, Vec c, Vec d, float* to) {
  to[0] = reduce_add(a);
  to[1] = reduce_add(b);
  to[2] = reduce_add(c);
  to[3] = reduce_add(d);
}
