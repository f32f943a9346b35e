// Weights of every type to fp32. A type of weights is a struct with
//   kBlock, kBytes    elements and bytes of a block
//   unpack(from, to)  one block
// and, for the types that can feed the matrix product straight from memory, Element.
// Values and bits: model/blocks.h and model/dequantize.cpp; all are exact up to one rounding.

ANSER_INLINE U8x16 load_bytes(const uint8_t* from) {
  U8x16 a;
  memcpy(&a, from, sizeof(a));
  return a;
}
ANSER_INLINE I8x16 load_bytes(const int8_t* from) {
  I8x16 a;
  memcpy(&a, from, sizeof(a));
  return a;
}
ANSER_INLINE U8x16 low_nibbles(U8x16 a) {
  return a & 15;
}
ANSER_INLINE U8x16 high_nibbles(U8x16 a) {
  return a >> 4;
}

struct WeightsQ8_0 {
  static constexpr int kBlock = 32, kBytes = sizeof(BlockQ8_0);
  static constexpr DType kType = DType::q8_0;
  static constexpr Packing kPacking = packing_of(kType);
  ANSER_INLINE static void unpack(const std::byte* from, float* to) {
    const auto& b = *reinterpret_cast<const BlockQ8_0*>(from);
    const Vec d = broadcast(half_to_float(b.d));
    store(to, to_float(load_bytes(b.q)) * d);
    store(to + 16, to_float(load_bytes(b.q + 16)) * d);
  }
};

struct WeightsQ4_0 {
  static constexpr int kBlock = 32, kBytes = sizeof(BlockQ4_0);
  static constexpr DType kType = DType::q4_0;
  static constexpr Packing kPacking = packing_of(kType);
  ANSER_INLINE static void unpack(const std::byte* from, float* to) {
    const auto& b = *reinterpret_cast<const BlockQ4_0*>(from);
    const Vec d = broadcast(half_to_float(b.d));
    const U8x16 q = load_bytes(b.q);
    store(to, to_float((I8x16)low_nibbles(q) - 8) * d);
    store(to + 16, to_float((I8x16)high_nibbles(q) - 8) * d);
  }
};

struct WeightsQ4_1 {
  static constexpr int kBlock = 32, kBytes = sizeof(BlockQ4_1);
  static constexpr DType kType = DType::q4_1;
  static constexpr Packing kPacking = packing_of(kType);
  ANSER_INLINE static void unpack(const std::byte* from, float* to) {
    const auto& b = *reinterpret_cast<const BlockQ4_1*>(from);
    const Vec d = broadcast(half_to_float(b.d)), m = broadcast(half_to_float(b.m));
    const U8x16 q = load_bytes(b.q);
    store(to, fma(to_float(low_nibbles(q)), d, m));
    store(to + 16, fma(to_float(high_nibbles(q)), d, m));
  }
};

// 16 in byte i where bit i of the 32 is set: elements 0 to 15 and 16 to 31.
struct FifthBits {
  U8x16 low, high;
};

