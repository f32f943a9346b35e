// Kernels over a row of logits, for drawing tokens (engine/host_sampling.h).

Largest largest(const float* x, int64_t n) {
  const Vec zero = broadcast(0.0f), lowest = broadcast(-__FLT_MAX__);
  Vec best = broadcast(-__builtin_inff()), strange = zero;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec now = load(x + i);
    best = max(now, best);  // a NaN gives way
    // 0 times a NaN or infinity is NaN; minus infinity is made finite first.
    strange = fma(max(lowest, now), zero, strange);
  }
  Largest found = {reduce_max(best), reduce_add(strange) == 0.0f};
  for (; i < n; ++i) {
    found.well_formed &= x[i] < __builtin_inff();
    if (x[i] > found.value) found.value = x[i];
  }
  return found;
}

// So many weights are added in single precision.
constexpr int kWeightBlock = 256;

double weigh(const float* x, int64_t n, float highest, float inverse_temperature, float* weights) {
  const Vec from = broadcast(highest), factor = broadcast(inverse_temperature);
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kWeightBlock) {
    const int count = n - begin < kWeightBlock ? int(n - begin) : kWeightBlock;
    Vec sums = broadcast(0.0f);
    for (int i = 0; i < count; i += kLanes) {
      Vec weight = exp((load_first(x + begin + i, count - i) - from) * factor);
      if (count - i < kLanes) weight = keep_first(weight, count - i);
      store_first(weights + begin + i, count - i, weight);
      sums = sums + weight;
    }
    total += double(reduce_add(sums));
  }
  return total;
}

int64_t list_above(const float* x, int64_t n, float above, int32_t* ids) {
  const Vec zero = broadcast(0.0f), line = broadcast(above);
  int64_t count = 0;
  for (int64_t i = 0; i < n; i += kLanes) {
    const int here = n - i < kLanes ? int(n - i) : kLanes;
    uint32_t bits = not_zero_lanes(max(load_first(x + i, here) - line, zero));
    if (here < kLanes) bits &= (1u << here) - 1;
    for (; bits != 0; bits &= bits - 1) ids[count++] = int32_t(i + __builtin_ctz(bits));
  }
  return count;
}

double weigh_exactly(const float* x, int64_t n, float highest, double inverse_temperature,
                     double* weights) {
  constexpr int kSums = 8;
  double sums[kSums] = {};
  for (int64_t begin = 0; begin < n; begin += kWeightBlock) {
    const int count = n - begin < kWeightBlock ? int(n - begin) : kWeightBlock;
    double* const to = weights + begin;
    for (int i = 0; i < count; ++i) {
      to[i] = exp_below_0((double(x[begin + i]) - double(highest)) * inverse_temperature);
    }
    int i = 0;
    for (; i + kSums <= count; i += kSums) {
      for (int k = 0; k < kSums; ++k) sums[k] += to[i + k];
    }
    for (; i < count; ++i) sums[0] += to[i];
  }
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}
