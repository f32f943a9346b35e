// Registers of NEON on aarch64: a vector is four of them, of 32. See simd-inl.h for what is
// expected here.

typedef float32x4_t Part;
constexpr int kParts = 4;
constexpr int kPartLanes = 4;

struct Vec {
  Part p[kParts];
};

// Register tiles of the matrix product: 6 rows x 16 outputs are 24 accumulators, with 4 registers
// of W and one of x 29 of the 32. Integers the same.
constexpr int kFloatTileRows = 6, kFloatTileVecs = 1;
constexpr bool kBytesInOrder = false;  // see matmul_parts-inl.h
constexpr int kIntTileRows = 6, kIntTileVecs = 1;

ANSER_INLINE Part load_part(const float* from) {
  return vld1q_f32(from);
}
ANSER_INLINE Part load_part(const F16* from) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const uint16_t*>(from))));
}
ANSER_INLINE Part load_part(const Bf16* from) {
  return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(reinterpret_cast<const uint16_t*>(from)), 16));
}
ANSER_INLINE void store_part(float* to, Part a) {
  vst1q_f32(to, a);
}
ANSER_INLINE Part broadcast_part(float a) {
  return vdupq_n_f32(a);
}
ANSER_INLINE Part fma_part(Part a, Part b, Part c) {
  return vfmaq_f32(c, a, b);
}
ANSER_INLINE Part max_part(Part a, Part b) {
  return vbslq_f32(vcgtq_f32(a, b), a, b);
}
ANSER_INLINE Part sqrt_part(Part a) {
  return vsqrtq_f32(a);
}
ANSER_INLINE float half_to_float(uint16_t bits) {
  return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(bits))), 0);
}

template <class Element>
ANSER_INLINE Vec load_partial(const Element* from, int n) {
  Element padded[kLanes] = {};
  memcpy(padded, from, size_t(n) * sizeof(Element));
  return {
      {load_part(padded), load_part(padded + 4), load_part(padded + 8), load_part(padded + 12)}};
}
ANSER_INLINE void store_partial(float* to, int n, Vec a) {
  memcpy(to, &a, size_t(n) * sizeof(float));
}
ANSER_INLINE Vec keep_first(Vec a, int n) {
  Vec kept = {};
  memcpy(&kept, &a, size_t(n) * sizeof(float));
  return kept;
}

ANSER_INLINE Vec to_float(I8x16 a) {
  const int16x8_t low = vmovl_s8(vget_low_s8((int8x16_t)a)), high = vmovl_high_s8((int8x16_t)a);
  return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_high_s16(low)),
           vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_high_s16(high))}};
}
ANSER_INLINE Vec to_float(U8x16 a) {
  const uint16x8_t low = vmovl_u8(vget_low_u8((uint8x16_t)a)), high = vmovl_high_u8((uint8x16_t)a);
  return {{vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))), vcvtq_f32_u32(vmovl_high_u16(low)),
           vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))), vcvtq_f32_u32(vmovl_high_u16(high))}};
}

ANSER_INLINE Part add_to_four(Vec a) {
  return (a.p[0] + a.p[2]) + (a.p[1] + a.p[3]);
}
ANSER_INLINE float reduce_add(Vec a) {
  const Part s4 = add_to_four(a);
  const float32x2_t s2 = vget_low_f32(s4) + vget_high_f32(s4);
  return vget_lane_f32(s2, 0) + vget_lane_f32(s2, 1);
}
// The four sums of reduce_add at once.
ANSER_INLINE void reduce_add4(Vec a, Vec b, Vec c, Vec d, float* to) {
  const Part a4 = add_to_four(a), b4 = add_to_four(b);
  const Part c4 = add_to_four(c), d4 = add_to_four(d);
  const Part ab = vcombine_f32(vget_low_f32(a4) + vget_high_f32(a4),  // a02 a13 b02 b13
                               vget_low_f32(b4) + vget_high_f32(b4));
  const Part cd =
      vcombine_f32(vget_low_f32(c4) + vget_high_f32(c4), vget_low_f32(d4) + vget_high_f32(d4));
  vst1q_f32(to, vpaddq_f32(ab, cd));
}
ANSER_INLINE float reduce_max(Vec a) {
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(a.p[0], a.p[1]), vmaxq_f32(a.p[2], a.p[3])));
}

// A bit for each byte of all ones; the others are all zeros.
ANSER_INLINE uint32_t bits_of_bytes(uint8x16_t bytes) {
  alignas(16) static const uint8_t kBit[16] = {1, 2, 4, 8, 16, 32, 64, 128,
                                               1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t bits = vandq_u8(bytes, vld1q_u8(kBit));
  return vaddv_u8(vget_low_u8(bits)) | uint32_t{vaddv_u8(vget_high_u8(bits))} << 8;
}
ANSER_INLINE uint32_t not_zero_lanes(Vec a) {
  const uint16x8_t low = vcombine_u16(vmovn_u32(vceqzq_f32(a.p[0])), vmovn_u32(vceqzq_f32(a.p[1])));
  const uint16x8_t high =
      vcombine_u16(vmovn_u32(vceqzq_f32(a.p[2])), vmovn_u32(vceqzq_f32(a.p[3])));
  return bits_of_bytes(vmvnq_u8(vcombine_u8(vmovn_u16(low), vmovn_u16(high))));
}
