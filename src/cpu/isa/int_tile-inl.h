// The register tile of integer products: kCount rows x kIntTileVecs vectors of 16 outputs, out of
// the header's IntVec, int_broadcast, int_load, int_activations and int_dot.

template <int kCount>
struct IntTile {
  IntVec sums[kCount][kIntTileVecs];

  // Row t begins with `first` in all its outputs.
  ANSER_INLINE void start(int t, int32_t first) {
    ANSER_UNROLL for (int v = 0; v < kIntTileVecs; ++v) sums[t][v] = int_broadcast(first);
  }
  // Adds kGroup inputs; the rows of activations x are `stride` apart.
  ANSER_INLINE void add(const Code* codes, const Activation* x, int64_t stride) {
    IntVec code[kIntTileVecs];
    ANSER_UNROLL for (int v = 0; v < kIntTileVecs; ++v) {
      code[v] = int_load(codes + v * kLanes * kGroup);
    }
    ANSER_UNROLL for (int t = 0; t < kCount; ++t) {
      const IntVec group = int_activations(x + t * stride);
      ANSER_UNROLL for (int v = 0; v < kIntTileVecs; ++v) {
        sums[t][v] = int_dot(sums[t][v], code[v], group);
      }
    }
  }
  ANSER_INLINE Vec sum(int t, int v) const { return int_to_float(sums[t][v]); }
};
