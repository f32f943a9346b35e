// Products of integers and the codes that go into them, against double precision. Through launchers
// and cuda/runtime.h only, so that it runs on a GPU, too.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "cuda/encode.h"
#include "cuda/kernels.h"
#include "cuda/runtime.h"
#include "device_memory.h"
#include "support/writers.h"

namespace anser::cuda {
namespace {

using support::Ggml;

constexpr Card kSmallCard = {1, 64 * 1024}, kLargeCard = {1000, 64 * 1024};

// A matrix in the device's layout, and on the device.
struct Encoded {
  EncodedLayout layout;
  std::vector<std::byte> bytes;
  Buffer memory;

  Encoded(Stream& stream, const EncodedLayout& layout, std::vector<std::byte> given)
      : layout(layout), bytes(std::move(given)), memory(on_device(stream, bytes)) {}

  DeviceMatrix matrix() const {
    DeviceMatrix m = layout.matrix;
    m.codes = memory.data();
    m.scales = memory.as<uint16_t>(layout.scales_at);
    if (layout.minima_at > 0) m.minima = memory.as<uint16_t>(layout.minima_at);
    return m;
  }
  int code(int output, int input) const {
    const DeviceMatrix& m = layout.matrix;
    const int64_t at =
        m.transposed ? int64_t(input) * m.stride + output : int64_t(output) * m.stride + input;
    if (m.format == Format::bytes) return int(int8_t(bytes[size_t(at)]));
    return int(bytes[size_t(at / 8 * 4 + at % 4)]) >> at % 8 / 4 * 4 & 15;
  }
  double scale(int output, int group) const { return number(layout.scales_at, output, group); }
  double minimum(int output, int group) const {
    return layout.minima_at > 0 ? number(layout.minima_at, output, group) : 0;
  }

 private:
  double number(size_t region, int output, int group) const {
    const DeviceMatrix& m = layout.matrix;
    const int64_t at = m.transposed ? int64_t(group) * m.stride + output
                                    : int64_t(output) * (m.stride / m.group) + group;
    return f16_to_f32(reinterpret_cast<const uint16_t*>(bytes.data() + region)[at]);
  }
};

DType dtype_of(Ggml type) {
  switch (type) {
    case Ggml::q4_0:
      return DType::q4_0;
    case Ggml::q4_1:
      return DType::q4_1;
    case Ggml::q5_0:
      return DType::q5_0;
    case Ggml::q5_1:
      return DType::q5_1;
    case Ggml::q4_k:
      return DType::q4_k;
    case Ggml::q5_k:
      return DType::q5_k;
    case Ggml::q6_k:
      return DType::q6_k;
    default:
      return DType::q8_0;
  }
}
constexpr Ggml kTypes[] = {Ggml::q8_0, Ggml::q4_0, Ggml::q4_1, Ggml::q5_0,
                           Ggml::q5_1, Ggml::q4_k, Ggml::q5_k, Ggml::q6_k};

Encoded random_matrix(Stream& stream, Ggml type, int outputs, int inputs, bool across) {
  std::mt19937_64 engine(uint64_t(outputs + inputs));
  std::normal_distribution<double> normal;
  std::vector<double> values(size_t(outputs) * inputs), stored;
  for (double& value : values) value = normal(engine);
  const std::string blocks = support::pack(type, values, stored);
  Matrix W;
  W.data = reinterpret_cast<const std::byte*>(blocks.data());
  W.type = dtype_of(type);
  W.rows = outputs;
  W.cols = inputs;
  const EncodedLayout layout = encoded_layout(W, across);
  std::vector<std::byte> bytes(layout.bytes);
  ThreadPool pool(1);
  encode(W, layout, bytes.data(), pool);
  return Encoded(stream, layout, std::move(bytes));
}

std::vector<float> random_numbers(int count, uint64_t seed = 1) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> made(static_cast<size_t>(count));
  for (float& x : made) x = normal(engine);
  return made;
}

// Rows of activations as codes, on the device and here.
struct Coded {
  Buffer memory;
  std::vector<int8_t> codes;
  std::vector<float> pairs;  // scale, scale * sum

