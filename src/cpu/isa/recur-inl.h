// The time mix of one head; the equations stand at RecurArgs in kernels.h.
//
// Tokens are taken in order, and the rows of S within a token are independent: a row is dotted with
// the removal key, updated, and dotted with r on its way back to memory. Four rows go together, so
// that each element of the token's vectors is loaded once for four and eight sums are in flight.
// S of a head of 64 is 16 KiB: over a run of tokens it lives in the level 1 cache.

// One token's vectors, padded with zeros to whole vectors. As S is loaded with zeros for its
// missing columns, these stay zero throughout.
struct HeadToken {
  alignas(64) float r[kMaxHeadSize];
  alignas(64) float w[kMaxHeadSize];
  alignas(64) float k[kMaxHeadSize];         // replacement key
  alignas(64) float minus_kk[kMaxHeadSize];  // removal key, negated
  alignas(64) float kk_a[kMaxHeadSize];      // removal key * a
  alignas(64) float v[kMaxHeadSize];
  alignas(64) float y[kMaxHeadSize];
  float bonus;
};

ANSER_INLINE void prepare_token(const RecurArgs& args, int64_t at, HeadToken& head) {
  const int n = args.head_size;
  const Vec zero = broadcast(0.0f), one = broadcast(1.0f);
  Vec squares = zero, bonus = zero;
  for (int j = 0; j < n; j += kLanes) {
    const int count = n - j;
    const Vec r = load_first(args.r + at + j, count);
    Vec k = load_first(args.k + at + j, count);
    const Vec a = load_first(args.a + at + j, count);
    Vec v = load_first(args.v + at + j, count);
    if (args.nu != nullptr) {
      const Vec v_first = load_first(args.v_first + at + j, count);
      v = fma(v_first - v, load_first(args.nu + at + j, count), v);
    }
    const Vec kk = k * load_first(args.k_k + j, count);
    squares = fma(kk, kk, squares);
    k = k * fma(a - one, load_first(args.k_a + j, count), one);
    bonus = fma(r * k, load_first(args.r_k + j, count), bonus);

    store(head.r + j, r);
    store(head.w + j, load_first(args.w + at + j, count));
    store(head.k + j, k);
    store(head.minus_kk + j, kk);  // normalised below, when the norm is known
    store(head.kk_a + j, a);
    store(head.v + j, v);
  }
  head.bonus = reduce_add(bonus);

  const Vec norm = sqrt(broadcast(reduce_add(squares)));
  const Vec scale = one / max(broadcast(1e-12f), norm);
  for (int j = 0; j < n; j += kLanes) {
    const Vec kk = load(head.minus_kk + j) * scale;
    store(head.minus_kk + j, zero - kk);
    store(head.kk_a + j, kk * load(head.kk_a + j));
  }
}

template <int kRows>
ANSER_INLINE void reduce_rows(const Vec (&sums)[kRows], float* to) {
  if constexpr (kRows == 4) {
    reduce_add4(sums[0], sums[1], sums[2], sums[3], to);
  } else {
    ANSER_UNROLL for (int r = 0; r < kRows; ++r) to[r] = reduce_add(sums[r]);
  }
}

// Rows i to i + kRows of S, at s, through one token.
template <int kRows>
ANSER_INLINE void advance_rows(float* s, int n, int i, HeadToken& head) {
  Vec sums[kRows];
  ANSER_UNROLL for (int r = 0; r < kRows; ++r) sums[r] = broadcast(0.0f);
  for (int j = 0; j < n; j += kLanes) {
    const Vec minus_kk = load(head.minus_kk + j);
    ANSER_UNROLL for (int r = 0; r < kRows; ++r) {
      sums[r] = fma(load_first(s + r * n + j, n - j), minus_kk, sums[r]);
    }
  }
  float removed[kRows];
  reduce_rows(sums, removed);

  Vec u[kRows], v[kRows];
  ANSER_UNROLL for (int r = 0; r < kRows; ++r) {
    u[r] = broadcast(removed[r]);
    v[r] = broadcast(head.v[i + r]);
    sums[r] = broadcast(0.0f);
  }
  for (int j = 0; j < n; j += kLanes) {
    const Vec w = load(head.w + j), kk_a = load(head.kk_a + j);
    const Vec k = load(head.k + j), read = load(head.r + j);
    ANSER_UNROLL for (int r = 0; r < kRows; ++r) {
      float* at = s + r * n + j;
      const Vec change = fma(u[r], kk_a, v[r] * k);
      const Vec now = fma(load_first(at, n - j), w, change);
      store_first(at, n - j, now);
      sums[r] = fma(now, read, sums[r]);
    }
  }
  reduce_rows(sums, head.y + i);
}

// kSize: a head size known at compile time, with which the loops above become straight code, or 0.
template <int kSize>
void advance_state(float* state, int size, HeadToken& head) {
  const int n = kSize > 0 ? kSize : size;
  int i = 0;
  for (; i + 4 <= n; i += 4) advance_rows<4>(state + i * n, n, i, head);
  if constexpr (kSize % 4 != 0 || kSize == 0) {
    for (; i < n; ++i) advance_rows<1>(state + i * n, n, i, head);
  }
}

void recur(const RecurArgs& args) {
  const int n = args.head_size;
  HeadToken head;
  for (int t = 0; t < args.tokens; ++t) {
    const int64_t at = t * args.stride;
    prepare_token(args, at, head);
    if (n == 64) {
      advance_state<64>(args.state, n, head);
    } else {
      advance_state<0>(args.state, n, head);
    }
    layer_norm(head.y, args.ln_weight, args.ln_bias, args.ln_eps, n, head.y);
    const Vec bonus = broadcast(head.bonus);
    for (int i = 0; i < n; i += kLanes) {
      const Vec y = fma(bonus, load(head.v + i), load_first(head.y + i, n - i));
      store_first(args.out + at + i, n - i, y * load_first(args.g + at + i, n - i));
    }
  }
}
