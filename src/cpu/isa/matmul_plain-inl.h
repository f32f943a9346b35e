// Products with plain weights; matmul-inl.h has the outline.

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
    const int tiles = (o1 - o0 + kTile - 1) / kTile;
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
          const Share share = share_of(next.count, looks, (o - o0) / kTile, tiles);
          prefetch_rows(first, b + 1, tiles * kTile, next, share.from, share.to);
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

// z[t] += sum over n inputs of x[t][i] * w[i], kVecs vectors of outputs for kCount rows; w_stride
// from an input's weights to the next. Meanwhile asks for kAhead bytes at `ahead` with each input,
// and steps on by `ahead_step`.
template <int kCount, int kVecs, int kAhead, class Element>
ANSER_INLINE void multiply_tile(const Element* w, int64_t w_stride, const float* x,
                                int64_t x_stride, int n, float* z, const std::byte* ahead,
                                int64_t ahead_step) {
  Vec sums[kCount][kVecs];
  ANSER_UNROLL for (int t = 0; t < kCount; ++t) {
    ANSER_UNROLL for (int v = 0; v < kVecs; ++v) sums[t][v] = broadcast(0.0f);
  }
  for (int i = 0; i < n; ++i, w += w_stride, ahead += ahead_step) {
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
          // Plain weights have no scales between them: an input's follow the last one's.
          const auto* from = reinterpret_cast<const Element*>(tile.codes(i / kBlockInputs));
          for (int at = 0; at < kTile; at += kStep, from += kStep) {
            const float* x = m.x + int64_t{t0} * m.inputs + i;
            const std::byte* next = ahead.from + at * ahead.bytes / kTile;
            const int64_t next_step = ahead.bytes > 0 ? kAhead : 0;
            if (rows <= kFloatTileRows) {
              // Rows of one register tile: weights are unpacked on their way, as all use them then.
              const auto tile_of = [&](auto count, int) ANSER_INLINE_LAMBDA {
                multiply_tile<decltype(count)::value, kFloatTileVecs, kAhead>(
                    from, tile.width, x, m.inputs, n, z + at, next, next_step);
              };
              call_with_count<kFloatTileRows>(rows, tile_of, 0);
              continue;
            }
            for (int k = 0; k < n; ++k) {
              ANSER_UNROLL for (int p = 0; p < kStep; p += kPartLanes) {
                store_part(w + k * kStep + p, load_part(from + k * int64_t{tile.width} + p));
              }
            }
            for_row_tiles<kFloatTileRows>(rows, [&](auto count, int t) ANSER_INLINE_LAMBDA {
              multiply_tile<decltype(count)::value, kFloatTileVecs, kAhead>(
                  w, kStep, x + int64_t{t} * m.inputs, m.inputs, n, z + t * kTile + at, next,
                  t == 0 ? next_step : 0);
            });
          }
        }
      }
      for (int o = o0; o < o1; o += kTile) finish(m, o, t0, rows, sums + (o - o0) * rows);
    }
  }
}