ANSER_INLINE FifthBits fifth_bits(const uint8_t* bits) {
  uint32_t b;
  memcpy(&b, bits, sizeof(b));
  const U8x16 all = (U8x16)U32x4{b, b, b, b};
  const U8x16 place = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const U8x16 low =
      __builtin_shufflevector(all, all, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  const U8x16 high =
      __builtin_shufflevector(all, all, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  return {(U8x16)((low & place) == place) & 16, (U8x16)((high & place) == place) & 16};
}

struct WeightsQ5_0 {
  static constexpr int kBlock = 32, kBytes = sizeof(BlockQ5_0);
  static constexpr DType kType = DType::q5_0;
  static constexpr Packing kPacking = packing_of(kType);
  ANSER_INLINE static void unpack(const std::byte* from, float* to) {
    const auto& b = *reinterpret_cast<const BlockQ5_0*>(from);
    const Vec d = broadcast(half_to_float(b.d));
    const U8x16 q = load_bytes(b.q);
    const FifthBits fifth = fifth_bits(b.high);
    store(to, to_float((I8x16)(low_nibbles(q) | fifth.low) - 16) * d);
    store(to + 16, to_float((I8x16)(high_nibbles(q) | fifth.high) - 16) * d);
  }
};

struct WeightsQ5_1 {
  static constexpr int kBlock = 32, kBytes = sizeof(BlockQ5_1);
  static constexpr DType kType = DType::q5_1;
  static constexpr Packing kPacking = packing_of(kType);
  ANSER_INLINE static void unpack(const std::byte* from, float* to) {
    const auto& b = *reinterpret_cast<const BlockQ5_1*>(from);
    const Vec d = broadcast(half_to_float(b.d)), m = broadcast(half_to_float(b.m));
    const U8x16 q = load_bytes(b.q);
    const FifthBits fifth = fifth_bits(b.high);
    store(to, fma(to_float(low_nibbles(q) | fifth.low), d, m));
    store(to + 16, fma(to_float(high_nibbles(q) | fifth.high), d, m));
  }
};

// Scales and minima of the eight sub-blocks of a Q4_K or Q5_K block, times d and -dmin.
struct SubBlocks {
  float value[kLanes];  // 8 scales, 8 minima
  float scale(int j) const { return value[j]; }
  float minimum(int j) const { return value[j + 8]; }
};

// Four bytes at a time: the shifts move bits into neighbouring bytes, where the masks drop them.
ANSER_INLINE SubBlocks sub_blocks(uint16_t d, uint16_t dmin, const uint8_t* packed) {
  uint32_t b[3];
  memcpy(b, packed, sizeof(b));
  const uint32_t low6 = 0x3f3f3f3f, low4 = 0x0f0f0f0f, top2 = 0x30303030;
  const uint32_t bytes[4] = {b[0] & low6, (b[2] & low4) | ((b[0] >> 2) & top2),  // scales
                             b[1] & low6, ((b[2] >> 4) & low4) | ((b[1] >> 2) & top2)};
  U8x16 six_bits;
  memcpy(&six_bits, bytes, sizeof(six_bits));
  const float f = half_to_float(d), m = -half_to_float(dmin);
  const float factors[kLanes] = {f, f, f, f, f, f, f, f, m, m, m, m, m, m, m, m};
  SubBlocks s;
  store(s.value, to_float(six_bits) * load(factors));
  return s;
}

struct WeightsQ4K {
  static constexpr int kBlock = 256, kBytes = sizeof(BlockQ4K);
  static constexpr DType kType = DType::q4_k;
  static constexpr Packing kPacking = packing_of(kType);
  ANSER_INLINE static void unpack(const std::byte* from, float* to) {
    const auto& b = *reinterpret_cast<const BlockQ4K*>(from);
    const SubBlocks s = sub_blocks(b.d, b.dmin, b.scales);
    for (int run = 0; run < 4; ++run) {
      const Vec d0 = broadcast(s.scale(2 * run)), m0 = broadcast(s.minimum(2 * run));
      const Vec d1 = broadcast(s.scale(2 * run + 1)), m1 = broadcast(s.minimum(2 * run + 1));
      for (int e = 0; e < 32; e += kLanes) {
        const U8x16 q = load_bytes(b.q + 32 * run + e);
        store(to + 64 * run + e, fma(to_float(low_nibbles(q)), d0, m0));
        store(to + 64 * run + 32 + e, fma(to_float(high_nibbles(q)), d1, m1));
      }
    }
  }
};

struct WeightsQ5K {
  static constexpr int kBlock = 256, kBytes = sizeof(BlockQ5K);
  static constexpr DType kType = DType::q5_k;
  static constexpr Packing kPacking = packing_of(kType);
  ANSER_INLINE static void unpack(const std::byte* from, float* to) {
    const auto& b = *reinterpret_cast<const BlockQ5K*>(from);
    const SubBlocks s = sub_blocks(b.d, b.dmin, b.scales);
    for (int run = 0; run < 4; ++run) {
      const Vec d0 = broadcast(s.scale(2 * run)), m0 = broadcast(s.minimum(2 * run));
      const Vec d1 = broadcast(s.scale(2 * run + 1)), m1 = broadcast(s.minimum(2 * run + 1));
      for (int e = 0; e < 32; e += kLanes) {
        const U8x16 q = load_bytes(b.q + 32 * run + e);
        const U8x16 high = load_bytes(b.high + e) >> (2 * run);
        const U8x16 q0 = low_nibbles(q) | (high & 1) << 4;
        const U8x16 q1 = high_nibbles(q) | (high & 2) << 3;
        store(to + 64 * run + e, fma(to_float(q0), d0, m0));
        store(to + 64 * run + 32 + e, fma(to_float(q1), d1, m1));
      }
    }
  }
};

struct WeightsQ6K {
  static constexpr int kBlock = 256, kBytes = sizeof(BlockQ6K);
  static constexpr DType kType = DType::q6_k;
  static constexpr Packing kPacking = packing_of(kType);
  ANSER_INLINE static void unpack(const std::byte* from, float* to) {
    const auto& b = *reinterpret_cast<const BlockQ6K*>(from);
    float scales[kLanes];
    store(scales, to_float(load_bytes(b.scales)) * broadcast(half_to_float(b.d)));
    for (int half = 0; half < 2; ++half) {
      for (int e = 0; e < 32; e += kLanes) {
        const U8x16 a = load_bytes(b.low + 64 * half + e);
        const U8x16 c = load_bytes(b.low + 64 * half + 32 + e);
        const U8x16 high = load_bytes(b.high + 32 * half + e);
        const U8x16 q[4] = {
            U8x16(low_nibbles(a) | (high & 3) << 4), U8x16(low_nibbles(c) | (high & 12) << 2),
            U8x16(high_nibbles(a) | (high & 48)), U8x16(high_nibbles(c) | (high & 192) >> 2)};
        ANSER_UNROLL for (int k = 0; k < 4; ++k) {
          const Vec scale = broadcast(scales[8 * half + 2 * k + e / kLanes]);
          store(to + 128 * half + 32 * k + e, to_float((I8x16)q[k] - 32) * scale);
        }
      }
    }
  }
};

struct WeightsF32 {
  typedef float Element;
  static constexpr int kBlock = 1, kBytes = 4;
  static constexpr DType kType = DType::f32;
};
struct WeightsF16 {
  typedef F16 Element;
  static constexpr int kBlock = 1, kBytes = 2;
  static constexpr DType kType = DType::f16;
};
struct WeightsBf16 {
  typedef Bf16 Element;
  static constexpr int kBlock = 1, kBytes = 2;
  static constexpr DType kType = DType::bf16;
};

template <class W>
void widen(const std::byte* from, int64_t n, float* to) {
  if constexpr (W::kBlock > 1) {
    for (int64_t i = 0; i < n; i += W::kBlock, from += W::kBytes) W::unpack(from, to + i);
  } else {
    typedef typename W::Element Element;
    const auto* elements = reinterpret_cast<const Element*>(from);
    int64_t i = 0;
    for (; i + kPartLanes <= n; i += kPartLanes) store_part(to + i, load_part(elements + i));
    for (; i < n; i += kLanes) {
      const int rest = int(n - i);
      store_partial(to + i, rest, load_partial(elements + i, rest));
    }
  }
}
