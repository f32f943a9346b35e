// Vectors of 16 fp32 lanes in kParts registers, the same for every instruction set.
//
// A simd_<name>.h gives the registers: Part, kParts, kPartLanes, the tile shapes of the matrix
// product, and
//   load_part, store_part, broadcast_part, fma_part, max_part, sqrt_part    one register
//   load_partial, store_partial    the first n < 16 elements; missing lanes are zero
//   keep_first                     zero in all lanes but the first n < 16
//   to_float                       16 bytes
//   not_zero_lanes                 a bit for each lane that is not zero, or NaN
//   reduce_max                     of numbers none of which is NaN
//   reduce_add, reduce_add4        sums in the one order that all tables share: lanes i and i + 8,
//                                  then i and i + 4, i + 2, i + 1
// max(a, b) is a > b ? a : b: it returns b when either is NaN.

template <class Element>
ANSER_INLINE Vec load(const Element* from) {
  Vec a;
  ANSER_UNROLL for (int i = 0; i < kParts; ++i) a.p[i] = load_part(from + i * kPartLanes);
  return a;
}
ANSER_INLINE void store(float* to, Vec a) {
  ANSER_UNROLL for (int i = 0; i < kParts; ++i) store_part(to + i * kPartLanes, a.p[i]);
}
ANSER_INLINE Vec broadcast(float value) {
  Vec a;
  ANSER_UNROLL for (int i = 0; i < kParts; ++i) a.p[i] = broadcast_part(value);
  return a;
}
ANSER_INLINE Vec operator+(Vec a, Vec b) {
  ANSER_UNROLL for (int i = 0; i < kParts; ++i) a.p[i] = a.p[i] + b.p[i];
  return a;
}
ANSER_INLINE Vec operator-(Vec a, Vec b) {
  ANSER_UNROLL for (int i = 0; i < kParts; ++i) a.p[i] = a.p[i] - b.p[i];
  return a;
}
ANSER_INLINE Vec operator*(Vec a, Vec b) {
  ANSER_UNROLL for (int i = 0; i < kParts; ++i) a.p[i] = a.p[i] * b.p[i];
  return a;
}
ANSER_INLINE Vec operator/(Vec a, Vec b) {
  ANSER_UNROLL for (int i = 0; i < kParts; ++i) a.p[i] = a.p[i] / b.p[i];
  return a;
}
ANSER_INLINE Vec fma(Vec a, Vec b, Vec c) {
  ANSER_UNROLL for (int i = 0; i < kParts; ++i) c.p[i] = fma_part(a.p[i], b.p[i], c.p[i]);
  return c;
}
ANSER_INLINE Vec max(Vec a, Vec b) {
  ANSER_UNROLL for (int i = 0; i < kParts; ++i) a.p[i] = max_part(a.p[i], b.p[i]);
  return a;
}
ANSER_INLINE Vec sqrt(Vec a) {
  ANSER_UNROLL for (int i = 0; i < kParts; ++i) a.p[i] = sqrt_part(a.p[i]);
  return a;
}

// Loads and stores of a piece whose length may be the whole vector.
ANSER_INLINE Vec load_first(const float* from, int n) {
  return n >= kLanes ? load(from) : load_partial(from, n);
}
ANSER_INLINE void store_first(float* to, int n, Vec a) {
  if (n >= kLanes) {
    store(to, a);
  } else {
    store_partial(to, n, a);
  }
}

ANSER_INLINE int min(int a, int b) {
  return a < b ? a : b;
}
