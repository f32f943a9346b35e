// largest, weigh, list_above, weigh_exactly: what is found out about a row of logits before a token
// is drawn.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/exp_below_0.h"
#include "cpu/kernels_support.h"

namespace anser {
namespace {

constexpr int kSizes[] = {1, 2, 15, 16, 17, 33, 255, 256, 257, 300, 513, 1000};
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class SamplingKernels : public KernelsTest {};

TEST_P(SamplingKernels, LargestWhereverItIs) {
  for (const int n : kSizes) {
    for (int at = 0; at < n; at += 1 + n / 40) {
      std::vector<float> values = normals(n);
      values[at] = 9;
      if (n > 1) values[(at + 1) % n] = -kInfinity;  // of banned tokens
      const Guarded<float> x(values);
      const Largest found = kernels().largest(x.data(), n);
      ASSERT_TRUE(found.well_formed) << n << " " << at;
      ASSERT_EQ(found.value, 9) << n << " " << at;
      for (const float bad : {NAN, -NAN, kInfinity}) {
        x[at] = bad;
        ASSERT_FALSE(kernels().largest(x.data(), n).well_formed) << n << " " << at << " " << bad;
      }
    }
    const Guarded<float> none(std::vector<float>(n, -kInfinity));
    const Largest found = kernels().largest(none.data(), n);
    EXPECT_TRUE(found.well_formed);
    EXPECT_EQ(found.value, -kInfinity);
  }
}

// The argument rounds twice, which e^x multiplies by its size, up to 87; e^x itself errs by 1e-7.
// Sums: at most 16 weights pass through a lane, 4 additions join the lanes.
TEST_P(SamplingKernels, WeighIsTheExponentialAndItsSum) {
  for (const int n : kSizes) {
    for (const float temperature : {0.05f, 1.0f, 30.0f}) {
      std::vector<float> values = normals(n, 5);
      if (n > 2) values[n / 2] = -kInfinity;
      const float highest = *std::ranges::max_element(values), inverse = 1 / temperature;
      const Guarded<float> x(values), w(std::vector<float>(n, NAN));
      const double total = kernels().weigh(x.data(), n, highest, inverse, w.data());
      double sum = 0;
      for (int i = 0; i < n; ++i) {
        const double exponent = std::max((double(values[i]) - highest) * inverse, -87.0);
        const double expected = std::exp(exponent);
        ASSERT_NEAR(w[i], expected, expected * (2.1 * kUnit * -exponent + 2e-7)) << n << " " << i;
        sum += w[i];
      }
      EXPECT_NEAR(total, sum, sum * 21 * kUnit) << n;
    }
  }
}

TEST_P(SamplingKernels, WhatIsAboveIsListed) {
  for (const int n : kSizes) {
    for (const float above : {-100.0f, -0.5f, 0.0f, 1.0f, 100.0f}) {
      std::vector<float> values = normals(n);
      values[n / 2] = above;  // is not above
      values[n / 3] = std::nextafter(above, kInfinity);
      if (n > 4) values[n - 1] = -kInfinity;
      std::vector<int32_t> expected;
      for (int i = 0; i < n; ++i) {
        if (values[i] > above) expected.push_back(i);
      }
      const Guarded<float> x(values);
      const Guarded<int32_t> ids(std::vector<int32_t>(n, -1));
      const int64_t count = kernels().list_above(x.data(), n, above, ids.data());
      ASSERT_EQ(size_t(count), expected.size()) << n << " " << above;
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), ids.data())) << n << " " << above;
    }
  }
}

// In double precision every table has the bits of the text that all share; 2e-15 for it, its
// argument's rounding and the library's own exp.
TEST_P(SamplingKernels, WeighExactlyIsTheExponentialToTheLastBits) {
  for (const int n : kSizes) {
    for (const double temperature : {0.05, 1.0, 30.0}) {
      std::vector<float> values = normals(n, 5);
      if (n > 2) values[n / 2] = -kInfinity;
      const float highest = *std::ranges::max_element(values);
      const double inverse = 1 / temperature;
      const Guarded<float> x(values);
      const Guarded<double> w(std::vector<double>(n, NAN));
      const double total = kernels().weigh_exactly(x.data(), n, highest, inverse, w.data());
      double sum = 0;
      for (int i = 0; i < n; ++i) {
        const double exponent = (double(values[i]) - highest) * inverse;
        ASSERT_EQ(w[i], exp_below_0(exponent)) << n << " " << i;
        const double expected = std::exp(exponent);
        if (exponent < -708) {
          ASSERT_EQ(w[i], 0) << n << " " << i;
        } else {
          ASSERT_NEAR(w[i], expected, expected * 2e-15) << n << " " << i;
        }
        sum += w[i];
      }
      EXPECT_NEAR(total, sum, sum * n * 0x1p-52) << n;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, SamplingKernels, testing::ValuesIn(supported_kernels()),
                         table_name);

}  // namespace
}  // namespace anser
