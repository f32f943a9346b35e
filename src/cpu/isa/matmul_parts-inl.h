// What the products of plain and of quantised weights share: how many rows go together, in which
// order panels are worked through, prefetching, and the way of a sum to memory.

// Rows whose sums are kept at a time: 64 KiB. Their activations, 256 at a time, take 256 KiB, so
// that both stay in a level 2 cache, and unpacking a weight is little against 256 multiply-adds.
constexpr int kRowsAtOnce = 256;

// Rows, times the share of x that is not zero, up to which streaming was the faster way. More than
// kFewRows have no room for it. Plain weights are streamed only to skip some of them; narrow codes
// cost more to unpack for each row than those of 8 bits.
constexpr float kStreamPlainRows = 0.6f, kStreamBytesRows = 2, kStreamNarrowRows = 1;

constexpr int kPrefetchLocality = 2;  // into the level 2 cache and up

// Asks for memory that will be read soon; any address may be named.
ANSER_INLINE void prefetch(const std::byte* from, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(from + at, 0, kPrefetchLocality);
}

// kBytesInOrder: whether streams of codes of 8 bits ask in this order, too. On AVX2 (Zen 3) they
// then decode 16 to 35 % faster; with AVX-512 VNNI (Zen 5) 4 to 8 % slower, while narrower codes
// gain on both.
//
// What a stream asks for while it works on the block before: rows `from` to `to` of those that
// `inputs` lists, at `outputs` outputs of the panel from the tile's first on. Row after row, in the
// order of memory, which then comes at its full rate; were each tile to ask for its own quarter of
// every row, the block would come four times over, every fourth line of it at a time.
ANSER_INLINE void prefetch_rows(const PackedTile<const std::byte>& tile, int block, int outputs,
                                const Inputs& inputs, int from, int to) {
  const int bits = tile.packing.code_bits;
  const std::byte* codes = tile.codes(block);
  for (int i = from; i < to; ++i) {
    const std::byte* row = codes + inputs.index[i] * tile.row_bytes();
    prefetch(row, int64_t{outputs} * (bits == 6 ? 4 : bits) / 8);
    if (bits == 6) prefetch(row + tile.high_bits(), outputs / 4);
  }
}

// And its scales, which stand in front of it, with those that eight blocks share in front of the
// first. Of the whole panel: they are few.
ANSER_INLINE void prefetch_scales(const PackedTile<const std::byte>& tile, int block) {
  const Packing& p = tile.packing;
  prefetch(tile.block(block), int64_t{p.scale_bytes} * tile.width);
  if (block % kSuperBlocks == 0) prefetch(tile.super(block), int64_t{p.super_bytes} * tile.width);
}

// Blocks that a whole block is asked for ahead of its use. One is too late for the last tile's
// share.
constexpr int kBlocksAhead = 2;

// The rows of `next` that tile `j` of `tiles` asks for: its share of a whole block, so that asking
// is spread over the work; but of the few rows that are left where zeros are skipped the first tile
// asks for all, as there is little time.
struct Share {
  int from, to;
};
ANSER_INLINE Share share_of(int count, bool skips, int j, int tiles) {
  if (skips) return {0, j == 0 ? count : 0};
  return {count * j / tiles, count * (j + 1) / tiles};
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
      float* row = m.y_rows != nullptr ? m.y_rows[t0 + t] : m.y + int64_t{t0 + t} * m.outputs;
      float* y = row + o + at;
      const Vec old = adds ? load_first(y, count) : broadcast(0.0f);
      store_first(y, count, apply_epilogue(m.epilogue, load(z + t * kTile + at) + bias, old));
    }
  }
}

ANSER_INLINE void clear(float* z, int n) {
  for (int i = 0; i < n; i += kLanes) store(z + i, broadcast(0.0f));
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
