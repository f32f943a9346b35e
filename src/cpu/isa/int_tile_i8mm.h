// The register tile of integer products by the matrix products of i8mm, which multiply two rows of
// 8 activations with two outputs of 8 codes: [row][output] in the four lanes of a sum. What
// int_tile-inl.h does, two rows at a time.

static_assert(kIntTileVecs == 1 && kGroup == 8);

template <int kCount>
struct IntTile {
  static constexpr int kPairs = (kCount + 1) / 2, kOutputPairs = kLanes / 2;
  int32x4_t sums[kPairs][kOutputPairs];

  ANSER_INLINE void start(int t, int32_t first) {
    const int64x1_t both = vreinterpret_s64_s32(vdup_n_s32(first));
    const int64x1_t other = vdup_n_s64(0);
    ANSER_UNROLL for (int j = 0; j < kOutputPairs; ++j) {
      int32x4_t& sum = sums[t / 2][j];
      sum = vreinterpretq_s32_s64(
          t % 2 == 0 ? vcombine_s64(both, other)
                     : vcombine_s64(vget_low_s64(vreinterpretq_s64_s32(sum)), both));
    }
  }
  ANSER_INLINE void add(const Code* codes, const Activation* x, int64_t stride) {
    int8x16_t rows[kPairs];
    ANSER_UNROLL for (int i = 0; i < kPairs; ++i) {
      const int8x8_t even = vld1_s8(x + 2 * i * stride);
      // The row that an odd count lacks counts for zeros.
      const int8x8_t odd = 2 * i + 1 < kCount ? vld1_s8(x + (2 * i + 1) * stride) : vdup_n_s8(0);
      rows[i] = vcombine_s8(even, odd);
    }
    ANSER_UNROLL for (int j = 0; j < kOutputPairs; ++j) {
      const int8x16_t code = vld1q_s8(codes + 16 * j);
      ANSER_UNROLL for (int i = 0; i < kPairs; ++i) {
        sums[i][j] = vmmlaq_s32(sums[i][j], rows[i], code);
        ANSER_KEEP_IN_REGISTER(sums[i][j]);
      }
    }
  }
  ANSER_INLINE Vec sum(int t, int) const {
    IntVec row;
    ANSER_UNROLL for (int j = 0; j < 4; ++j) {
      const int64x2_t a = vreinterpretq_s64_s32(sums[t / 2][2 * j]);
      const int64x2_t b = vreinterpretq_s64_s32(sums[t / 2][2 * j + 1]);
      row.p[j] = vreinterpretq_s32_s64(t % 2 == 0 ? vzip1q_s64(a, b) : vzip2q_s64(a, b));
    }
    return int_to_float(row);
  }
};
