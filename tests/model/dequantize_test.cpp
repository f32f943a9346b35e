// Blocks are put together here from the layout table of the format (reference 3.4), weight by
// weight, and the expected value is computed from the numbers that were put in.
#include "model/dequantize.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <random>
#include <vector>

#include "base/half.h"

namespace anser {
namespace {

class Block {
 public:
  explicit Block(size_t bytes) : bytes_(bytes) {}

  void put_half(size_t at, float value) {
    const uint16_t half = f32_to_f16(value);
    ASSERT_EQ(f16_to_f32(half), value) << "the test wants scales that a half can hold";
    bytes_[at] = std::byte(half & 255);
    bytes_[at + 1] = std::byte(half >> 8);
  }
  // `count` bits of byte `at` from bit `shift` on.
  void put_bits(size_t at, int shift, int count, int value) {
    ASSERT_LT(at, bytes_.size());
    const int mask = ((1 << count) - 1) << shift;
    ASSERT_EQ((value << shift) & ~mask, 0) << "too large for its bits";
    ASSERT_EQ(int(bytes_[at]) & mask, 0) << "written twice";
    bytes_[at] |= std::byte(value << shift);
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

class Dequantize : public testing::Test {
 protected:
  int random(int from, int to) { return std::uniform_int_distribution<int>(from, to)(random_); }

  // The block twice in a row, to catch a wrong step from block to block, and at an odd address.
  // Values must agree exactly.
  void expect_values(DType type, const Block& block, const std::vector<double>& expected) {
    const size_t size = block.bytes().size();
    ASSERT_EQ(size_t(block_bytes(type)), size);
    ASSERT_EQ(size_t(block_elements(type)), expected.size());
    std::vector<std::byte> memory(2 * size + 1);
    std::memcpy(memory.data() + 1, block.bytes().data(), size);
    std::memcpy(memory.data() + 1 + size, block.bytes().data(), size);
    std::vector<float> values(2 * expected.size(), -1234.5f);
    dequantize_row(type, memory.data() + 1, int64_t(values.size()), values.data());
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(double(values[i]), expected[i % expected.size()]) << dtype_name(type) << " " << i;
    }
  }

  // Scales of few bits, so that even sums with the minimum are exact and `double` shows their
  // value.
  static constexpr float kScale = 0.375f, kMin = -1.25f;

  std::mt19937 random_{1};
};

TEST_F(Dequantize, Q8_0) {
  Block block(34);
  std::vector<double> expected(32);
  block.put_half(0, kScale);
  for (int i = 0; i < 32; ++i) {
    const int q = i == 0 ? -128 : i == 1 ? 127 : random(-128, 127);
    block.put_bits(2 + i, 0, 8, q & 255);
    expected[i] = kScale * q;
  }
  expect_values(DType::q8_0, block, expected);
}

// The four types of 32 elements in nibbles differ in header, fifth bit and formula.
struct NibbleType {
  DType type;
  bool has_min, has_fifth_bit;
};

TEST_F(Dequantize, TypesOf32Nibbles) {
  for (const NibbleType& t :
       {NibbleType{DType::q4_0, false, false}, NibbleType{DType::q4_1, true, false},
        NibbleType{DType::q5_0, false, true}, NibbleType{DType::q5_1, true, true}}) {
    const int high = t.has_min ? 4 : 2, low = high + (t.has_fifth_bit ? 4 : 0);
    Block block(low + 16);
    std::vector<double> expected(32);
    block.put_half(0, kScale);
    if (t.has_min) block.put_half(2, kMin);
    for (int i = 0; i < 32; ++i) {
      const int q = random(0, t.has_fifth_bit ? 31 : 15);
      block.put_bits(low + i % 16, i < 16 ? 0 : 4, 4, q & 15);
      if (t.has_fifth_bit) block.put_bits(high + i / 8, i % 8, 1, q >> 4);
      const int offset = t.has_min ? 0 : t.has_fifth_bit ? 16 : 8;
      expected[i] = kScale * (q - offset) + (t.has_min ? kMin : 0.0);
    }
    expect_values(t.type, block, expected);
  }
}

TEST_F(Dequantize, Q4KAndQ5K) {
  for (const bool five : {false, true}) {
    Block block(five ? 176 : 144);
    const int scales = 4, high = 16, low = five ? 48 : 16;
    std::vector<double> expected(256);
    block.put_half(0, kScale);
    block.put_half(2, kMin);
    for (int j = 0; j < 8; ++j) {
      // Every bit of scale and minimum is used by one sub-block or another.
      const int scale = j == 0 ? 63 : j == 7 ? 62 : random(0, 63);
      const int min = j == 3 ? 63 : j == 4 ? 61 : random(0, 63);
      if (j < 4) {
        block.put_bits(scales + j, 0, 6, scale);
        block.put_bits(scales + j + 4, 0, 6, min);
      } else {
        block.put_bits(scales + j + 4, 0, 4, scale & 15);
        block.put_bits(scales + j + 4, 4, 4, min & 15);
        block.put_bits(scales + j - 4, 6, 2, scale >> 4);
        block.put_bits(scales + j, 6, 2, min >> 4);
      }
      for (int e = 0; e < 32; ++e) {
        const int q = random(0, five ? 31 : 15);
        block.put_bits(low + 32 * (j / 2) + e, j % 2 == 0 ? 0 : 4, 4, q & 15);
        if (five) block.put_bits(high + e, j, 1, q >> 4);
        expected[32 * j + e] = double(kScale) * scale * q - double(kMin) * min;
      }
    }
    expect_values(five ? DType::q5_k : DType::q4_k, block, expected);
  }
}

TEST_F(Dequantize, Q6K) {
  Block block(210);
  std::vector<double> expected(256);
  block.put_half(208, kScale);
  int scale[16];
  for (int i = 0; i < 16; ++i) {
    scale[i] = i == 0 ? -128 : i == 1 ? 127 : random(-128, 127);
    block.put_bits(192 + i, 0, 8, scale[i] & 255);
  }
  for (int half = 0; half < 2; ++half) {
    const int ql = 64 * half, qh = 128 + 32 * half;
    for (int e = 0; e < 32; ++e) {
      for (int part = 0; part < 4; ++part) {
        const int q = random(0, 63), weight = 32 * part + e;
        block.put_bits(ql + (part % 2 == 1 ? 32 : 0) + e, part < 2 ? 0 : 4, 4, q & 15);
        block.put_bits(qh + e, 2 * part, 2, q >> 4);
        expected[128 * half + weight] = double(kScale) * scale[8 * half + weight / 16] * (q - 32);
      }
    }
  }
  expect_values(DType::q6_k, block, expected);
}

TEST_F(Dequantize, PlainTypes) {
  const float f32[] = {1.5f, -2e-40f, 3e38f};
  float to[3];
  dequantize_row(DType::f32, reinterpret_cast<const std::byte*>(f32), 3, to);
  EXPECT_EQ(std::memcmp(f32, to, sizeof(to)), 0);

  const uint16_t halves[] = {0x3c00, 0x0001, 0xc100};
  dequantize_row(DType::f16, reinterpret_cast<const std::byte*>(halves), 3, to);
  EXPECT_EQ(to[0], 1.0f);
  EXPECT_EQ(to[1], 0x1p-24f);
  EXPECT_EQ(to[2], -2.5f);

  const uint16_t bf16[] = {0x3f80, 0x0001, 0xc020};
  dequantize_row(DType::bf16, reinterpret_cast<const std::byte*>(bf16), 3, to);
  EXPECT_EQ(to[0], 1.0f);
  EXPECT_EQ(std::bit_cast<uint32_t>(to[1]), 0x10000u);
  EXPECT_EQ(to[2], -2.5f);
}

TEST_F(Dequantize, NothingIsWrittenForNoElements) {
  for (int type = 0; type < kMatrixTypes; ++type) {
    float untouched = 7;
    dequantize_row(DType(type), nullptr, 0, &untouched);
    EXPECT_EQ(untouched, 7);
  }
}

}  // namespace
}  // namespace anser
