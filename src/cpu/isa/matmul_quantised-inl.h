// Products with quantised weights, and quantising what they are multiplied with; matmul-inl.h has
// the outline.

// Scales of the 64 outputs of a block: of all its inputs, or of each half of them.
struct BlockScales {
  alignas(64) float scale[2][kTile];
  alignas(64) float minimum[kTile];
};

template <class W>
ANSER_INLINE void load_scales(const PackedTile<const std::byte>& tile, int b, BlockScales& to) {
  constexpr Packing p = W::kPacking;
  const std::byte *super = tile.super(b), *block = tile.block(b);
  const auto half = [&](const std::byte* region, int array, int at) ANSER_INLINE_LAMBDA {
    return load(reinterpret_cast<const F16*>(region) + array * tile.width + tile.at + at);
  };
  for (int at = 0; at < kTile; at += kLanes) {
    if constexpr (p.super_bytes == 0) {
      store(to.scale[0] + at, half(block, 0, at));
      if constexpr (p.minimum) store(to.minimum + at, half(block, 1, at));
    } else {
      const Vec d = half(super, 0, at);
      if constexpr (p.minimum) {
        const auto* six = reinterpret_cast<const uint8_t*>(block) + tile.at + at;
        store(to.scale[0] + at, d * to_float(load_bytes(six)));
        const Vec dmin = broadcast(0.0f) - half(super, 1, at);
        store(to.minimum + at, dmin * to_float(load_bytes(six + tile.width)));
      } else {
        const auto* eight = reinterpret_cast<const int8_t*>(block) + tile.at + at;
        store(to.scale[0] + at, d * to_float(load_bytes(eight)));
        store(to.scale[1] + at, d * to_float(load_bytes(eight + tile.width)));
      }
    }
  }
}

// z += what a block, or half of one, adds to a vector of outputs: `product` is the exact sum of
// (code - zero) * q.
ANSER_INLINE Vec add_product(Vec z, Vec product, const float* scale, float d) {
  return fma(product, load(scale) * broadcast(d), z);
}
// And what the minima add: the block's sum of activations times them.
ANSER_INLINE Vec add_minimum(Vec z, const float* minimum, float d, const int32_t* sums) {
  return fma(load(minimum), broadcast(d * float(sums[0] + sums[1])), z);
}
// The sum of activations that belongs to a half, or to the whole block.
template <int kHalves>
ANSER_INLINE int32_t sum_of(const int32_t* sums, int half) {
  return kHalves == 2 ? sums[half] : sums[0] + sums[1];
}

// The code that means 0, as the machine's dot products take codes.
constexpr int zero_of(Packing packing) {
  return kSignedCodes && packing.code_bits == 8 ? packing.zero - 128 : packing.zero;
}

