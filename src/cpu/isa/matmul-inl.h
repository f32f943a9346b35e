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
// Columns that are widened together. A panel of them takes 64 KiB. With few tokens a widened weight
// is used once and should still be in a level 1 cache then: kFewRows rows take 16 KiB.
constexpr int kChunk = 1024;
constexpr int kFewRows = 4;
// One cache line more, lest the rows of a chunk fall into the same sets of a level 1 cache.
constexpr int kWidenedStride = kChunk + kLanes;

// Asks for memory that will be read soon; any address may be named. The rows of a small matrix are
// too short for the hardware to see a stream in each, so the next ones are asked for while these
// are used: f16 rows of 768 then come at 14 GB/s of the 16 that one core gets, without at 9.5.
ANSER_INLINE void prefetch(const void* from, int64_t bytes_ahead) {
  __builtin_prefetch(reinterpret_cast<const void*>(uintptr_t(from) + uintptr_t(bytes_ahead)), 0, 2);
}

struct Tile {
  const std::byte* w[4];  // rows
  int64_t ahead;          // bytes from a row to the one to be prefetched meanwhile, or 0
  const float* x;
  int64_t x_stride;
  int cols;
  bool first, last;  // chunk of the row: accumulators start at zero, are reduced to z
  float* parked;     // accumulators between chunks: [tokens][kPanel][kLanes], of the first row
  float* z;          // [tokens][kPanel], of the first row
};

template <class Element, int kRows, int kCount>
void multiply_tile(const Tile& tile) {
  Vec sums[kCount][kRows];
  ANSER_UNROLL for (int t = 0; t < kCount; ++t) {
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
  const int64_t ahead = tile.ahead;
  int i = 0;
  for (; i + kLanes <= cols; i += kLanes) {
    if (ahead != 0) {
      ANSER_UNROLL for (int r = 0; r < kRows; ++r) prefetch(w[r] + i, ahead);
    }
    // By registers rather than by vectors, so that few are live besides the sums.
    ANSER_UNROLL for (int p = 0; p < kParts; ++p) {
      const int at = i + p * kPartLanes;
      Part row[kRows];
      ANSER_UNROLL for (int r = 0; r < kRows; ++r) row[r] = load_part(w[r] + at);
      ANSER_UNROLL for (int t = 0; t < kCount; ++t) {
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
      ANSER_UNROLL for (int t = 0; t < kCount; ++t) {
        sums[t][r] = fma(row, load_partial(x + t * x_stride + i, rest), sums[t][r]);
      }
    }
  }

  ANSER_UNROLL for (int t = 0; t < kCount; ++t) {
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

struct Scratch {
  alignas(64) float parked[kTokens * kPanel * kLanes];
  alignas(64) float widened[kPanel * kWidenedStride];
};

// Rows of W as they are to be multiplied: `rows` of them, at w[r] for the columns of this chunk.
struct Chunk {
  const std::byte* w[kPanel];
  int rows;
  int begin, end;     // columns
  int64_t row_bytes;  // between rows in memory where they come straight from there, else 0
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
    tile.ahead = rows * chunk.row_bytes;
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

// z [tokens][kPanel] of outputs o to o + rows.
template <class W>
ANSER_INLINE void multiply_rows(const MatmulArgs& m, int o, int rows, int t0, int tokens,
                                Scratch& scratch, float* z) {
  constexpr bool kPlain = W::kBlock == 1;
  // Widened at a time, between prefetches: a multiple of all blocks.
  constexpr int kPiece = 256, kPieceBytes = kPiece / W::kBlock * W::kBytes;
  const std::byte* weights = m.weights + o * m.row_bytes;
  Chunk chunk;
  chunk.rows = rows;
  chunk.row_bytes = 0;
  if constexpr (kPlain) {
    if (tokens <= kTileTokens) {
      for (int r = 0; r < rows; ++r) chunk.w[r] = weights + r * m.row_bytes;
      chunk.row_bytes = m.row_bytes;
      chunk.begin = 0;
      chunk.end = m.cols;
      return multiply_chunk<typename W::Element>(m, chunk, t0, tokens, scratch.parked, z);
    }
  }
  for (chunk.begin = 0; chunk.begin < m.cols; chunk.begin = chunk.end) {
    chunk.end = min(chunk.begin + kChunk, m.cols);
    const int n = chunk.end - chunk.begin;
    for (int r = 0; r < rows; ++r) {
      const std::byte* row =
          weights + r * m.row_bytes + int64_t{chunk.begin / W::kBlock} * W::kBytes;
      if constexpr (kPlain && W::kBytes == 4) {
        chunk.w[r] = row;
      } else {
        float* to = scratch.widened + r * kWidenedStride;
        chunk.w[r] = reinterpret_cast<const std::byte*>(to);
        for (int i = 0; i < n; i += kPiece, row += kPieceBytes, to += kPiece) {
          for (int b = 0; b < kPieceBytes; b += 64) prefetch(row + b, rows * m.row_bytes);
          widen<W>(row, min(kPiece, n - i), to);
        }
      }
    }
    multiply_chunk<float>(m, chunk, t0, tokens, scratch.parked, z);
  }
}

template <class W>
void matmul(const MatmulArgs& m) {
  Scratch scratch;
  alignas(64) float z[kTokens * kPanel];
  for (int t0 = 0; t0 < m.rows; t0 += kTokens) {
    const int tokens = min(kTokens, m.rows - t0);
    const int group = tokens <= kTileTokens ? kFewRows : kPanel;
    for (int o = m.begin; o < m.end; o += kPanel) {
      const int count = min(kPanel, m.end - o);
      for (int r = 0; r < count; r += group) {
        multiply_rows<W>(m, o + r, min(group, count - r), t0, tokens, scratch, z + r);
      }
      finish(m, o, count, t0, tokens, z);
    }
  }
}
