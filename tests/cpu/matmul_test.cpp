// The matrix product of every table and type: against double precision, and bit for bit against
// itself in all the ways that must not matter.
#include "base/aligned_buffer.h"
#include "cpu/kernels_support.h"
#include "cpu/packed.h"

namespace anser {
namespace {

struct Problem {
  DType type;
  int cols, outputs, rows;
};

// A matrix in its file's layout, in the kernels', and as numbers.
struct Weights {
  std::vector<std::byte> file;
  AlignedBuffer<std::byte> packed;
  std::vector<float> values;  // [outputs][cols]
};

// Relative error of z with regard to the sum of its products' magnitudes. Plain types: 256 products
// are summed one after the other, and then these sums; each addition multiplies by 1 + d, |d| <=
// kUnit, and so does a product's own rounding where multiply-add is not fused. Quantised types:
// codes are summed exactly; a block is scaled by a rounded product of two scales (each rounded
// itself where it is a product: 3 factors), and is added like any other. The minimum is a term of
// its own, hence twice the blocks.
double sum_error(DType type, int cols) {
  const int additions = block_elements(type) == 1 ? std::min(cols, 256) + (cols + 255) / 256 + 1
                                                  : 4 * ((cols + 31) / 32) + 5;
  return 1.01 * kUnit * additions;
}

class Matmul : public KernelsTest {
 protected:
  struct Data {
    Weights w;
    std::vector<float> x, y, bias;
  };

  Weights random_weights(const Problem& p) {
    Weights w;
    w.file = weights(p.type, size_t(p.outputs) * p.cols);
    w.values.resize(size_t(p.outputs) * p.cols);
    dequantize_row(p.type, w.file.data(), int64_t(w.values.size()), w.values.data());
    pack(p, w);
    return w;
  }

  static void pack(const Problem& p, Weights& w) {
    Matrix m;
    m.data = w.file.data();
    m.type = p.type;
    m.rows = p.outputs;
    m.cols = p.cols;
    w.packed = AlignedBuffer<std::byte>(packed_bytes(m));
    for (int o = 0; o < p.outputs; o += kTileOutputs) pack_tile(m, o, w.packed.data());
  }

  Data random_data(const Problem& p) {
    // x of mixed sign and size; y is what stood in memory before.
    return {random_weights(p), normals(size_t(p.rows) * p.cols),
            normals(size_t(p.rows) * p.outputs), normals(p.outputs)};
  }

  // x as the kernels take it, and as the numbers that they then compute with.
  struct Quantised {
    Quantised(const Kernels& table, const Problem& p, const std::vector<float>& x)
        : numbers(x), q(x.size() * table.activation_bytes), d(x.size() / 32), sums(x.size() / 16) {
      if (block_elements(p.type) == 1) return;
      table.quantise(x.data(), int(x.size()), q.data(), d.data(), sums.data());
      for (size_t i = 0; i < x.size(); ++i) {
        int16_t wide = 0;
        std::memcpy(&wide, &q[i * table.activation_bytes], table.activation_bytes);
        numbers[i] = float(double(d[i / 32]) * (table.activation_bytes == 1 ? int8_t(wide) : wide));
      }
    }
    QuantisedRows rows() const { return {q.data(), d.data(), sums.data()}; }

    std::vector<float> numbers;
    std::vector<std::byte> q;
    std::vector<float> d;
    std::vector<int32_t> sums;
  };

  static std::vector<float> multiply(const Kernels& table, const Problem& p, const Data& data,
                                     Epilogue epilogue, int begin = 0, int end = -1,
                                     float density = 1, bool bias = true) {
    const Quantised x(table, p, data.x);
    std::vector<float> y = data.y;
    table.matmul[int(p.type)]({.weights = data.w.packed.data(),
                               .inputs = p.cols,
                               .outputs = p.outputs,
                               .begin = begin,
                               .end = end < 0 ? p.outputs : end,
                               .x = data.x.data(),
                               .quantised = x.rows(),
                               .y = y.data(),
                               .rows = p.rows,
                               .bias = bias ? data.bias.data() : nullptr,
                               .epilogue = epilogue,
                               .density = density});
    return y;
  }

