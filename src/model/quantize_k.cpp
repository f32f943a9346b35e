#include "model/quantize_k.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/half.h"
#include "model/quantize_search.h"

namespace anser::quantize {
namespace {

constexpr int kBlock = 256;

// What tells the types apart: x = (d scale) q - (dmin min), with whole numbers of few bits for q,
// and for scale and min of each group.
struct Kind {
  Codes codes;
  Codes scales;
  float most_min;
};
constexpr Kind kQ4 = {{0, 15}, {0, 63}, 63};
constexpr Kind kQ5 = {{0, 31}, {0, 63}, 63};
constexpr Kind kQ6 = {{-32, 31}, {-128, 127}, 0};

// Sums over elements of x = scale a - min b.
struct LineSums {
  float aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;

  // The line of least error that has scale and min >= 0.
  Line best() const {
    const float det = aa * bb - ab * ab;
    // Else the codes are all the same, or nearly, and the difference is only rounding.
    if (det > 1e-5f * aa * bb) {
      const Line line = {(xa * bb - xb * ab) / det, (xa * ab - xb * aa) / det};
      if (line.scale >= 0 && line.min >= 0) return line;
    }
    return {std::max(xa * inverse_or_zero(aa), 0.0f), 0};
  }
  // By how much a line lowers the squared error of zero.
  float gain(Line line) const {
    return line.scale * (2 * xa - line.scale * aa + 2 * line.min * ab) -
           line.min * (2 * xb + line.min * bb);
  }
};

template <int n>
using Lines = std::array<Line, kBlock / n>;

// A block in groups of n.
template <int n>
struct Super {
  static constexpr int kGroups = kBlock / n;
  Line factors;  // d and dmin, as fp16 holds them
  float scale[kGroups], min[kGroups];
  float q[kBlock];
  float error = 0;

