#include "base/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace anser {
namespace {

// The value of a finite half, from its fields.
double half_value(uint16_t half) {
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}

uint32_t bits_of(float value) {
  return std::bit_cast<uint32_t>(value);
}

TEST(Half, EveryPatternWidensExactly) {
  for (int i = 0; i < 65536; ++i) {
    const uint16_t half = uint16_t(i);
    const float value = f16_to_f32(half);
    ASSERT_EQ(std::signbit(value), (half & 0x8000) != 0) << i;
    if ((half & 0x7c00) != 0x7c00) {
      ASSERT_EQ(double(value), half_value(half)) << i;
    } else if ((half & 0x3ff) == 0) {
      ASSERT_TRUE(std::isinf(value)) << i;
    } else {
      ASSERT_TRUE(std::isnan(value)) << i;
    }
  }
}

TEST(Half, EveryPatternComesBack) {
  for (int i = 0; i < 65536; ++i) {
    const uint16_t half = uint16_t(i);
    const bool nan = (half & 0x7fff) > 0x7c00;
    ASSERT_EQ(f32_to_f16(f16_to_f32(half)), nan ? half | 0x200 : half) << i;
    const bool bf16_nan = (half & 0x7fff) > 0x7f80;
    ASSERT_EQ(f32_to_bf16(bf16_to_f32(half)), bf16_nan ? half | 0x40 : half) << i;
  }
}

TEST(Half, EveryBf16PatternIsTheUpperHalf) {
  for (int i = 0; i < 65536; ++i) {
    ASSERT_EQ(bits_of(bf16_to_f32(uint16_t(i))), uint32_t(i) << 16);
  }
}

// Between two neighbours the rounding changes sides at the midpoint, which goes to the even one.
// The midpoint of two halves, or of two bf16, has one bit more than they have and is exact in fp32;
// so the three floats around it say all about the interval, rounding being monotonic.
void check_midpoint(float below, float above, uint16_t lower, uint16_t upper,
                    uint16_t narrow(float)) {
  const float middle = float((double(below) + double(above)) / 2);
  const uint16_t even = lower % 2 == 0 ? lower : upper;
  ASSERT_EQ(narrow(middle), even) << lower;
  ASSERT_EQ(narrow(std::nextafter(middle, below)), lower) << lower;
  ASSERT_EQ(narrow(std::nextafter(middle, above)), upper) << lower;
}

TEST(Half, RoundsToNearestEven) {
  for (uint16_t sign : {0, 0x8000}) {
    for (int i = 0; i < 0x7bff; ++i) {
      const uint16_t lower = uint16_t(sign | i), upper = uint16_t(lower + 1);
      ASSERT_NO_FATAL_FAILURE(
          check_midpoint(f16_to_f32(lower), f16_to_f32(upper), lower, upper, f32_to_f16));
    }
    for (int i = 0; i < 0x7f7f; ++i) {
      const uint16_t lower = uint16_t(sign | i), upper = uint16_t(lower + 1);
      ASSERT_NO_FATAL_FAILURE(
          check_midpoint(bf16_to_f32(lower), bf16_to_f32(upper), lower, upper, f32_to_bf16));
    }
  }
}

TEST(Half, Extremes) {
  const float infinity = std::numeric_limits<float>::infinity();
  // The number after the largest half, 65504, would be 65536.
  EXPECT_EQ(f32_to_f16(65504.0f), 0x7bff);
  EXPECT_EQ(f32_to_f16(std::nextafter(65520.0f, 0.0f)), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(-1e38f), 0xfc00);
  EXPECT_EQ(f32_to_f16(infinity), 0x7c00);
  EXPECT_EQ(f32_to_f16(-infinity), 0xfc00);
  EXPECT_EQ(f32_to_f16(1e-45f), 0);
  EXPECT_EQ(f32_to_f16(-1e-45f), 0x8000);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(f32_to_bf16(-infinity), 0xff80);
  EXPECT_EQ(f32_to_bf16(1e-45f), 0);

  // NaNs whose payload lies in bits that are cut off must not become infinite.
  for (uint32_t nan : {0x7f800001u, 0xff800001u, 0x7fffffffu, 0xffc00000u}) {
    const float value = std::bit_cast<float>(nan);
    EXPECT_EQ(f32_to_f16(value) & 0xfe00, nan >> 31 ? 0xfe00 : 0x7e00);
    EXPECT_EQ(f32_to_bf16(value) & 0xffc0, nan >> 31 ? 0xffc0 : 0x7fc0);
  }
}

}  // namespace
}  // namespace anser