  void expect_close(const Problem& p, const Data& data, Epilogue epilogue, bool bias,
                    const std::vector<float>& y) {
    const std::vector<float> x = Quantised(kernels(), p, data.x).numbers;
    for (int t = 0; t < p.rows; ++t) {
      for (int o = 0; o < p.outputs; ++o) {
        double z = bias ? data.bias[o] : 0, magnitude = std::abs(z);
        for (int i = 0; i < p.cols; ++i) {
          const double term =
              double(data.w.values[size_t(o) * p.cols + i]) * x[size_t(t) * p.cols + i];
          z += term;
          magnitude += std::abs(term);
        }
        // A block with a minimum is the difference of two sums that may each be larger.
        if (block_elements(p.type) > 1) magnitude += spread(p, data, x, t, o);
        // The bias is one more addition.
        const double error = (sum_error(p.type, p.cols) + kUnit) * magnitude;
        const size_t at = size_t(t) * p.outputs + o;
        const double expected = epilogue_reference(epilogue, z, data.y[at]);
        // An epilogue carries the error of z on by its slope and adds its own, see functions_test.
        double tolerance = error;
        switch (epilogue) {
          case Epilogue::store:
            break;
          case Epilogue::add:
            tolerance += kUnit * (std::abs(expected) + error);
            break;
          case Epilogue::tanh:  // slope <= 1
            tolerance += 6 * kUnit;
            break;
          case Epilogue::sigmoid:
            tolerance = error / 4 + 4 * kUnit;
            break;
          case Epilogue::relu_squared:
            tolerance = 2 * std::abs(z) * error + error * error + 1.01 * kUnit * z * z;
            break;
          case Epilogue::decay:  // 0.61 of the sigmoid's slope
            tolerance = error / 6 + 5.1 * kUnit;
            break;
        }
        ASSERT_LE(std::abs(y[at] - expected), tolerance + 1e-40)
            << dtype_name(p.type) << " " << p.outputs << "x" << p.cols << " token " << t
            << " output " << o << ": " << y[at] << " for " << expected;
      }
    }
  }

