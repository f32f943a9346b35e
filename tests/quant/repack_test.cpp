// Blocks made by hand, byte by byte, and what they are worth by the format's description.
#include "quant/repack.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "model/dequantize.h"

namespace anser {
namespace {

constexpr DType kTypes[] = {DType::q2_k, DType::q3_k, DType::iq4_nl, DType::iq4_xs};

std::string half(float x) {
  const uint16_t bits = f32_to_f16(x);
  return {reinterpret_cast<const char*>(&bits), 2};
}

// The numbers of a block after it was repacked as `to`.
std::vector<float> repacked(DType from, const std::string& block, DType to) {
  EXPECT_EQ(block.size(), dtype_bytes(from, size_t(block_elements(from))));
  const int n = block_elements(from);
  std::vector<std::byte> bytes(dtype_bytes(to, size_t(n)));
  EXPECT_TRUE(repack(from, reinterpret_cast<const std::byte*>(block.data()), n, to, bytes.data()));
  std::vector<float> numbers(static_cast<size_t>(n));
  dequantize_row(to, bytes.data(), n, numbers.data());
  return numbers;
}

TEST(Repack, WhatBecomesWhat) {
  EXPECT_EQ(repacked_type(DType::q3_k), DType::q6_k);
  EXPECT_EQ(repacked_type(DType::iq4_nl), DType::q8_0);
  EXPECT_EQ(repacked_type(DType::q2_k), DType::f16);
  EXPECT_EQ(repacked_type(DType::iq4_xs), DType::f16);
  for (int type = 0; type <= int(DType::unsupported); ++type) {
    const bool one = std::count(std::begin(kTypes), std::end(kTypes), DType(type)) == 1;
    EXPECT_EQ(is_repacked(DType(type)), one) << dtype_name(DType(type));
  }
}

// Every scale that the type has with every weight that it has.
TEST(Repack, Q3KIsExactInQ6K) {
  std::string q, high(32, '\0');
  // Elements of a sub-block of 16 run through -4..3 twice.
  for (int e = 0; e < 32; ++e) {
    const int weight = e % 8 - 4;
    if (weight >= 0) high[size_t(e)] = char(0xff);  // of all eight elements that it serves
  }
  for (int byte = 0; byte < 64; ++byte) q += char((byte % 8 & 3) * 0x55);
  for (int first = 0; first < 64; first += 16) {
    // Sub-block j has the scale first + j.
    std::string scales(12, '\0');
    for (int j = 0; j < 16; ++j) {
      const int scale = first + j;
      scales[size_t(j % 8)] = char(scales[size_t(j % 8)] | (scale & 15) << (j < 8 ? 0 : 4));
      scales[size_t(8 + j % 4)] = char(scales[size_t(8 + j % 4)] | scale >> 4 << (j / 4 * 2));
    }
    for (const float d : {0.5f, -0x1.ffcp-9f, 0x1p-24f, 65504.0f}) {
      const std::string block = high + q + scales + half(d);
      for (const DType to : {DType::q6_k, DType::f32}) {
        const std::vector<float> got = repacked(DType::q3_k, block, to);
        for (int i = 0; i < 256; ++i) {
          ASSERT_EQ(got[size_t(i)], float(double(d) * (first + i / 16 - 32) * (i % 8 - 4)))
              << "scale " << first + i / 16 << ", element " << i << ", " << dtype_name(to);
        }
      }
    }
  }
}

constexpr int kLevels[] = {-127, -104, -83, -65, -49, -35, -22, -10,
                           1,    13,   25,  38,  53,  69,  89,  113};

TEST(Repack, Iq4NlIsExactInQ80) {
  // Level 0 to 15 in the low nibbles, 15 to 0 in the high ones.
  std::string nibbles;
  for (int i = 0; i < 16; ++i) nibbles += char(i | (15 - i) << 4);
  for (const float d : {0.25f, -0x1.ffcp-3f, 0x1p-24f}) {
    for (const DType to : {DType::q8_0, DType::f32}) {
      const std::vector<float> got = repacked(DType::iq4_nl, half(d) + nibbles, to);
      for (int i = 0; i < 32; ++i) {
        ASSERT_EQ(got[size_t(i)], d * float(kLevels[i < 16 ? i : 31 - i])) << i;
      }
    }
  }
}

// |got - exact| <= 2^-11 |exact|.
void expect_rounded(float got, double exact, const std::string& where) {
  ASSERT_LE(std::fabs(double(got) - exact), 0x1p-11 * std::fabs(exact)) << where << ": " << exact;
}

TEST(Repack, Q2KIsWithinARoundingInF16) {
  // Sub-block j: scale j, minimum 15 - j; element i of the block: weight i mod 4.
  std::string scales;
  for (int j = 0; j < 16; ++j) scales += char(j | (15 - j) << 4);
  std::string q;
  for (int byte = 0; byte < 64; ++byte) q += char(byte % 4 * 0x55);
  // Ordinary numbers; a d and a dmin that are subnormal numbers of F16; far apart; large.
  const std::pair<float, float> pairs[] = {{0.0131f, 0.0407f},       {0x1p-24f, 0x1.8p-23f},
                                           {0x1.554p-15f, 0x1p-20f}, {12.5f, 0x1p-24f},
                                           {-0.031f, 0.5f},          {1400.0f, 4000.0f}};
  for (const auto& [d, dmin] : pairs) {
    const double D = f16_to_f32(f32_to_f16(d)), M = f16_to_f32(f32_to_f16(dmin));
    const std::string block = scales + q + half(d) + half(dmin);
    const std::vector<float> as_half = repacked(DType::q2_k, block, DType::f16);
    const std::vector<float> as_single = repacked(DType::q2_k, block, DType::f32);
    for (int i = 0; i < 256; ++i) {
      const double exact = D * (i / 16) * (i % 4) - M * (15 - i / 16);
      expect_rounded(as_half[size_t(i)], exact, "element " + std::to_string(i));
      ASSERT_EQ(as_single[size_t(i)], float(exact)) << i;
    }
  }
}

TEST(Repack, Iq4XsIsWithinARoundingInF16) {
  std::string q;
  for (int i = 0; i < 128; ++i) q += char(i % 16 | (15 - i % 16) << 4);
  for (int first = 0; first < 64; first += 8) {
    // Sub-block j has the scale first + j.
    uint16_t high = 0;
    std::string low(4, '\0');
    for (int j = 0; j < 8; ++j) {
      const int scale = first + j;
      low[size_t(j / 2)] = char(low[size_t(j / 2)] | (scale & 15) << (j % 2 * 4));
      high |= uint16_t(scale >> 4 << (2 * j));
    }
    for (const float d : {0.00172f, 0x1p-24f, -15.7f}) {
      const double D = f16_to_f32(f32_to_f16(d));
      const std::string block =
          half(d) + std::string(reinterpret_cast<const char*>(&high), 2) + low + q;
      const std::vector<float> as_half = repacked(DType::iq4_xs, block, DType::f16);
      const std::vector<float> as_single = repacked(DType::iq4_xs, block, DType::f32);
      for (int i = 0; i < 256; ++i) {
        const int e = i % 32, level = kLevels[e < 16 ? e : 31 - e];
        const double exact = D * (first + i / 32 - 32) * level;
        expect_rounded(as_half[size_t(i)], exact, "element " + std::to_string(i));
        ASSERT_EQ(as_single[size_t(i)], float(exact)) << i;
      }
    }
  }
}

TEST(Repack, WhatF16CannotHoldIsSaid) {
  std::string block = std::string(16, '\x0f') + std::string(64, '\xff') + half(1500) + half(0);
  std::vector<std::byte> to(1024);
  const auto as = [&](DType type) {
    return repack(DType::q2_k, reinterpret_cast<const std::byte*>(block.data()), 256, type,
                  to.data());
  };
  EXPECT_FALSE(as(DType::f16));  // 1500 * 15 * 3 = 67500
  EXPECT_TRUE(as(DType::f32));
  float first;
  std::memcpy(&first, to.data(), 4);
  EXPECT_EQ(first, 67500);
  // An infinite scale is nothing that F32 would mend: it stays for the search for damaged weights.
  block = std::string(16, '\x0f') + std::string(64, '\xff') + half(INFINITY) + half(0);
  EXPECT_TRUE(as(DType::f16));
  uint16_t bits;
  std::memcpy(&bits, to.data(), 2);
  EXPECT_TRUE(std::isinf(f16_to_f32(bits)));
}

// Whatever the bytes: the same numbers through the repacked type as directly.
TEST(Repack, AnyBytes) {
  std::mt19937 random(3);
  for (const DType type : kTypes) {
    const int n = 4 * block_elements(type);
    for (int round = 0; round < 200; ++round) {
      std::string bytes(dtype_bytes(type, size_t(n)), '\0');
      for (char& c : bytes) c = char(random());
      const auto* from = reinterpret_cast<const std::byte*>(bytes.data());
      std::vector<float> single(static_cast<size_t>(n)), other(static_cast<size_t>(n));
      ASSERT_TRUE(repack(type, from, n, DType::f32, reinterpret_cast<std::byte*>(single.data())));
      const DType to = repacked_type(type);
      std::vector<std::byte> block(dtype_bytes(to, size_t(n)));
      const bool fits = repack(type, from, n, to, block.data());
      dequantize_row(to, block.data(), n, other.data());
      bool too_large = false;
      for (int i = 0; i < n; ++i) {
        const float x = single[size_t(i)], y = other[size_t(i)];
        if (!std::isfinite(x)) {
          ASSERT_FALSE(std::isfinite(y));
        } else if (repacks_exactly(type)) {
          ASSERT_EQ(x, y);
        } else if (std::isinf(y)) {
          too_large = true;
          ASSERT_GE(std::fabs(x), 65520);
        } else {
          expect_rounded(y, x, dtype_name(type));
        }
      }
      ASSERT_EQ(fits, !too_large);
    }
  }
}

}  // namespace
}  // namespace anser