  Coded(Stream& stream, const std::vector<float>& x)
      : memory(x.size() + x.size() / kCodeGroup * 2 * sizeof(float)) {
    const Buffer from = on_device(stream, x);
    convert(stream.handle(), {from.as<float>(), memory.data(), int64_t(x.size()), Format::bytes});
    const auto bytes = from_device<int8_t>(stream, memory, memory.bytes());
    codes.assign(bytes.begin(), bytes.begin() + ptrdiff_t(x.size()));
    pairs.resize(x.size() / kCodeGroup * 2);
    std::memcpy(pairs.data(), bytes.data() + x.size(), pairs.size() * sizeof(float));
  }
};

// y += or = W x on the device.
std::vector<float> multiply(Stream& stream, const Encoded& W, const Coded& x, int rows,
                            const Card& card, const std::vector<float>* before = nullptr) {
  const size_t count = size_t(rows) * size_t(W.layout.matrix.rows);
  const Buffer y = on_device(stream, before != nullptr ? *before : std::vector<float>(count, NAN));
  IntegersArgs args;
  args.segments[0] = {W.matrix(), x.memory.data(), y.as<float>(),
                      before != nullptr ? Epilogue::add : Epilogue::store};
  args.count = 1;
  args.rows = rows;
  integers(stream.handle(), args, card);
  return from_device<float>(stream, y, count);
}

// The sums of integers are exact; what rounds is scaling, adding up, and the scaled sum of codes:
// at most 2^-24 of what has been added up, for each term and twice for each itself.
void expect_product(const Encoded& W, const Coded& x, int rows, const std::vector<float>& y,
                    bool exact = false) {
  const DeviceMatrix& m = W.layout.matrix;
  for (int row = 0; row < rows; ++row) {
    for (int output = 0; output < m.rows; ++output) {
      double sum = 0, magnitude = 0;
      int terms = 0;
      const auto add = [&](double term) {
        sum += term;
        magnitude += std::fabs(term);
        ++terms;
      };
      for (int group = 0; group < m.cols / m.group; ++group) {
        int64_t product = 0, codes = 0;
        for (int i = group * m.group; i < (group + 1) * m.group; ++i) {
          const int code = x.codes[size_t(row) * size_t(m.cols) + size_t(i)];
          product += code * W.code(output, i);
          codes += code;
        }
        const size_t first = size_t(row) * size_t(m.cols) + size_t(group * m.group);
        const double scale = x.pairs[first / kCodeGroup * 2];
        add(W.scale(output, group) * scale * double(product));
        if (W.layout.minima_at > 0) {
          add(-W.minimum(output, group) * scale * double(codes));
        }
      }
      const float actual = y[size_t(row) * size_t(m.rows) + size_t(output)];
      const double tolerance = exact ? 0 : (terms + 2) * 0x1p-24 * magnitude;
      ASSERT_LE(std::fabs(actual - sum), tolerance)
          << "row " << row << ", output " << output << ": " << actual << " instead of " << sum;
    }
  }
}

TEST(Codes, AreWhatTheCpuMakes) {
  Stream stream;
  std::vector<float> x = random_numbers(37 * 32);
  std::fill_n(x.begin(), 32, 0.0f);
  x[32] = 1e-38f, x[33] = -1e4f;
  std::fill_n(x.begin() + 64, 32, -3e-39f);
  const Coded coded(stream, x);
  for (size_t group = 0; group < x.size() / 32; ++group) {
    float largest = 0;
    for (size_t i = 32 * group; i < 32 * group + 32; ++i) {
      largest = std::max(largest, std::fabs(x[i]));
    }
    const float inverse = largest > 1e-35f ? 127 / largest : 0;
    int sum = 0;
    for (size_t i = 32 * group; i < 32 * group + 32; ++i) {
      ASSERT_EQ(coded.codes[i], int(std::nearbyint(x[i] * inverse))) << i;
      sum += coded.codes[i];
    }
    ASSERT_EQ(coded.pairs[2 * group], largest / 127);
    ASSERT_EQ(coded.pairs[2 * group + 1], largest / 127 * float(sum));
  }
}

TEST(Codes, WhatIsNotFiniteMakesItsRowSo) {
  Stream stream;
  const Encoded W = random_matrix(stream, Ggml::q5_1, 20, 64, false);
  std::vector<float> x = random_numbers(4 * 64);
  x[64 + 5] = NAN;
  x[2 * 64 + 40] = -std::numeric_limits<float>::infinity();
  const std::vector<float> y = multiply(stream, W, Coded(stream, x), 4, kSmallCard);
  for (size_t i = 0; i < y.size(); ++i) {
    EXPECT_EQ(std::isfinite(y[i]), i / 20 == 0 || i / 20 == 3) << i;
  }
}

TEST(Integers, EveryTypeAtOddSizes) {
  struct Size {
    int outputs, inputs, rows;
  };
  Stream stream;
  for (const Ggml type : kTypes) {
    const bool k_type = type == Ggml::q4_k || type == Ggml::q5_k || type == Ggml::q6_k;
    const Size sizes[] = {{37, k_type ? 256 : 96, 1},
                          {133, 256, 67},
                          {260, k_type ? 256 : 32, 9},
                          {129, k_type ? 256 : 160, 200}};
    for (const auto& [outputs, inputs, rows] : sizes) {
      for (const bool across : {false, true}) {
        SCOPED_TRACE(std::string(support::ggml_name(type)) + ", " + std::to_string(outputs) +
                     " x " + std::to_string(inputs) + ", rows " + std::to_string(rows) +
                     (across ? ", transposed" : ""));
        const Encoded W = random_matrix(stream, type, outputs, inputs, across);
        const Coded x(stream, random_numbers(rows * inputs));
        expect_product(W, x, rows, multiply(stream, W, x, rows, kSmallCard));
      }
    }
  }
}

// Scales are powers of two and sums below 2^24: then nothing rounds at all.
TEST(Integers, LoseNothingWithinAGroup) {
  constexpr int kOutputs = 40, kInputs = 192, kRows = 20;
  Stream stream;
  std::mt19937_64 engine(1);
  std::vector<float> x(kRows * kInputs);
  for (size_t i = 0; i < x.size(); ++i) {
    // Codes as large as they get; 127 in every group.
    const int code = i % 32 == 0 ? 127 : int(engine() % 255) - 127;
    x[i] = float(code) * (i / 32 % 2 == 0 ? 0.5f : 1.0f);
  }
  const Coded coded(stream, x);
  for (const Ggml type : kTypes) {
    if (type == Ggml::q4_k || type == Ggml::q5_k || type == Ggml::q6_k) continue;
    for (const bool across : {false, true}) {
      SCOPED_TRACE(support::ggml_name(type));
      const Encoded random = random_matrix(stream, type, kOutputs, kInputs, across);
      std::vector<std::byte> bytes = random.bytes;
      if (type == Ggml::q8_0) {
        for (size_t i = 0; i < bytes.size() / 2; ++i)
          bytes[i] = std::byte(engine() % 2 == 0 ? 128 : 127);
      }
      const size_t end = random.layout.minima_at > 0 ? random.layout.minima_at : bytes.size();
      for (size_t at = random.layout.scales_at; at < bytes.size(); at += 2) {
        const uint16_t number = f32_to_f16(at < end && engine() % 2 == 0 ? 2.0f : 1.0f);
        std::memcpy(bytes.data() + at, &number, 2);
      }
      const Encoded W(stream, random.layout, std::move(bytes));
      expect_product(W, coded, kRows, multiply(stream, W, coded, kRows, kSmallCard), true);
    }
  }
}

TEST(Integers, RowsAndCardsChangeNoBit) {
  constexpr int kOutputs = 150, kInputs = 128, kRows = 131;
  Stream stream;
  const std::vector<float> x = random_numbers(kRows * kInputs);
  for (const Ggml type : {Ggml::q8_0, Ggml::q4_0}) {
    for (const bool across : {false, true}) {
      const Encoded W = random_matrix(stream, type, kOutputs, kInputs, across);
      const Coded coded(stream, x);
      const std::vector<float> whole = multiply(stream, W, coded, kRows, kSmallCard);
      EXPECT_EQ(multiply(stream, W, coded, kRows, kLargeCard), whole);
      for (const auto& [first, count] : {std::pair(0, 1), std::pair(5, 64), std::pair(60, 70)}) {
        const Coded part(stream,
                         {x.begin() + first * kInputs, x.begin() + (first + count) * kInputs});
        const std::vector<float> expected(whole.begin() + first * kOutputs,
                                          whole.begin() + (first + count) * kOutputs);
        EXPECT_EQ(multiply(stream, W, part, count, kSmallCard), expected);
      }
    }
  }
}

TEST(Integers, SeveralMatricesAndAdding) {
  constexpr int kInputs = 256, kRows = 70;
  Stream stream;
  const std::vector<float> x = random_numbers(kRows * kInputs);
  const Coded coded(stream, x), other(stream, random_numbers(kRows * kInputs, 2));
  const Encoded matrices[] = {random_matrix(stream, Ggml::q4_k, 130, kInputs, false),
                              random_matrix(stream, Ggml::q6_k, 65, kInputs, false),
                              random_matrix(stream, Ggml::q8_0, 300, kInputs, false)};
  const Coded* inputs[] = {&coded, &other, &coded};
  IntegersArgs args;
  args.count = 3;
  args.rows = kRows;
  std::vector<Buffer> y;
  for (int i = 0; i < 3; ++i) {
    const size_t count = size_t(kRows) * size_t(matrices[i].layout.matrix.rows);
    y.push_back(on_device(stream, std::vector<float>(count, i == 1 ? 100.0f : NAN)));
    args.segments[i] = {matrices[i].matrix(), inputs[i]->memory.data(), y[size_t(i)].as<float>(),
                        i == 1 ? Epilogue::add : Epilogue::store};
  }
  integers(stream.handle(), args, kSmallCard);
  for (int i = 0; i < 3; ++i) {
    const size_t count = y[size_t(i)].bytes() / sizeof(float);
    std::vector<float> expected = multiply(stream, matrices[i], *inputs[i], kRows, kLargeCard);
    if (i == 1) {
      for (float& e : expected) e = 100 + e;
    }
    EXPECT_EQ(from_device<float>(stream, y[size_t(i)], count), expected) << i;
  }
}

}  // namespace
}  // namespace anser::cuda
