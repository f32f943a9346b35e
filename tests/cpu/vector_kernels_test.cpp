// layer_norm, shift_mix, all_finite, widen.
#include <limits>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "cpu/kernels_support.h"

namespace anser {
namespace {

constexpr int kSizes[] = {1, 2, 3, 15, 16, 17, 31, 33, 63, 64, 65, 100, 256, 768, 1000};

class VectorKernels : public KernelsTest {};

// Errors: the mean is a sum of n terms; x - mean rounds once more. The variance is a sum of squares
// of those differences, its root and the division by it halve its relative error and add three
// roundings; the final multiply and multiply-add round twice each at most.
TEST_P(VectorKernels, LayerNorm) {
  for (const int n : kSizes) {
    for (const float offset : {0.0f, 100.0f}) {
      std::vector<float> x = normals(n, 2), weight = normals(n), bias = normals(n);
      for (float& v : x) v += offset;
      const float eps = 1e-5f;
      double mean = 0, magnitude = 0, variance = 0;
      for (const float v : x) mean += v / double(n);
      for (const float v : x) magnitude += std::abs(v) / double(n);
      for (const float v : x) variance += (v - mean) * (v - mean) / n;
      const double deviation = std::sqrt(variance + eps);
      const double mean_error = (dot_error(n) + kUnit) * magnitude;

      Guarded<float> y(std::vector<float>(n, NAN));
      const Guarded<float> gx(x), gw(weight), gb(bias);
      kernels().layer_norm(gx.data(), gw.data(), gb.data(), eps, n, y.data());
      for (int i = 0; i < n; ++i) {
        const double normal = (x[i] - mean) / deviation;
        const double expected = normal * weight[i] + bias[i];
        // The mean's error also enters every square, but to first order those terms cancel:
        // sum (x - mean) = 0. What is left is quadratic in it.
        const double variance_error =
            dot_error(n) + 2 * kUnit + mean_error * mean_error / (variance + eps);
        const double normal_error = mean_error / deviation + kUnit * std::abs(normal) +
                                    std::abs(normal) * (variance_error / 2 + 4 * kUnit);
        const double error = normal_error * std::abs(weight[i]) +
                             2 * kUnit * (std::abs(normal * weight[i]) + std::abs(bias[i])) + 1e-30;
        ASSERT_LE(std::abs(y[i] - expected), error) << n << " " << i << " offset " << offset;
      }

      kernels().layer_norm(gx.data(), gw.data(), gb.data(), eps, n, gx.data());
      EXPECT_TRUE(same_bits(gx.copy(), y.copy())) << "in place, " << n;
    }
  }
}

TEST_P(VectorKernels, LayerNormOfEqualNumbersIsTheBias) {
  // Powers of two times the count: the mean is exact for any n.
  const std::vector<float> x(64, 0.5f), weight = normals(64), bias = normals(64);
  std::vector<float> y(64);
  kernels().layer_norm(x.data(), weight.data(), bias.data(), 1e-5f, 64, y.data());
  EXPECT_EQ(y, bias);
}

// y = x + (previous - x) mu: the difference rounds once, the multiply-add at most twice.
TEST_P(VectorKernels, ShiftMix) {
  for (const int n : kSizes) {
    const Guarded<float> x(normals(n)), previous(normals(n)), mu(uniforms(n, 0, 1));
    const Guarded<float> y(std::vector<float>(n, NAN));
    kernels().shift_mix(x.data(), previous.data(), mu.data(), n, y.data());
    for (int i = 0; i < n; ++i) {
      const double change = (double(previous[i]) - x[i]) * mu[i];
      ASSERT_LE(std::abs(y[i] - (x[i] + change)),
                kUnit * (2.01 * std::abs(change) + std::abs(x[i] + change)) + 1e-40)
          << n << " " << i;
    }
  }
}

TEST_P(VectorKernels, AllFinite) {
  const float bad[] = {INFINITY, -INFINITY, NAN, -NAN};
  for (const int n : kSizes) {
    std::vector<float> values = normals(n);
    values[0] = std::numeric_limits<float>::max();
    values[n - 1] = -std::numeric_limits<float>::max();
    const Guarded<float> x(values);
    EXPECT_TRUE(kernels().all_finite(x.data(), n)) << n;
    for (int i = 0; i < n; ++i) {
      x[i] = bad[i % 4];
      ASSERT_FALSE(kernels().all_finite(x.data(), n)) << n << " " << i;
      x[i] = values[i];
    }
    // Only n are looked at.
    if (n > 1) {
      x[n - 1] = NAN;
      EXPECT_TRUE(kernels().all_finite(x.data(), n - 1)) << n;
    }
  }
}

TEST_P(VectorKernels, WidenIsDequantize) {
  for (int i = 0; i < kMatrixTypes; ++i) {
    const DType type = DType(i);
    const int block = block_elements(type);
    for (const int n : {block, 2 * block, 5 * block, 17 * block, 64 * block}) {
      const std::vector<std::byte> bytes = weights(type, n);
      const Guarded<std::byte> from(bytes);
      std::vector<float> expected(n);
      dequantize_row(type, bytes.data(), n, expected.data());
      const Guarded<float> to(std::vector<float>(n, NAN));
      kernels().widen[i](from.data(), n, to.data());
      EXPECT_TRUE(same_bits(to.copy(), expected)) << dtype_name(type) << " " << n;
    }
  }
}

// All patterns of the two half types, also with subnormals being flushed, as the worker threads
// have it: that mode must not reach the weights. A NaN need only be a NaN.
TEST_P(VectorKernels, WidenEveryHalf) {
  std::vector<uint16_t> halves(65536);
  for (int i = 0; i < 65536; ++i) halves[i] = uint16_t(i);
  const auto* from = reinterpret_cast<const std::byte*>(halves.data());
  for (const DType type : {DType::f16, DType::bf16}) {
    std::vector<float> expected(65536), to(65536);
    dequantize_row(type, from, 65536, expected.data());
    for (const bool flush : {false, true}) {
#if defined(__x86_64__)
      const unsigned mode = _mm_getcsr();
      if (flush) _mm_setcsr(mode | 0x8040);
#endif
      kernels().widen[int(type)](from, 65536, to.data());
#if defined(__x86_64__)
      _mm_setcsr(mode);
#endif
      for (int i = 0; i < 65536; ++i) {
        if (std::isnan(expected[i])) {
          ASSERT_TRUE(std::isnan(to[i])) << dtype_name(type) << " " << i;
        } else {
          ASSERT_EQ(std::bit_cast<uint32_t>(to[i]), std::bit_cast<uint32_t>(expected[i]))
              << dtype_name(type) << " " << i << " flush " << flush;
        }
      }
    }
  }
}

// The small kernels too give the same bits in all tables that fuse multiply-add.
TEST_P(VectorKernels, BitsAreThoseOfTheOtherFusedTables) {
  if (!kernels().fused_multiply_add) GTEST_SKIP() << "not fused";
  for (const Kernels* other : supported_kernels()) {
    if (!other->fused_multiply_add || other == &kernels()) continue;
    for (const int n : kSizes) {
      const std::vector<float> x = normals(n, 4), weight = normals(n), bias = normals(n);
      const auto run = [&](const Kernels& table) {
        std::vector<float> all(n), y(n);
        table.layer_norm(x.data(), weight.data(), bias.data(), 1e-5f, n, all.data());
        table.shift_mix(x.data(), weight.data(), bias.data(), n, y.data());
        all.insert(all.end(), y.begin(), y.end());
        for (const Epilogue epilogue : kEpilogues) {
          y = x;
          table.apply(epilogue, bias.data(), n, y.data());
          all.insert(all.end(), y.begin(), y.end());
        }
        return all;
      };
      EXPECT_TRUE(same_bits(run(kernels()), run(*other))) << n;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, VectorKernels, testing::ValuesIn(supported_kernels()), table_name);

}  // namespace
}  // namespace anser
