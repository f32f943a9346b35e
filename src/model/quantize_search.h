// What the quantisers of 4 to 6 bits share: a group of weights x is stored as whole numbers q with
// x = scale * q - min. Rounding to codes, their error, and the scale that is best for given codes.
//
// Four lanes by the compiler's vector types, so that sums are taken in the same order everywhere.
#pragma once

#include <cmath>
#include <cstring>

namespace anser::quantize {

typedef float Lanes __attribute__((vector_size(16)));
constexpr int kLanes = 4;

inline Lanes load(const float* from) {
  Lanes a;
  std::memcpy(&a, from, sizeof(a));
  return a;
}
inline void store(float* to, Lanes a) {
  std::memcpy(to, &a, sizeof(a));
}
inline Lanes splat(float a) {
  return Lanes{a, a, a, a};
}
inline float sum(Lanes a) {
  return (a[0] + a[2]) + (a[1] + a[3]);
}

struct Codes {
  float low, high;  // whole numbers, far below 2^22
};

struct Line {
  float scale = 0, min = 0;
};

// The nearest code, ties to even. Adding 1.5 * 2^23 leaves no bits for a fraction.
inline Lanes to_code(Lanes x, Codes codes) {
  const Lanes magic = splat(0x1.8p23f), low = splat(codes.low), high = splat(codes.high);
  x = x < low ? low : x;
  x = x > high ? high : x;
  return (x + magic) - magic;
}

inline float inverse_or_zero(float x) {
  return x == 0 ? 0 : 1 / x;
}

// Two independent chains of additions, whose latency is what a group costs.
struct Pair {
  Lanes even = {}, odd = {};
  void add(int i, Lanes a) { (i % (2 * kLanes) == 0 ? even : odd) += a; }
  float total() const { return sum(even + odd); }
};

// Sums over a group and its codes.
struct Products {
  float q, qq, xq;

  // The best scale for these codes when there is no minimum, and by how much it lowers the squared
  // error that all-zero codes have.
  float scale() const { return xq * inverse_or_zero(qq); }
  float gain() const { return xq * scale(); }
};

// For the codes that a line gives to x [n].
template <int n>
Products project(const float* x, Line line, Codes codes) {
  const Lanes inverse = splat(inverse_or_zero(line.scale)), min = splat(line.min);
  Pair q, qq, xq;
  for (int i = 0; i < n; i += kLanes) {
    const Lanes xi = load(x + i), code = to_code((xi + min) * inverse, codes);
    q.add(i, code);
    qq.add(i, code * code);
    xq.add(i, xi * code);
  }
  return {q.total(), qq.total(), xq.total()};
}

// The codes q [n] of x [n]. Returns their squared error.
template <int n>
float encode(const float* x, Line line, Codes codes, float* q) {
  const Lanes inverse = splat(inverse_or_zero(line.scale)), scale = splat(line.scale);
  const Lanes min = splat(line.min);
  Pair error;
  for (int i = 0; i < n; i += kLanes) {
    const Lanes shifted = load(x + i) + min;
    const Lanes code = to_code(shifted * inverse, codes), e = shifted - scale * code;
    error.add(i, e * e);
    store(q + i, code);
  }
  return error.total();
}

// The element of largest magnitude, with its sign.
inline float extreme_of(const float* x, int n) {
  float extreme = 0;
  for (int i = 0; i < n; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  return extreme;
}

// The best scale of a group without a minimum. Candidates put the extreme around either end of the
// codes, at steps of `stride`: beyond the end it is cut off, which makes all others finer.
template <int n>
float search_scale(const float* x, Codes codes, float stride, int steps) {
  const float extreme = extreme_of(x, n);
  float best_gain = 0, best = 0;
  for (const float end : {codes.low, codes.high}) {
    for (int step = -steps; step <= steps; ++step) {
      const Line line = {extreme / (end + stride * float(step)), 0};
      const Products products = project<n>(x, line, codes);
      if (products.gain() > best_gain) {
        best_gain = products.gain();
        best = products.scale();
      }
    }
  }
  return best;
}

}  // namespace anser::quantize
