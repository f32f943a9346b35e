// y[t][o] = epilogue(sum_i W[o][i] x[t][i] + bias[o]) over packed weights, see cpu/packed.h.
//
// Two ways through a matrix, with the same operations on every y in the same order:
//
//   stream_*   few rows: W goes by once, block after block, and the work is to read it. A block of
//              a panel is 8 to 16 KiB in one piece; while one is used from the level 1 cache, the
//              next one is asked for. Inputs that are zero are left out.
//   block_*    many rows: 256 inputs of a tile are unpacked once into a level 1 cache and used by
//              all rows in register tiles.
//
// Which of the two is taken: matmul() at the end.

// Rows whose sums are kept at a time: 64 KiB. Their activations, 256 at a time, take 256 KiB, so
// that both stay in a level 2 cache, and unpacking a weight is little against 256 multiply-adds.
constexpr int kRowsAtOnce = 256;

// Rows up to which streaming was the faster way, and the most that have room for it.
constexpr float kStreamPlainRows = 4, kStreamQuantisedRows = 2;
constexpr int kFewRows = 8;

constexpr int kPrefetchLocality = 2;  // into the level 2 cache and up

// Asks for memory that will be read soon; any address may be named.
ANSER_INLINE void prefetch(const std::byte* from, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(from + at, 0, kPrefetchLocality);
}

// Looking costs about as much as a few inputs of a block.
ANSER_INLINE bool looks_for_zeros(const MatmulArgs& m) {
  return m.density < 0.75f;
}

// bias, epilogue and store of z [rows][kTile], outputs o to o + 64 or the last.
ANSER_INLINE void finish(const MatmulArgs& m, int o, int t0, int rows, const float* z) {
  const bool adds = m.epilogue == Epilogue::add;
  for (int at = 0; at < kTile && o + at < m.outputs; at += kLanes) {
    const int count = m.outputs - o - at;
    const Vec bias = m.bias != nullptr ? load_first(m.bias + o + at, count) : broadcast(0.0f);
    for (int t = 0; t < rows; ++t) {
      float* y = m.y + int64_t{t0 + t} * m.outputs + o + at;
      const Vec old = adds ? load_first(y, count) : broadcast(0.0f);
      store_first(y, count, apply_epilogue(m.epilogue, load(z + t * kTile + at) + bias, old));
    }
  }
}

ANSER_INLINE void clear(float* z, int n) {
  for (int i = 0; i < n; i += kLanes) store(z + i, broadcast(0.0f));
}

// ---- Plain types ----

// 64 outputs of one row: z += x[i] * w[i] over some inputs of a block. w: the block's first row of
// weights, `stride` elements apart.
template <class Element>
ANSER_INLINE void add_inputs(const Element* w, int64_t stride, const Inputs& inputs, const float* x,
                             float* z) {
  constexpr int kVecs = kTile / kLanes;
  Vec sums[kVecs];
  ANSER_UNROLL for (int v = 0; v < kVecs; ++v) sums[v] = load(z + v * kLanes);
  for (int i = 0; i < inputs.count; ++i) {
    const int k = inputs.index[i];
    const Part column = broadcast_part(x[k]);
    const Element* row = w + k * stride;
    ANSER_UNROLL for (int v = 0; v < kVecs; ++v) {
      ANSER_UNROLL for (int p = 0; p < kParts; ++p) {
        sums[v].p[p] = fma_part(load_part(row + v * kLanes + p * kPartLanes), column, sums[v].p[p]);
      }
    }
  }
  ANSER_UNROLL for (int v = 0; v < kVecs; ++v) store(z + v * kLanes, sums[v]);
}