template <class W>
void stream_quantised(const MatmulArgs& m) {
  constexpr int kHalves = W::kPacking.halves();
  constexpr bool kInOrder = W::kPacking.code_bits < 8 || kBytesInOrder;
  alignas(64) float z[kFewRows][kPanel];
  const bool looks = looks_for_zeros(m);
  const auto* q = static_cast<const Activation*>(m.quantised.q);
  const int blocks = m.inputs / kBlockInputs;
  for (int o0 = m.begin; o0 < m.end; o0 = o0 / kPanel * kPanel + kPanel) {
    const int o1 = min(o0 / kPanel * kPanel + kPanel, m.end);
    const int tiles = (o1 - o0 + kTile - 1) / kTile;
    const auto first = packed_tile(W::kType, m.weights, m.inputs, m.outputs, o0);
    clear(z[0], kFewRows * kPanel);
    for (int b = 0; b < blocks; ++b) {
      for (int t = 0; t < m.rows; ++t) {
        const Activation* x = q + int64_t{t} * m.inputs + b * kBlockInputs;
        const float d = m.quantised.d[int64_t{t} * blocks + b];
        const int32_t* sums = m.quantised.sums + (int64_t{t} * blocks + b) * 2;
        const bool more = b + 1 < blocks;
        Inputs inputs[kHalves], next;
        if (looks) {
          const uint32_t used = not_zero_activations(x);
          if constexpr (kHalves == 2) {
            list_inputs(used & 0xffff, inputs[0]);
            list_inputs(used & ~0xffffu, inputs[1]);
          } else {
            list_inputs(used, inputs[0]);
          }
          list_inputs(more ? not_zero_activations(x + kBlockInputs) : 0, next);
        } else {
          inputs[0] = kHalves == 2 ? kFirst16 : kAllInputs;
          if constexpr (kHalves == 2) inputs[1] = kLast16;
          next = b + (kInOrder ? kBlocksAhead : 1) < blocks && t == 0 ? kAllInputs : kNoInputs;
        }
        for (int o = o0; o < o1; o += kTile) {
          auto tile = first;
          tile.at += o - o0;
          BlockScales scales;
          load_scales<W>(tile, b, scales);
          float* to = z[t] + o - o0;
          ANSER_UNROLL for (int half = 0; half < kHalves; ++half) {
            alignas(64) int32_t products[kTile];
            dot_inputs<W::kPacking.code_bits>(tile, b, inputs[half], x, products);
            const int32_t zero = zero_of(W::kPacking) * sum_of<kHalves>(sums, half);
            for (int at = 0; at < kTile; at += kLanes) {
              store(to + at, add_product(load(to + at), difference(products + at, zero),
                                         scales.scale[half] + at, d));
            }
          }
          if constexpr (W::kPacking.minimum) {
            for (int at = 0; at < kTile; at += kLanes) {
              store(to + at, add_minimum(load(to + at), scales.minimum + at, d, sums));
            }
          }
          if constexpr (kInOrder) {
            const int ahead = b + (looks ? 1 : kBlocksAhead);
            const Share share = share_of(next.count, looks, (o - o0) / kTile, tiles);
            if (o == o0 && next.count > 0) prefetch_scales(first, ahead);
            prefetch_rows(first, ahead, tiles * kTile, next, share.from, share.to);
          } else {
            prefetch_rows(tile, b + 1, kTile, next, 0, next.count);
          }
        }
      }
    }
    for (int o = o0; o < o1; o += kTile) {
      for (int t = 0; t < m.rows; ++t) finish(m, o, t, 1, z[t] + o - o0);
    }
  }
}

// A run of rows as multiply_codes needs them, from the first block of a chunk on.
struct QuantisedRun {
  const Activation* q;
  int64_t inputs;  // from a row to the next
  const float* d;
  const int32_t* sums;
  int64_t blocks;
};

// kIntTileVecs vectors of outputs from `at` on, kCount rows, `blocks` blocks from the beginning of
// a chunk. Asks for `ahead` meanwhile. The steps are unrolled: in a loop, g++ 12 keeps the sums in
// memory.
template <int kHalves, bool kMinimum, int kCount>
ANSER_INLINE void multiply_codes(const Code* codes, const BlockScales* scales, int at, int blocks,
                                 int zero, const QuantisedRun& rows, float* z, Ahead ahead) {
  constexpr int kVecs = kIntTileVecs, kSteps = kBlockInputs / kGroup / kHalves;
  const Activation* q = rows.q;
  for (int b = 0; b < blocks; ++b) {
    prefetch(ahead.from + ahead.bytes * b / blocks, ahead.bytes / blocks);
    const int32_t* sums = rows.sums + 2 * b;
    ANSER_UNROLL for (int half = 0; half < kHalves; ++half) {
      IntTile<kCount> products;
      ANSER_UNROLL for (int t = 0; t < kCount; ++t) {
        products.start(t, -zero * sum_of<kHalves>(sums + 2 * t * rows.blocks, half));
      }
      ANSER_UNROLL for (int step = 0; step < kSteps; ++step) {
        products.add(codes, q, rows.inputs);
        codes += kVecs * kLanes * kGroup;
        q += kGroup;
      }
      ANSER_UNROLL for (int t = 0; t < kCount; ++t) {
        const float d = rows.d[t * rows.blocks + b];
        ANSER_UNROLL for (int v = 0; v < kVecs; ++v) {
          float* to = z + t * kTile + v * kLanes;
          const int o = at + v * kLanes;
          Vec sum = add_product(load(to), products.sum(t, v), scales[b].scale[half] + o, d);
          if constexpr (kMinimum) {
            sum = add_minimum(sum, scales[b].minimum + o, d, sums + 2 * t * rows.blocks);
          }
          store(to, sum);
        }
      }
    }
  }
}

