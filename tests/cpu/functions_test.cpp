// tanh, sigmoid, relu^2 and the decay, over dense sweeps, against double precision.
#include <limits>

#include "cpu/kernels_support.h"

namespace anser {
namespace {

class Functions : public KernelsTest {
 protected:
  std::vector<float> apply(Epilogue epilogue, std::vector<float> x) {
    kernels().apply(epilogue, nullptr, int64_t(x.size()), x.data());
    return x;
  }
  float apply(Epilogue epilogue, float x) { return apply(epilogue, std::vector<float>{x})[0]; }

  // Floats of all magnitudes and both signs: 64 to an octave, 2^-60 to 2^20.
  static std::vector<float> sweep() {
    std::vector<float> x = {0.0f, -0.0f};
    for (int exponent = -60; exponent < 20; ++exponent) {
      for (int i = 0; i < 64; ++i) {
        const float value = std::ldexp(1 + i / 64.0f + 1e-4f, exponent);
        x.push_back(value);
        x.push_back(-value);
      }
    }
    // And evenly where the functions bend.
    for (int i = -200000; i <= 200000; ++i) x.push_back(float(i) * 1.5e-4f);
    return x;
  }

  void expect_relative(Epilogue epilogue, double relative, double absolute) {
    const std::vector<float> x = sweep(), y = apply(epilogue, x);
    double worst = 0, worst_at = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = epilogue_reference(epilogue, x[i], 0);
      const double error = std::abs(y[i] - expected) - absolute;
      if (!(error <= worst * std::abs(expected))) {
        worst = error / std::abs(expected);
        worst_at = x[i];
      }
    }
    EXPECT_LE(worst, relative) << "at " << worst_at << ": " << apply(epilogue, float(worst_at));
    RecordProperty("worst_in_units_of_2^-24", std::to_string(worst / kUnit));
  }
};

// The bounds in kUnit count roundings. exp: the last operation rounds once; before it, q (at most
// 0.41 of the result) carries the errors of two operations and of the argument r, whose error n
// times that of ln 2 and one or two roundings of numbers below 0.35: together below 2. sigmoid and
// tanh add an addition and a division, and exp enters sigmoid by at most its own relative error. In
// tanh, t = e^2x - 1 cancels most at x just below -ln(2) / 4, where t = -0.29 is the difference of
// 0.5 and 0.21, both with an error of 2^-25: one more unit. The arguments of sigmoid are not
// rounded (-x), those of tanh neither (2 x).
TEST_P(Functions, Sigmoid) {
  // Below e^-87 the result stays at 1.6e-38.
  expect_relative(Epilogue::sigmoid, 4 * kUnit, 2e-38);
}
TEST_P(Functions, Tanh) {
  expect_relative(Epilogue::tanh, 6 * kUnit, 0);
}
// exp of an argument below 0.61 whose relative error, 5 units, times 0.61 is that of the result.
TEST_P(Functions, Decay) {
  expect_relative(Epilogue::decay, 5.1 * kUnit, 0);
}
TEST_P(Functions, ReluSquared) {
  expect_relative(Epilogue::relu_squared, kUnit, 0x1p-126);
}

TEST_P(Functions, StoreAndAddAreTheNumberItself) {
  const std::vector<float> x = sweep();
  EXPECT_TRUE(same_bits(apply(Epilogue::store, x), x));
  for (const float y : apply(Epilogue::add, {1.5f, -3.0f})) EXPECT_TRUE(y == 1.5f || y == -3.0f);
}

TEST_P(Functions, EndsOfTheRange) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float huge = std::numeric_limits<float>::max();
  for (const float x : {infinity, huge, 1e4f, 100.0f}) {
    EXPECT_EQ(apply(Epilogue::sigmoid, x), 1.0f);
    EXPECT_LE(apply(Epilogue::sigmoid, -x), 2e-38f);
    EXPECT_GE(apply(Epilogue::sigmoid, -x), 0.0f);
    EXPECT_EQ(apply(Epilogue::tanh, x), 1.0f);
    EXPECT_EQ(apply(Epilogue::tanh, -x), -1.0f);
    EXPECT_NEAR(apply(Epilogue::decay, x), std::exp(-std::exp(-0.5)), 2 * kUnit);
    EXPECT_EQ(apply(Epilogue::decay, -x), 1.0f);
    EXPECT_EQ(apply(Epilogue::relu_squared, -x), 0.0f);
  }
  EXPECT_EQ(apply(Epilogue::relu_squared, infinity), infinity);
  // The smallest numbers of all, subnormal ones too.
  EXPECT_EQ(apply(Epilogue::sigmoid, 1e-45f), 0.5f);
  EXPECT_EQ(apply(Epilogue::tanh, 0.0f), 0.0f);
  EXPECT_NEAR(apply(Epilogue::tanh, 1e-40f), 1e-40, 1e-44);
}

TEST_P(Functions, NanStaysNan) {
  for (const uint32_t bits : {0x7fc00000u, 0xffc00000u, 0x7f800001u, 0x7fffffffu}) {
    for (const Epilogue epilogue : kEpilogues) {
      EXPECT_TRUE(std::isnan(apply(epilogue, std::bit_cast<float>(bits))))
          << int(epilogue) << " " << bits;
    }
  }
}

// An element's result must not depend on where in the array it stands, nor on its neighbours.
TEST_P(Functions, AnyLengthAndBias) {
  for (const int n : {1, 2, 7, 15, 16, 17, 31, 32, 33, 100}) {
    const std::vector<float> x = normals(n, 3), bias = normals(n);
    for (const Epilogue epilogue : kEpilogues) {
      Guarded<float> y(x), guarded_bias(bias);
      kernels().apply(epilogue, guarded_bias.data(), n, y.data());
      for (int i = 0; i < n; ++i) {
        const float alone = apply(epilogue, x[i] + bias[i]);
        ASSERT_EQ(y[i], alone) << n << " " << i << " " << int(epilogue);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, Functions, testing::ValuesIn(supported_kernels()), table_name);

}  // namespace
}  // namespace anser