template <class W>
void stream_plain(const MatmulArgs& m) {
  typedef typename W::Element Element;
  alignas(64) float total[kFewRows][kPanel], sums[kFewRows][kPanel];
  const bool looks = looks_for_zeros(m);
  for (int o0 = m.begin; o0 < m.end; o0 = o0 / kPanel * kPanel + kPanel) {
    const int o1 = min(o0 / kPanel * kPanel + kPanel, m.end);
    const auto first = packed_tile(W::kType, m.weights, m.inputs, m.outputs, o0);
    clear(total[0], kFewRows * kPanel);
    clear(sums[0], kFewRows * kPanel);
    for (int i = 0, b = 0; i < m.inputs; i += kBlockInputs, ++b) {
      const int n = min(kBlockInputs, m.inputs - i);
      const bool more = i + kBlockInputs < m.inputs;
      for (int t = 0; t < m.rows; ++t) {
        const float* x = m.x + int64_t{t} * m.inputs + i;
        Inputs inputs, next;
        if (looks) {
          list_inputs(not_zero(x, n), inputs);
          const int following = min(kBlockInputs, m.inputs - i - n);
          list_inputs(more ? not_zero(x + n, following) : 0, next);
        } else {
          inputs = n == kBlockInputs ? kAllInputs : all_inputs(0, n);
          next = more && t == 0 ? kAllInputs : kNoInputs;
        }
        for (int o = o0; o < o1; o += kTile) {
          auto tile = first;
          tile.at += o - o0;
          add_inputs(reinterpret_cast<const Element*>(tile.codes(b)), tile.width, inputs, x,
                     sums[t] + o - o0);
          const std::byte* ahead = tile.codes(b + 1);
          for (int k = 0; k < next.count; ++k) {
            prefetch(ahead + next.index[k] * tile.row_bytes(), kTile * int64_t(sizeof(Element)));
          }
        }
      }
      if (i / kChunk != (i + kBlockInputs) / kChunk || !more) {
        for (int t = 0; t < m.rows; ++t) {
          for (int at = 0; at < kPanel; at += kLanes) {
            store(total[t] + at, load(total[t] + at) + load(sums[t] + at));
            store(sums[t] + at, broadcast(0.0f));
          }
        }
      }
    }
    for (int o = o0; o < o1; o += kTile) {
      for (int t = 0; t < m.rows; ++t) finish(m, o, t, 1, total[t] + o - o0);
    }
  }
}

// z[t] += sum over n inputs of x[t][i] * w[i], kVecs vectors of outputs for kCount rows. Meanwhile
// asks for kAhead bytes at `ahead` with each input, and steps on by `ahead_step`.
template <int kCount, int kVecs, int kAhead>
ANSER_INLINE void multiply_tile(const float* w, const float* x, int64_t x_stride, int n, float* z,
                                const std::byte* ahead, int64_t ahead_step) {
  Vec sums[kCount][kVecs];
  ANSER_UNROLL for (int t = 0; t < kCount; ++t) {
    ANSER_UNROLL for (int v = 0; v < kVecs; ++v) sums[t][v] = broadcast(0.0f);
  }
  for (int i = 0; i < n; ++i, w += kVecs * kLanes, ahead += ahead_step) {
    prefetch(ahead, kAhead);
    Part row[kVecs * kParts];
    ANSER_UNROLL for (int p = 0; p < kVecs * kParts; ++p) row[p] = load_part(w + p * kPartLanes);
    ANSER_UNROLL for (int t = 0; t < kCount; ++t) {
      const Part column = broadcast_part(x[t * x_stride + i]);
      ANSER_UNROLL for (int p = 0; p < kVecs * kParts; ++p) {
        sums[t][p / kParts].p[p % kParts] =
            fma_part(row[p], column, sums[t][p / kParts].p[p % kParts]);
      }
    }
  }
  ANSER_UNROLL for (int t = 0; t < kCount; ++t) {
    ANSER_UNROLL for (int v = 0; v < kVecs; ++v) {
      float* to = z + t * kTile + v * kLanes;
      store(to, load(to) + sums[t][v]);
    }
  }
}

template <int n>
struct Count {
  static constexpr int value = n;
};
template <int kMost, class Tile>
ANSER_INLINE void call_with_count(int n, const Tile& tile, int t) {
  if constexpr (kMost > 1) {
    if (n < kMost) return call_with_count<kMost - 1>(n, tile, t);
  }
  tile(Count<kMost>{}, t);
}

// Calls tile(Count<rows>, first row) for tiles of at most kMost rows: the fewest, as equal as can
// be, so that 7 rows are 4 + 3 rather than 6 + 1.
template <int kMost, class Tile>
ANSER_INLINE void for_row_tiles(int rows, const Tile& tile) {
  const int tiles = (rows + kMost - 1) / kMost;
  for (int i = 0; i < tiles; ++i) {
    const int t = rows * i / tiles;
    call_with_count<kMost>(rows * (i + 1) / tiles - t, tile, t);
  }
}

// Outputs whose sums are kept at the same time, from o on: as many tiles of the panel as there is
// room for. A whole panel is read in the order of memory.
ANSER_INLINE int end_of_pass(const MatmulArgs& m, int o, int rows) {
  const int tiles = rows <= kRowsAtOnce / 4 ? 4 : rows <= kRowsAtOnce / 2 ? 2 : 1;
  const int next = o + tiles * kTile, panel = o / kPanel * kPanel + kPanel;
  return min(min(next, panel), m.end);
}

// The bytes of the panel's next chunk that are asked for during this tile's work on this chunk: its
// share of them, so that a panel's tiles ask for all. Where rows are many there is no need.
struct Ahead {
  const std::byte* from;
  int64_t bytes;
};
ANSER_INLINE Ahead ahead_of(const PackedTile<const std::byte>& tile, int block, int rows) {
  const int64_t chunk = tile.super_bytes(), share = chunk / tile.width * kTile;
  const std::byte* from = tile.super(block) + chunk + tile.at / kTile * share;
  return {from, rows <= kRowsAtOnce / 4 ? share : 0};
}