  // Sum over the blocks of |sum of x| times the spread of the block's weights: a bound of what its
  // minimum adds, which the products of the codes then take away again.
  static double spread(const Problem& p, const Data& data, const std::vector<float>& x, int t,
                       int o) {
    double total = 0;
    for (int i = 0; i < p.cols; i += 32) {
      double most = 0, sum = 0;
      for (int k = i; k < i + 32; ++k) {
        most = std::max(most, std::abs(double(data.w.values[size_t(o) * p.cols + k])));
        sum += std::abs(x[size_t(t) * p.cols + k]);
      }
      total += 2 * most * sum;
    }
    return total;
  }
};

std::vector<int> columns(DType type) {
  switch (block_elements(type)) {
    case 1:
      return {1, 2, 15, 16, 17, 33, 63, 64, 65, 100, 256, 768, 1024, 1025, 2100};
    case 32:
      return {32, 64, 96, 256, 288, 768, 1024, 1056, 2080};
    default:
      return {256, 512, 768, 1024, 1280, 2304};
  }
}

TEST_P(Matmul, IsTheProduct) {
  for (int type = 0; type < kMatrixTypes; ++type) {
    for (const int cols : columns(DType(type))) {
      for (const int rows : {1, 3, 7, 17}) {
        const Problem p = {DType(type), cols, uniform_int(1, 150), rows};
        const Data data = random_data(p);
        ASSERT_NO_FATAL_FAILURE(expect_close(p, data, Epilogue::store, true,
                                             multiply(kernels(), p, data, Epilogue::store)));
      }
    }
  }
}

TEST_P(Matmul, EveryEpilogueWithAndWithoutBias) {
  for (const int rows : {1, 2, 5, 16}) {
    for (const Epilogue epilogue : kEpilogues) {
      for (const bool bias : {false, true}) {
        const Problem p = {DType::f16, 65, 83, rows};
        Data data = random_data(p);
        for (float& x : data.x) x /= 4;  // sums of a few units, where the functions bend
        ASSERT_NO_FATAL_FAILURE(expect_close(
            p, data, epilogue, bias, multiply(kernels(), p, data, epilogue, 0, -1, 1, bias)))
            << int(epilogue);
      }
    }
  }
}

// A token's results must be the same bits whichever tokens it is computed with.
TEST_P(Matmul, BitsDoNotDependOnTheNumberOfRows) {
  for (int type = 0; type < kMatrixTypes; ++type) {
    const int cols = block_elements(DType(type)) == 1 ? 1063 : 1280;
    const int most = 299;  // more than the kernels' block of tokens
    const Problem all = {DType(type), cols, 21, most};
    const Data data = random_data(all);
    const std::vector<float> y = multiply(kernels(), all, data, Epilogue::add);
    for (const int rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 33, 256, 257, 299}) {
      // From the end, so that a token's place in its block differs too.
      const int skipped = most - rows;
      Problem p = all;
      p.rows = rows;
      Data some;
      some.w.file = data.w.file;
      pack(p, some.w);
      some.bias = data.bias;
      some.x = {data.x.begin() + size_t(skipped) * cols, data.x.end()};
      some.y = {data.y.begin() + size_t(skipped) * all.outputs, data.y.end()};
      const std::vector<float> expected(y.begin() + size_t(skipped) * all.outputs, y.end());
      for (const float density : {1.0f, 0.1f}) {
        ASSERT_TRUE(
            same_bits(multiply(kernels(), p, some, Epilogue::add, 0, -1, density), expected))
            << dtype_name(p.type) << " rows " << rows << " density " << density;
      }
    }
  }
}

// Nor on whether zeros are looked for, and skipped.
TEST_P(Matmul, SkippingZerosChangesNoBit) {
  for (int type = 0; type < kMatrixTypes; ++type) {
    for (const int rows : {1, 2, 3, 8, 20}) {
      for (const double share : {0.5, 0.9, 1.0}) {
        const Problem p = {DType(type), 1024, 100, rows};
        Data data = random_data(p);
        const std::vector<float> draw = uniforms(data.x.size(), 0, 1);
        for (size_t i = 0; i < data.x.size(); ++i) {
          if (draw[i] < share) data.x[i] = 0;
        }
        ASSERT_TRUE(same_bits(multiply(kernels(), p, data, Epilogue::add, 0, -1, 0.1f),
                              multiply(kernels(), p, data, Epilogue::add, 0, -1, 1)))
            << dtype_name(p.type) << " rows " << rows << " zeros " << share;
      }
    }
  }
}

// Nor on how the outputs are divided among threads; and nothing outside a range may be written.
TEST_P(Matmul, BitsDoNotDependOnTheRange) {
  constexpr int kOutputs = 333;  // a whole panel, a tile and a bit
  for (int type = 0; type < kMatrixTypes; ++type) {
    for (const int rows : {1, 2, 7, 20}) {
      const Problem p = {DType(type), 256, kOutputs, rows};
      const Data data = random_data(p);
      const std::vector<float> whole = multiply(kernels(), p, data, Epilogue::tanh);
      for (const auto& [begin, end] :
           {std::pair{0, 64}, {64, 64}, {64, 333}, {192, 320}, {256, 333}, {320, 333}}) {
        std::vector<float> expected = data.y;
        for (int t = 0; t < rows; ++t) {
          for (int o = begin; o < end; ++o) {
            expected[t * kOutputs + o] = whole[t * kOutputs + o];
          }
        }
        ASSERT_TRUE(same_bits(multiply(kernels(), p, data, Epilogue::tanh, begin, end), expected))
            << dtype_name(p.type) << " " << begin << " " << end;
      }
    }
  }
}

// Half-precision weights give the bits of the same numbers in fp32, whichever way they are stored.
TEST_P(Matmul, PlainTypesDifferInNothingButTheirNumbers) {
  for (const DType type : {DType::f16, DType::bf16}) {
    for (const int rows : {1, 2, 5, 40}) {
      const Problem p = {type, 300, 70, rows};
      const Data data = random_data(p);
      const std::vector<float> expected = multiply(kernels(), p, data, Epilogue::store);

      Problem plain = p;
      plain.type = DType::f32;
      Data wide;
      wide.x = data.x;
      wide.y = data.y;
      wide.bias = data.bias;
      wide.w.file.resize(data.w.values.size() * sizeof(float));
      std::memcpy(wide.w.file.data(), data.w.values.data(), wide.w.file.size());
      pack(plain, wide.w);
      EXPECT_TRUE(same_bits(multiply(kernels(), plain, wide, Epilogue::store), expected));

      // Stored by inputs, as the low-rank matrices of the original files are.
      Matrix m;
      std::vector<float> turned(data.w.values.size());
      for (int o = 0; o < p.outputs; ++o) {
        for (int i = 0; i < p.cols; ++i) {
          turned[size_t(i) * p.outputs + o] = data.w.values[size_t(o) * p.cols + i];
        }
      }
      m.data = reinterpret_cast<const std::byte*>(turned.data());
      m.rows = p.outputs;
      m.cols = p.cols;
      m.transposed = true;
      for (int o = 0; o < p.outputs; o += kTileOutputs) pack_tile(m, o, wide.w.packed.data());
      EXPECT_TRUE(same_bits(multiply(kernels(), plain, wide, Epilogue::store), expected));
    }
  }
}

// q is x / d to the nearest integer, and sums are theirs.
TEST_P(Matmul, ActivationsAreQuantisedToTheNearest) {
  std::vector<float> x = normals(320);
  std::fill_n(x.begin() + 64, 32, 0.0f);
  const Quantised quantised(kernels(), {DType::q8_0, 320, 1, 1}, x);
  for (size_t i = 0; i < x.size(); ++i) {
    const double d = quantised.d[i / 32];
    // Half a step, and the rounding of d, of its inverse and of the product.
    EXPECT_LE(std::abs(x[i] - quantised.numbers[i]), d * (0.5 + 127 * 4 * kUnit)) << i;
  }
  for (size_t i = 0; i < x.size(); i += 16) {
    double sum = 0;
    for (size_t k = i; k < i + 16; ++k) sum += double(quantised.numbers[k]);
    const double d = quantised.d[i / 32];
    EXPECT_EQ(quantised.sums[i / 16], d > 0 ? std::lround(sum / d) : 0) << i;
  }
  x[5] = NAN;
  EXPECT_TRUE(std::isnan(Quantised(kernels(), {DType::q8_0, 320, 1, 1}, x).d[0]));
  x[5] = INFINITY;
  EXPECT_FALSE(std::isfinite(Quantised(kernels(), {DType::q8_0, 320, 1, 1}, x).d[0]));
}

// Tables that fuse multiply-add agree.
TEST_P(Matmul, BitsAreThoseOfTheOtherFusedTables) {
  if (!kernels().fused_multiply_add) GTEST_SKIP() << "not fused";
  for (const Kernels* other : supported_kernels()) {
    if (!other->fused_multiply_add || other == &kernels()) continue;
    for (int type = 0; type < kMatrixTypes; ++type) {
      for (const Epilogue epilogue : kEpilogues) {
        for (const int rows : {1, 2, 5, 40}) {
          const int cols = block_elements(DType(type)) == 1 ? 1063 : 1280;
          const Problem p = {DType(type), cols, 21, rows};
          const Data data = random_data(p);
          ASSERT_TRUE(same_bits(multiply(kernels(), p, data, epilogue),
                                multiply(*other, p, data, epilogue)))
              << dtype_name(p.type) << " " << int(epilogue) << " rows " << rows;
        }
      }
    }
  }
}

// Arrays that end where memory ends: nothing beyond the elements is read or written.
TEST_P(Matmul, NothingBeyondTheArraysIsTouched) {
  for (int type = 0; type < kMatrixTypes; ++type) {
    for (const int rows : {1, 2, 7}) {
      for (const int cols : {int(block_elements(DType(type))) * 3, 256, 768}) {
        const Problem p = {DType(type), cols, 82, rows};
        const Data data = random_data(p);
        const Quantised quantised(kernels(), p, data.x);
        const Guarded<std::byte> w(std::vector<std::byte>(
            data.w.packed.data(), data.w.packed.data() + data.w.packed.size()));
        const Guarded<float> x(data.x), y(data.y), bias(data.bias), d(quantised.d);
        const Guarded<std::byte> q(quantised.q);
        const Guarded<int32_t> sums(quantised.sums);
        kernels().matmul[type]({.weights = w.data(),
                                .inputs = cols,
                                .outputs = p.outputs,
                                .begin = 0,
                                .end = p.outputs,
                                .x = x.data(),
                                .quantised = {q.data(), d.data(), sums.data()},
                                .y = y.data(),
                                .rows = rows,
                                .bias = bias.data(),
                                .epilogue = Epilogue::add});
        ASSERT_TRUE(same_bits(y.copy(), multiply(kernels(), p, data, Epilogue::add)))
            << dtype_name(p.type) << " rows " << rows;
      }
    }
  }
}

// A NaN or an infinity in a token stays in that token.
TEST_P(Matmul, NanStaysInItsToken) {
  for (const int rows : {2, 7}) {
    const Problem p = {DType::bf16, 37, 9, rows};
    Data data = random_data(p);
    const std::vector<float> clean = multiply(kernels(), p, data, Epilogue::relu_squared);
    data.x[37 + 36] = NAN;
    const std::vector<float> y = multiply(kernels(), p, data, Epilogue::relu_squared);
    for (int t = 0; t < rows; ++t) {
      for (int o = 0; o < 9; ++o) {
        if (t == 1) {
          EXPECT_TRUE(std::isnan(y[t * 9 + o]));
        } else {
          EXPECT_EQ(y[t * 9 + o], clean[t * 9 + o]);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, Matmul, testing::ValuesIn(supported_kernels()), table_name);

}  // namespace
}  // namespace anser
