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

template <class W>
void matmul(const MatmulArgs& m) {
  constexpr bool kPlain = W::kBlock == 1;
  // Rows that are mostly zeros take a fraction of the time when streamed, so more of them pay.
  constexpr bool kBytes = packing_of(W::kType).code_bits == 8;
  constexpr float kMost = kPlain ? kStreamPlainRows : kBytes ? kStreamBytesRows : kStreamNarrowRows;
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
