// Every stored weight is the nearest value that its block has, and the blocks' scales lose no more
// than plain ones do.
#include "model/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "base/half.h"
#include "model/blocks.h"
#include "model/dequantize.h"
#include "support/writers.h"

namespace anser {
namespace {

using Values = std::vector<float>;

constexpr DType kTypes[] = {DType::q8_0, DType::q4_0, DType::q5_0,
                            DType::q4_k, DType::q5_k, DType::q6_k};

std::vector<std::byte> quantized(DType type, const Values& x) {
  std::vector<std::byte> bytes(dtype_bytes(type, x.size()));
  quantize_row(type, x.data(), int64_t(x.size()), bytes.data());
  return bytes;
}

Values dequantized(DType type, const std::vector<std::byte>& bytes, size_t n) {
  Values y(n);
  dequantize_row(type, bytes.data(), int64_t(n), y.data());
  return y;
}

Values there_and_back(DType type, const Values& x) {
  return dequantized(type, quantized(type, x), x.size());
}

double squared_error(const Values& x, const auto& y) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += (double(x[i]) - y[i]) * (double(x[i]) - y[i]);
  return sum;
}

// The values that a group of a block can have: scale * (low ... high) - min.
struct Grid {
  double scale, min;
  int low, high;
};

// The group that element e of a block is in; read from the block with the layout table (blocks.h).
Grid grid_of(DType type, const std::byte* bytes, int e) {
  const auto half = [&](size_t at) {
    uint16_t bits;
    std::memcpy(&bits, bytes + at, 2);
    return double(f16_to_f32(bits));
  };
  switch (type) {
    case DType::q8_0:
      return {half(0), 0, -127, 127};
    case DType::q4_0:
      return {half(0), 0, -8, 7};
    case DType::q5_0:
      return {half(0), 0, -16, 15};
    case DType::q6_k:
      return {half(208) * int8_t(bytes[192 + e / 16]), 0, -32, 31};
    default: {
      const auto b = [&](int i) { return int(bytes[4 + i]); };
      const int j = e / 32;
      const int scale = j < 4 ? b(j) % 64 : b(j + 4) % 16 + 16 * (b(j - 4) / 64);
      const int min = j < 4 ? b(j + 4) % 64 : b(j + 4) / 16 + 16 * (b(j) / 64);
      return {half(0) * scale, half(2) * min, 0, type == DType::q4_k ? 15 : 31};
    }
  }
}

// Kinds of rows as they occur, and as they might.
struct Row {
  const char* name;
  Values values;
};

std::vector<Row> rows() {
  constexpr size_t kSize = 4096;
  std::mt19937 random(1);
  const auto filled = [&](const std::function<double()>& value) {
    Values x(kSize);
    for (float& v : x) v = float(value());
    return x;
  };
  std::normal_distribution<double> normal;
  std::student_t_distribution<double> heavy(3);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<Row> rows = {
      {"normal", filled([&] { return 0.02 * normal(random); })},
      {"heavy tails", filled([&] { return 0.02 * heavy(random); })},
      {"uniform", filled([&] { return uniform(random); })},
      {"positive", filled([&] { return 3 + 0.1 * normal(random); })},
      {"negative", filled([&] { return -3 + 0.1 * normal(random); })},
      {"half zero", filled([&] { return std::max(0.0, normal(random)); })},
      {"as large as may be", filled([&] { return 65504 * uniform(random); })},
      // Scales among the subnormal halves.
      {"small", filled([&] { return 1e-5 * normal(random); })},
      {"tiny", filled([&] { return 1e-7 * normal(random); })},
      {"below any half", filled([&] { return 1e-30 * normal(random); })},
      {"subnormal", filled([&] { return 1e-40 * normal(random); })},
      {"zero", Values(kSize, 0.0f)},
      {"constant", Values(kSize, -0.37f)},
  };
  Values lonely(kSize, 0.0f), outlier = rows[0].values;
  for (size_t i = 0; i < kSize; i += 61) lonely[i] = float(normal(random));
  for (size_t i = 0; i < kSize; i += 97) outlier[i] *= 50;
  rows.push_back({"mostly zero", lonely});
  rows.push_back({"outliers", outlier});
  return rows;
}

TEST(Quantize, EveryWeightIsTheNearestValueOfItsGroup) {
  for (const Row& row : rows()) {
    for (const DType type : kTypes) {
      SCOPED_TRACE(std::string(row.name) + " as " + dtype_name(type));
      const auto bytes = quantized(type, row.values);
      const Values y = dequantized(type, bytes, row.values.size());
      const int block = block_elements(type);
      for (size_t i = 0; i < y.size(); ++i) {
        const Grid grid =
            grid_of(type, bytes.data() + i / block * size_t(block_bytes(type)), int(i) % block);
        const double step = std::fabs(grid.scale);
        const double a = grid.scale * grid.low - grid.min, b = grid.scale * grid.high - grid.min;
        // Beyond the last value, the last value; else within half a step. fp32 computes x / scale
        // with three roundings of numbers up to `high`, which may take it over the middle.
        const double nearest = std::clamp(double(row.values[i]), std::min(a, b), std::max(a, b));
        const double rounding = 0x1p-21 * (std::fabs(grid.min) + 2 * grid.high * step);
        ASSERT_LE(std::fabs(y[i] - nearest), step / 2 + rounding)
            << "element " << i << ": " << row.values[i] << " became " << y[i];
        // Q8_0 cuts nothing off.
        if (type == DType::q8_0) {
          ASSERT_LE(std::fabs(y[i] - row.values[i]), step / 2 + rounding) << i;
        }
      }
    }
  }
}

support::Ggml ggml_type(DType type) {
  switch (type) {
    case DType::q8_0:
      return support::Ggml::q8_0;
    case DType::q4_0:
      return support::Ggml::q4_0;
    case DType::q5_0:
      return support::Ggml::q5_0;
    case DType::q4_k:
      return support::Ggml::q4_k;
    case DType::q5_k:
      return support::Ggml::q5_k;
    default:
      return support::Ggml::q6_k;
  }
}

// Plain: scales that just cover the weights, rounded to nearest.
TEST(Quantize, SearchedScalesLoseNoMoreThanPlainOnes) {
  for (const Row& row : rows()) {
    for (const DType type : kTypes) {
      const int block = block_elements(type);
      for (size_t at = 0; at < row.values.size(); at += size_t(block)) {
        const Values x(row.values.begin() + long(at), row.values.begin() + long(at) + block);
        std::vector<double> plain;
        support::pack(ggml_type(type), {x.begin(), x.end()}, plain);
        const double ours = squared_error(x, there_and_back(type, x));
        const double theirs = squared_error(x, plain);
        // The error of rounding in fp32 is that of one part in 2^24 of x, and is in both.
        double energy = 0;
        for (const float v : x) energy += double(v) * v;
        // Q8_0 of weights so small that its scale is a subnormal half: plain cuts off the largest
        // where we take the next scale. Either may be better.
        const bool rounding_up = type == DType::q8_0 && energy < 1e-5;
        if (!rounding_up) {
          ASSERT_LE(ours, theirs * (1 + 1e-5) + 1e-12 * energy)
              << row.name << " as " << dtype_name(type) << " at " << at;
        }
      }
    }
  }
}

// By how much, for weights like those of models; and so that no change makes it worse unseen. The
// figures are those of the search itself plus 1 %.
TEST(Quantize, NormalWeightsLoseThisMuch) {
  const Row normal = rows()[0];
  double energy = 0;
  for (const float v : normal.values) energy += double(v) * v;
  const auto relative = [&](const auto& y) {
    return std::sqrt(squared_error(normal.values, y) / energy);
  };
  const std::pair<DType, double> limits[] = {{DType::q8_0, 0.00541}, {DType::q6_k, 0.0169},
                                             {DType::q5_k, 0.0350},  {DType::q5_0, 0.0406},
                                             {DType::q4_k, 0.0709},  {DType::q4_0, 0.0820}};
  for (const auto& [type, limit] : limits) {
    EXPECT_LT(relative(there_and_back(type, normal.values)), limit) << dtype_name(type);
    std::vector<double> plain;
    support::pack(ggml_type(type), {normal.values.begin(), normal.values.end()}, plain);
    if (type == DType::q8_0) continue;  // has no search
    EXPECT_LT(limit, 0.95 * relative(plain)) << dtype_name(type);
  }
}

// Values that are on a grid whose ends occur are found again: no type invents noise.
TEST(Quantize, ValuesOfABlockAreFoundAgain) {
  std::mt19937 random(2);
  const auto code = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  const auto expect_same = [](DType type, const Values& x) {
    EXPECT_EQ(there_and_back(type, x), x) << dtype_name(type);
  };
  for (const auto& [type, low, high] :
       {std::tuple(DType::q8_0, -127, 127), {DType::q4_0, -8, 7}, {DType::q5_0, -16, 15}}) {
    Values x(32);
    for (float& v : x) v = 0.375f * float(code(low, high));
    x[5] = 0.375f * float(low);
    x[20] = 0.375f * float(high);
    expect_same(type, x);
  }
  for (const auto& [type, high] : {std::pair(DType::q4_k, 15), {DType::q5_k, 31}}) {
    Values x(256);
    for (int j = 0; j < 8; ++j) {
      const int scale = j == 3 ? 63 : code(1, 63), min = j == 6 ? 63 : code(0, 63);
      for (int i = 0; i < 32; ++i) {
        const int q = i == 0 ? 0 : i == 1 ? high : code(0, high);
        x[size_t(32 * j + i)] = 0.25f * float(scale * q) - 0.5f * float(min);
      }
    }
    expect_same(type, x);
  }
  Values x(256);
  for (int j = 0; j < 16; ++j) {
    const int scale = j == 9 ? 127 : code(1, 127);
    for (int i = 0; i < 16; ++i) {
      const int q = i == 0 ? -32 : code(-32, 31);
      x[size_t(16 * j + i)] = 0.25f * float(scale * q);
    }
  }
  expect_same(DType::q6_k, x);
}

TEST(Quantize, ABlockDependsOnItsOwnWeightsOnly) {
  const Values x = rows()[1].values;
  for (const DType type : kTypes) {
    const auto whole = quantized(type, x);
    EXPECT_EQ(whole, quantized(type, x));
    const size_t block = size_t(block_elements(type)), size = size_t(block_bytes(type));
    for (size_t b = 0; b < x.size() / block; ++b) {
      const Values one(x.begin() + long(b * block), x.begin() + long((b + 1) * block));
      const auto bytes = quantized(type, one);
      ASSERT_TRUE(std::equal(bytes.begin(), bytes.end(), whole.begin() + long(b * size)))
          << dtype_name(type) << " block " << b;
    }
  }
}

TEST(Quantize, FloatTypesRoundToNearest) {
  const Values x = {0.0f, -1.0f, 1.0f / 3, 65504.0f, 6e-8f, 1e-30f};
  EXPECT_EQ(there_and_back(DType::f32, x), x);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(there_and_back(DType::f16, x)[i], f16_to_f32(f32_to_f16(x[i])));
    EXPECT_EQ(there_and_back(DType::bf16, x)[i], bf16_to_f32(f32_to_bf16(x[i])));
  }
  EXPECT_NEAR(there_and_back(DType::f16, x)[2], 1.0 / 3, 0x1p-13);
  EXPECT_NEAR(there_and_back(DType::bf16, x)[2], 1.0 / 3, 0x1p-10);
}

TEST(Quantize, TheLargestWeightOfATypeStaysFinite) {
  for (int t = 0; t < kMatrixTypes; ++t) {
    const DType type = DType(t);
    if (!can_quantize_to(type)) continue;
    const float most = largest_weight(type);
    const Values y = there_and_back(type, Values(256, -most));
    for (const float v : y) ASSERT_NEAR(v / -most, 1, 0.01) << dtype_name(type);
  }
  EXPECT_FALSE(can_quantize_to(DType::q4_1));
  EXPECT_FALSE(can_quantize_to(DType::q5_1));
}

}  // namespace
}  // namespace anser
