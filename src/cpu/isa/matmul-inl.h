// y[t][o] = epilogue(sum_i W[o][i] x[t][i] + bias[o]).
//
// Every (o, t) has one accumulator of 16 lanes, which takes i in steps of 16 from 0 to cols and is
// reduced at the end. Tiles of output rows x tokens only decide which accumulators share loads, and
// chunks of cols park accumulators in memory, so neither changes a bit of any result.
//
// Few tokens: W goes by once and the work is to read it. fp32, f16 and bf16 feed the tile straight
// from memory; blocks are widened piece by piece into the L1 cache.
// Many tokens: a panel of 16 rows of W is widened to fp32 once per kTokens tokens and used from the
// cache by all of them.

// Output rows that are finished together: one vector of y per token.
constexpr int kPanel = kLanes;
// 64 tokens of x in chunks of 1024 are 256 KiB, and their parked accumulators 64 KiB: both stay in
// a level 2 cache, and widening a weight costs a few instructions against 64 multiply-adds.
constexpr int kTokens = 64;
// Columns that are widened together. With many tokens the panel takes 64 KiB; with few, it comes
// from memory once and should still be in a level 1 cache when it is used: 16 KiB.
constexpr int kChunk = 1024;
constexpr int kSmallChunk = 256;

struct Tile {
  const std::byte* w[4];  // rows
  const float* x;
  int64_t x_stride;
  int cols;
  bool first, last;  // chunk of the row: accumulators start at zero, are reduced to z
  float* parked;     // accumulators between chunks: [tokens][kPanel][kLanes], of the first row
  float* z;          // [tokens][kPanel], of the first row
};

template <class Element, int kRows, int kTileTokens>
void multiply_tile(const Tile& tile) {
  Vec sums[kTileTokens][kRows];
  ANSER_UNROLL for (int t = 0; t < kTileTokens; ++t) {
    ANSER_UNROLL for (int r = 0; r < kRows; ++r) {
      sums[t][r] = tile.first ? broadcast(0.0f) : load(tile.parked + (t * kPanel + r) * kLanes);
    }
  }

  const Element* w[kRows];
  ANSER_UNROLL for (int r = 0; r < kRows; ++r) {
    w[r] = reinterpret_cast<const Element*>(tile.w[r]);
  }
  const float* x = tile.x;
  const int64_t x_stride = tile.x_stride;
  const int cols = tile.cols;
  int i = 0;
  for (; i + kLanes <= cols; i += kLanes) {
    // By registers rather than by vectors, so that few are live besides the sums.
    ANSER_UNROLL for (int p = 0; p < kParts; ++p) {
      const int at = i + p * kPartLanes;
      Part row[kRows];
      ANSER_UNROLL for (int r = 0; r < kRows; ++r) row[r] = load_part(w[r] + at);
      ANSER_UNROLL for (int t = 0; t < kTileTokens; ++t) {
        const Part column = load_part(x + t * x_stride + at);
        ANSER_UNROLL for (int r = 0; r < kRows; ++r) {
          sums[t][r].p[p] = fma_part(row[r], column, sums[t][r].p[p]);
        }
      }
    }
  }
  if (i < cols) {
    const int rest = cols - i;
    ANSER_UNROLL for (int r = 0; r < kRows; ++r) {
      const Vec row = load_partial(w[r] + i, rest);
      ANSER_UNROLL for (int t = 0; t < kTileTokens; ++t) {
        sums[t][r] = fma(row, load_partial(x + t * x_stride + i, rest), sums[t][r]);
      }
    }
  }

  ANSER_UNROLL for (int t = 0; t < kTileTokens; ++t) {
    if (!tile.last) {
      ANSER_UNROLL for (int r = 0; r < kRows; ++r) {
        store(tile.parked + (t * kPanel + r) * kLanes, sums[t][r]);
      }
    } else if constexpr (kRows == 4) {
      reduce_add4(sums[t][0], sums[t][1], sums[t][2], sums[t][3], tile.z + t * kPanel);
    } else {
      ANSER_UNROLL for (int r = 0; r < kRows; ++r) {
        tile.z[t * kPanel + r] = reduce_add(sums[t][r]);
      }
    }
  }
}

