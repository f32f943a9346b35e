// Kernels over one vector.

ANSER_INLINE float sum(const float* x, int n) {
  Vec total = broadcast(0.0f);
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) total = total + load(x + i);
  if (i < n) total = total + load_partial(x + i, n - i);
  return reduce_add(total);
}

// The variance in a second pass over x, as the mean of (x - mean)^2: a mean far from zero costs no
// digits.
Moments moments(const float* x, float eps, int n) {
  const float average = sum(x, n) / float(n);
  const Vec mean = broadcast(average);
  Vec squares = broadcast(0.0f);
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec d = load(x + i) - mean;
    squares = fma(d, d, squares);
  }
  if (i < n) {
    const Vec d = keep_first(load_partial(x + i, n - i) - mean, n - i);
    squares = fma(d, d, squares);
  }
  const float variance = reduce_add(squares) / float(n);
  alignas(64) float scale[kLanes];
  store(scale, broadcast(1.0f) / sqrt(broadcast(variance + eps)));
  return {average, scale[0]};
}

void normalise(const float* x, Moments of, const float* weight, const float* bias, int n,
               float* y) {
  const Vec mean = broadcast(of.mean), scale = broadcast(of.scale);
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    store(y + i, fma((load(x + i) - mean) * scale, load(weight + i), load(bias + i)));
  }
  if (i < n) {
    const int rest = n - i;
    const Vec d = (load_partial(x + i, rest) - mean) * scale;
    store_partial(y + i, rest,
                  fma(d, load_partial(weight + i, rest), load_partial(bias + i, rest)));
  }
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int n,
                float* y) {
  normalise(x, moments(x, eps, n), weight, bias, n, y);
}

void shift_mix(const float* x, const float* previous, const float* mu, int n, float* y) {
  for (int i = 0; i < n; i += kLanes) {
    const int count = n - i;
    const Vec now = load_first(x + i, count);
    const Vec difference = load_first(previous + i, count) - now;
    store_first(y + i, count, fma(difference, load_first(mu + i, count), now));
  }
}

// 0 * x is zero for a finite x and NaN otherwise.
bool all_finite(const float* x, int64_t n) {
  const Vec zero = broadcast(0.0f);
  Vec total = zero;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) total = fma(load(x + i), zero, total);
  if (i < n) total = fma(load_partial(x + i, int(n - i)), zero, total);
  return reduce_add(total) == 0.0f;
}

void apply(Epilogue epilogue, const float* bias, int64_t n, float* x) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const int count = n - i < kLanes ? int(n - i) : kLanes;
    Vec z = load_first(x + i, count);
    if (bias != nullptr) z = z + load_first(bias + i, count);
    store_first(x + i, count, apply_epilogue(epilogue, z, broadcast(0.0f)));
  }
}
