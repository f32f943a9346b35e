// Comparing logits: the worst element, and how much of a difference rounding explains.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "support/random_model.h"

namespace support {

// What fp32 may differ from double precision by, in logits whose largest is `largest`.
//
// One output of a matrix product passes 256 additions, and one more for every 256 inputs, each
// rounding by at most u = 2^-24 of the sum. Such errors are independent and add up like a random
// walk, to u sqrt(256 + n / 256) relative to the sum's magnitude. A layer has 5 products in series,
// the head one; norms in between keep relative errors what they are. The factor 2 is for tails: the
// largest of some thousand outputs is at four standard deviations, but rounding is on average half
// of its bound. (The kernels stay below a quarter of this: it is not there to hide anything.)
inline double float_tolerance(const Shape& shape, double largest) {
  const double longest = std::max(shape.width, shape.ffn);
  const double product = 0x1p-24 * std::sqrt(std::min(longest, 256.0) + longest / 256);
  return 2 * std::sqrt(5.0 * shape.layers + 1) * product * largest;
}

// The same for models of quantised types, whose activations are rounded to 8 bits, 32 at a time.
// The largest of 32 normal numbers is about 2.5 deviations, so a step is 2.5 / 127 of one and its
// error that over sqrt(12), in each product; errors of different inputs are independent, and so are
// those of products in series. The largest of a row of logits is three to four of their deviations,
// which covers the tail.
inline double quantised_tolerance(const Shape& shape, double largest) {
  return std::sqrt(5.0 * shape.layers + 1) * 2.5 / 127 / std::sqrt(12.0) * largest;
}

struct Difference {
  double max_abs = 0;
  size_t at = 0;
};

template <class A, class B>
Difference difference(const A& actual, const B& expected) {
  Difference worst;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double d = std::fabs(double(actual[i]) - double(expected[i]));
    // A NaN is the worst of all.
    if (!(d <= worst.max_abs)) worst = {d, i};
  }
  return worst;
}

inline double largest(const std::vector<double>& x) {
  double most = 0;
  for (const double v : x) most = std::max(most, std::fabs(v));
  return most;
}

template <class A, class B>
void expect_close(const A& actual, const B& expected, double tolerance, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  const Difference worst = difference(actual, expected);
  EXPECT_LE(worst.max_abs, tolerance) << what << ": worst at " << worst.at << ", "
                                      << actual[worst.at] << " instead of " << expected[worst.at];
}

// KL(p || q) of the softmax distributions of two rows of logits, in nats.
template <class A, class B>
double kl_divergence(const A& p, const B& q) {
  const auto log_sum = [](const auto& x) {
    double most = x[0], sum = 0;
    for (const double v : x) most = std::max(most, v);
    for (const double v : x) sum += std::exp(v - most);
    return most + std::log(sum);
  };
  const double zp = log_sum(p), zq = log_sum(q);
  double kl = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    kl += std::exp(p[i] - zp) * ((p[i] - zp) - (q[i] - zq));
  }
  return kl;
}

}  // namespace support