  Line line(float scale, float min) const { return {factors.scale * scale, factors.min * min}; }
};

// The block whose groups have lines as near to `lines` as the bits allow; with `search`, or with a
// neighbour of these if that is better.
template <int n>
Super<n> assemble(const float* x, const Lines<n>& lines, Line factors, const Kind& kind,
                  bool search) {
  const auto nearest = [](float x, float step, float low, float high) {
    return std::clamp(std::nearbyint(x * inverse_or_zero(step)), low, high);
  };
  Super<n> super;
  super.factors = {f16_to_f32(f32_to_f16(factors.scale)), f16_to_f32(f32_to_f16(factors.min))};
  for (int j = 0; j < Super<n>::kGroups; ++j) {
    const float* xj = x + n * j;
    float* qj = super.q + n * j;
    const float scale =
        nearest(lines[j].scale, super.factors.scale, kind.scales.low, kind.scales.high);
    const float min = nearest(lines[j].min, super.factors.min, 0, kind.most_min);
    super.scale[j] = scale;
    super.min[j] = min;
    float best = encode<n>(xj, super.line(scale, min), kind.codes, qj);
    for (int k = 0; search && k < 9; ++k) {
      const float s = scale + float(k % 3 - 1), m = min + float(k / 3 - 1);
      const bool exists =
          s >= kind.scales.low && s <= kind.scales.high && m >= 0 && m <= kind.most_min;
      if (k == 4 || !exists) continue;
      float q[n];
      const float error = encode<n>(xj, super.line(s, m), kind.codes, q);
      if (!(error < best)) continue;
      best = error;
      super.scale[j] = s;
      super.min[j] = m;
      std::copy_n(q, n, qj);
    }
    super.error += best;
  }
  return super;
}

template <int n>
float sum_of(const float* x) {
  Pair total;
  for (int i = 0; i < n; i += kLanes) total.add(i, load(x + i));
  return total.total();
}

// d and dmin that suit the codes, scales and minima of a block best.
template <int n>
Line refit(const float* x, const Super<n>& super, const Kind& kind) {
  LineSums sums;
  for (int j = 0; j < Super<n>::kGroups; ++j) {
    const float s = super.scale[j], m = super.min[j];
    const Products products = project<n>(x + n * j, super.line(s, m), kind.codes);
    sums.aa += s * s * products.qq;
    sums.ab += s * m * products.q;
    sums.bb += m * m * n;
    sums.xa += s * products.xq;
    sums.xb += m * sum_of<n>(x + n * j);
  }
  return sums.best();
}

// d and dmin so that all scales and minima just fit.
template <int n>
Line cover(const Lines<n>& lines, const Kind& kind) {
  Line most;
  for (const Line& line : lines) {
    most = {std::max(most.scale, std::fabs(line.scale)), std::max(most.min, line.min)};
  }
  return {most.scale / kind.scales.high, most.min * inverse_or_zero(kind.most_min)};
}

// From the lines of each group: `plain` ones that cover it, and `searched` ones.
template <int n>
Super<n> best_super(const float* x, const Lines<n>& plain, const Lines<n>& searched,
                    const Kind& kind) {
  Super<n> best = assemble<n>(x, searched, cover<n>(searched, kind), kind, true);
  for (int round = 0; round < 2; ++round) {
    const Line factors = refit<n>(x, best, kind);
    Lines<n> lines;
    for (int j = 0; j < Super<n>::kGroups; ++j) {
      lines[j] = {factors.scale * best.scale[j], factors.min * best.min[j]};
    }
    const Super<n> next = assemble<n>(x, lines, factors, kind, true);
    if (!(next.error < best.error)) break;
    best = next;
  }
  const Super<n> simple = assemble<n>(x, plain, cover<n>(plain, kind), kind, false);
  return simple.error < best.error ? simple : best;
}

// ---- Q4_K and Q5_K: groups of 32 with a minimum

constexpr int kGroup = 32;

Line plain_line(const float* x, Codes codes) {
  const auto [low, high] = std::minmax_element(x, x + kGroup);
  const float min = std::max(0.0f, -*low);
  return {std::max(0.0f, *high + min) / codes.high, min};
}

Line search_line(const float* x, Line plain, Codes codes) {
  if (plain.scale == 0) return plain;  // all the same and not above zero
  const float x_sum = sum_of<kGroup>(x);
  const auto sums_of = [&](Line line) {
    const Products products = project<kGroup>(x, line, codes);
    return LineSums{products.qq, products.q, kGroup, products.xq, x_sum};
  };
  Line best = plain;
  float best_gain = sums_of(plain).gain(plain);
  const auto improve = [&](Line from) {
    const LineSums sums = sums_of(from);
    const Line line = sums.best();
    const float gain = sums.gain(line);
    if (gain > best_gain) {
      best_gain = gain;
      best = line;
    }
  };
  // From a little coarser than plain to finer, which cuts off the upper end.
  for (int step = -2; step <= 4; ++step) {
    improve({plain.scale * codes.high / (codes.high + 0.4f * float(step)), plain.min});
  }
  for (int round = 0; round < 2; ++round) improve(best);
  return best;
}

Super<kGroup> best_super(const float* x, const Kind& kind) {
  Lines<kGroup> plain, searched;
  for (int j = 0; j < kBlock / kGroup; ++j) {
    plain[j] = plain_line(x + kGroup * j, kind.codes);
    searched[j] = search_line(x + kGroup * j, plain[j], kind.codes);
  }
  return best_super<kGroup>(x, plain, searched, kind);
}

template <class Block>
void pack(const Super<kGroup>& super, Block& to) {
  to.d = f32_to_f16(super.factors.scale);
  to.dmin = f32_to_f16(super.factors.min);
  for (int j = 0; j < 4; ++j) {
    const int scale = int(super.scale[j]), min = int(super.min[j]);
    const int scale4 = int(super.scale[j + 4]), min4 = int(super.min[j + 4]);
    to.scales[j] = uint8_t(scale | (scale4 >> 4) << 6);
    to.scales[j + 4] = uint8_t(min | (min4 >> 4) << 6);
    to.scales[j + 8] = uint8_t((scale4 & 15) | (min4 & 15) << 4);
  }
  for (int run = 0; run < 4; ++run) {
    const float* low = super.q + 2 * kGroup * run;
    for (int e = 0; e < kGroup; ++e) {
      to.q[kGroup * run + e] = uint8_t((int(low[e]) & 15) | (int(low[kGroup + e]) & 15) << 4);
    }
  }
}

}  // namespace

void quantize_block(const float* x, BlockQ4K& to) {
  pack(best_super(x, kQ4), to);
}

void quantize_block(const float* x, BlockQ5K& to) {
  const Super<kGroup> super = best_super(x, kQ5);
  pack(super, to);
  for (int e = 0; e < kGroup; ++e) {
    int bits = 0;
    for (int j = 0; j < kBlock / kGroup; ++j) bits |= (int(super.q[kGroup * j + e]) >> 4) << j;
    to.high[e] = uint8_t(bits);
  }
}

void quantize_block(const float* x, BlockQ6K& to) {
  constexpr int kSize = 16;
  Lines<kSize> plain, searched;
  for (int j = 0; j < kBlock / kSize; ++j) {
    const float* xj = x + kSize * j;
    plain[j].scale = std::fabs(extreme_of(xj, kSize)) / kQ6.codes.high;
    searched[j].scale = search_scale<kSize>(xj, kQ6.codes, 1.0f, 3);
  }
  const Super<kSize> super = best_super<kSize>(x, plain, searched, kQ6);

  for (int half = 0; half < 2; ++half) {
    int code[128];
    for (int i = 0; i < 128; ++i) code[i] = int(super.q[128 * half + i]) + 32;
    for (int e = 0; e < 64; ++e) {
      to.low[64 * half + e] = uint8_t((code[e] & 15) | (code[64 + e] & 15) << 4);
    }
    for (int e = 0; e < 32; ++e) {
      int bits = 0;
      for (int k = 0; k < 4; ++k) bits |= (code[32 * k + e] >> 4) << (2 * k);
      to.high[32 * half + e] = uint8_t(bits);
    }
  }
  for (int j = 0; j < kBlock / kSize; ++j) to.scales[j] = int8_t(super.scale[j]);
  to.d = f32_to_f16(super.factors.scale);
}

}  // namespace anser::quantize