template <class W>
void block_plain(const MatmulArgs& m) {
  typedef typename W::Element Element;
  alignas(64) float sums[kRowsAtOnce * kTile];
  alignas(64) float w[kChunk * kFloatTileVecs * kLanes];
  constexpr int kStep = kFloatTileVecs * kLanes;
  constexpr int kAhead = kStep * int(sizeof(Element));  // as many bytes as an input takes
  for (int t0 = 0; t0 < m.rows; t0 += kRowsAtOnce) {
    const int rows = min(kRowsAtOnce, m.rows - t0);
    for (int o0 = m.begin, o1; o0 < m.end; o0 = o1) {
      o1 = end_of_pass(m, o0, rows);
      clear(sums, round_up(o1 - o0, kTile) * rows);
      for (int i = 0; i < m.inputs; i += kChunk) {
        const int n = min(kChunk, m.inputs - i);
        for (int o = o0; o < o1; o += kTile) {
          const auto tile = packed_tile(W::kType, m.weights, m.inputs, m.outputs, o);
          const Ahead ahead = ahead_of(tile, i / kBlockInputs, rows);
          float* z = sums + (o - o0) * rows;
          for (int at = 0; at < kTile; at += kStep) {
            for (int b = 0; b < n; b += kBlockInputs) {
              const auto* from =
                  reinterpret_cast<const Element*>(tile.codes((i + b) / kBlockInputs));
              const int inputs = min(kBlockInputs, n - b);
              for (int k = 0; k < inputs; ++k) {
                ANSER_UNROLL for (int p = 0; p < kStep / kPartLanes; ++p) {
                  store_part(w + (b + k) * kStep + p * kPartLanes,
                             load_part(from + k * int64_t{tile.width} + at + p * kPartLanes));
                }
              }
            }
            const float* x = m.x + int64_t{t0} * m.inputs + i;
            const std::byte* next = ahead.from + at * ahead.bytes / kTile;
            for_row_tiles<kFloatTileRows>(rows, [&](auto count, int t) ANSER_INLINE_LAMBDA {
              multiply_tile<decltype(count)::value, kFloatTileVecs, kAhead>(
                  w, x + int64_t{t} * m.inputs, m.inputs, n, z + t * kTile + at, next,
                  t == 0 && ahead.bytes > 0 ? kAhead : 0);
            });
          }
        }
      }
      for (int o = o0; o < o1; o += kTile) finish(m, o, t0, rows, sums + (o - o0) * rows);
    }
  }
}

// ---- Quantised types ----

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
  alignas(64) float z[kFewRows][kPanel];
  const bool looks = looks_for_zeros(m);
  const auto* q = static_cast<const Activation*>(m.quantised.q);
  const int blocks = m.inputs / kBlockInputs;
  for (int o0 = m.begin; o0 < m.end; o0 = o0 / kPanel * kPanel + kPanel) {
    const int o1 = min(o0 / kPanel * kPanel + kPanel, m.end);
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
          next = more && t == 0 ? kAllInputs : kNoInputs;
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
          const std::byte* ahead = tile.codes(b + 1);
          for (int k = 0; k < next.count; ++k) {
            const std::byte* row = ahead + next.index[k] * tile.row_bytes();
            __builtin_prefetch(row, 0, kPrefetchLocality);
            if constexpr (W::kPacking.code_bits == 6) {
              __builtin_prefetch(row + tile.high_bits(), 0, kPrefetchLocality);
            }
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

// ---- Either ----

template <class W>
void matmul(const MatmulArgs& m) {
  constexpr bool kPlain = W::kBlock == 1;
  // Rows that are mostly zeros take a fraction of the time when streamed, so more of them pay.
  constexpr float kMost = kPlain ? kStreamPlainRows : kStreamQuantisedRows;
  const bool stream = m.rows <= kFewRows && float(m.rows) * m.density <= kMost;
  if constexpr (kPlain) {
    stream ? stream_plain<W>(m) : block_plain<W>(m);
  } else {
    stream ? stream_quantised<W>(m) : block_quantised<W>(m);
  }
}

int64_t count_zeros(const float* x, int64_t n) {
  int64_t others = 0, i = 0;
  for (; i + kLanes <= n; i += kLanes) others += __builtin_popcount(not_zero_lanes(load(x + i)));
  if (i < n) others += __builtin_popcount(not_zero_lanes(load_partial(x + i, int(n - i))));
  return n - others;
}