template <class W>
void block_quantised(const MatmulArgs& m) {
  constexpr Packing kPacking = W::kPacking;
  constexpr int kBlocks = kChunk / kBlockInputs, kStep = kIntTileVecs * kLanes;
  alignas(64) float all_sums[kRowsAtOnce * kTile];
  alignas(64) Code codes[kTile * kChunk];
  BlockScales scales[kBlocks];
  const auto* q = static_cast<const Activation*>(m.quantised.q);
  const int blocks = m.inputs / kBlockInputs;
  for (int t0 = 0; t0 < m.rows; t0 += kRowsAtOnce) {
    const int rows = min(kRowsAtOnce, m.rows - t0);
    for (int o0 = m.begin, o1; o0 < m.end; o0 = o1) {
      o1 = end_of_pass(m, o0, rows);
      clear(all_sums, round_up(o1 - o0, kTile) * rows);
      for (int b0 = 0; b0 < blocks; b0 += kBlocks) {
        const int n = min(kBlocks, blocks - b0);
        for (int o = o0; o < o1; o += kTile) {
          const auto tile = packed_tile(W::kType, m.weights, m.inputs, m.outputs, o);
          const Ahead ahead = ahead_of(tile, b0, rows);
          float* z = all_sums + (o - o0) * rows;
          for (int b = 0; b < n; ++b) {
            load_scales<W>(tile, b0 + b, scales[b]);
            group_codes<kPacking.code_bits>(tile, b0 + b, b * kBlockInputs, codes);
          }
          for (int at = 0; at < kTile; at += kStep) {
            const Code* from = codes + code_offset(0, at / kLanes, kGroup);
            const Ahead part = {ahead.from + ahead.bytes * at / kTile, ahead.bytes * kStep / kTile};
            for_row_tiles<kIntTileRows>(rows, [&](auto count, int t) ANSER_INLINE_LAMBDA {
              const int64_t row = t0 + t, block = row * blocks + b0;
              const QuantisedRun x = {q + row * m.inputs + b0 * kBlockInputs, m.inputs,
                                      m.quantised.d + block, m.quantised.sums + 2 * block, blocks};
              multiply_codes<kPacking.halves(), kPacking.minimum, decltype(count)::value>(
                  from, scales, at, n, zero_of(kPacking), x, z + t * kTile + at,
                  t == 0 ? part : Ahead{part.from, 0});
            });
          }
        }
      }
      for (int o = o0; o < o1; o += kTile) finish(m, o, t0, rows, all_sums + (o - o0) * rows);
    }
  }
}

// q = x / d rounded to nearest, even on a tie.
void quantise(const float* x, int n, void* to, float* d, int32_t* sums) {
  auto* q = static_cast<Activation*>(to);
  for (int i = 0; i < n; i += kBlockInputs) {
    const Vec a = load(x + i), b = load(x + i + kLanes), zero = broadcast(0.0f);
    const Vec most = max(max(a, zero - a), max(b, zero - b));
    // 0 * x is zero for numbers and NaN for infinities and NaN, which max() may drop.
    const float largest = reduce_max(most) + reduce_add(fma(a, zero, b * zero));
    const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
    d[i / kBlockInputs] = largest / 127.0f;
    sums[i / 16] = store_rounded(q + i, a * broadcast(inverse));
    sums[i / 16 + 1] = store_rounded(q + i + kLanes, b * broadcast(inverse));
  }
}