template <class Element>
ANSER_INLINE void multiply_tile(const Tile& tile, int tokens) {
  static_assert(kTileTokens <= 6);
  constexpr int kMost = kTileTokens;
  switch (tokens) {
    case 1:
      return multiply_tile<Element, tile_rows(1), 1>(tile);
    case 2:
      if constexpr (kMost >= 2) return multiply_tile<Element, tile_rows(2), 2>(tile);
      return;
    case 3:
      if constexpr (kMost >= 3) return multiply_tile<Element, tile_rows(3), 3>(tile);
      return;
    case 4:
      if constexpr (kMost >= 4) return multiply_tile<Element, tile_rows(4), 4>(tile);
      return;
    case 5:
      if constexpr (kMost >= 5) return multiply_tile<Element, tile_rows(5), 5>(tile);
      return;
    default:
      if constexpr (kMost >= 6) return multiply_tile<Element, tile_rows(6), 6>(tile);
  }
}

// Rows of W as they are to be multiplied: `rows` of them, at w[r] for the columns of this chunk.
struct Chunk {
  const std::byte* w[kPanel];
  int rows;
  int begin, end;  // columns
};

template <class Element>
void multiply_chunk(const MatmulArgs& m, const Chunk& chunk, int t0, int tokens, float* parked,
                    float* z) {
  Tile tile;
  tile.cols = chunk.end - chunk.begin;
  tile.x_stride = m.x_stride;
  tile.first = chunk.begin == 0;
  tile.last = chunk.end == m.cols;
  // The fewest tiles, of sizes as equal as can be: 7 tokens are better off as 4 + 3 than as 6 + 1.
  const int tiles = (tokens + kTileTokens - 1) / kTileTokens;
  for (int i = 0; i < tiles; ++i) {
    const int t = tokens * i / tiles, count = tokens * (i + 1) / tiles - t;
    const int rows = tile_rows(count);
    tile.x = m.x + (t0 + t) * m.x_stride + chunk.begin;
    for (int r = 0; r < chunk.rows; r += rows) {
      // Rows beyond the last one are the last one again; nobody reads their z.
      for (int k = 0; k < rows; ++k) tile.w[k] = chunk.w[min(r + k, chunk.rows - 1)];
      tile.parked = parked + (t * kPanel + r) * kLanes;
      tile.z = z + t * kPanel + r;
      multiply_tile<Element>(tile, count);
    }
  }
}

// bias, epilogue and store of z [tokens][kPanel], outputs o to o + count.
ANSER_INLINE void finish(const MatmulArgs& m, int o, int count, int t0, int tokens,
                         const float* z) {
  const bool adds = m.epilogue == Epilogue::add;
  const Vec bias = m.bias != nullptr ? load_first(m.bias + o, count) : broadcast(0.0f);
  for (int t = 0; t < tokens; ++t) {
    float* y = m.y + (t0 + t) * m.y_stride + o;
    const Vec old = adds ? load_first(y, count) : broadcast(0.0f);
    store_first(y, count, apply_epilogue(m.epilogue, load(z + t * kPanel) + bias, old));
  }
}

template <class W>
void matmul(const MatmulArgs& m) {
  constexpr bool kPlain = W::kBlock == 1;
  alignas(64) float z[kTokens * kPanel];
  alignas(64) float parked[kTokens * kPanel * kLanes];
  alignas(64) float widened[kPanel * kChunk];

  for (int t0 = 0; t0 < m.rows; t0 += kTokens) {
    const int tokens = min(kTokens, m.rows - t0);
    const bool few = tokens <= kTileTokens;
    for (int o = m.begin; o < m.end; o += kPanel) {
      Chunk chunk;
      chunk.rows = min(kPanel, m.end - o);
      const std::byte* panel = m.weights + o * m.row_bytes;
      if constexpr (kPlain) {
        if (few) {
          for (int r = 0; r < chunk.rows; ++r) chunk.w[r] = panel + r * m.row_bytes;
          chunk.begin = 0;
          chunk.end = m.cols;
          multiply_chunk<typename W::Element>(m, chunk, t0, tokens, parked, z);
          finish(m, o, chunk.rows, t0, tokens, z);
          continue;
        }
      }
      const int step = few ? kSmallChunk : kChunk;
      for (chunk.begin = 0; chunk.begin < m.cols; chunk.begin = chunk.end) {
        chunk.end = min(chunk.begin + step, m.cols);
        const int n = chunk.end - chunk.begin;
        for (int r = 0; r < chunk.rows; ++r) {
          const std::byte* row =
              panel + r * m.row_bytes + int64_t(chunk.begin / W::kBlock) * W::kBytes;
          if constexpr (kPlain && W::kBytes == 4) {
            chunk.w[r] = row;
          } else {
            float* to = widened + r * n;
            widen<W>(row, n, to);
            chunk.w[r] = reinterpret_cast<const std::byte*>(to);
          }
        }
        multiply_chunk<float>(m, chunk, t0, tokens, parked, z);
      }
      finish(m, o, chunk.rows, t0, tokens, z);
    }
  }
}
