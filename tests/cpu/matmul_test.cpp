// The matrix product of every table and type: against double precision, and bit for bit against
// itself in all the ways that must not matter.
#include "cpu/kernels_support.h"

namespace anser {
namespace {

struct Problem {
  DType type;
  int cols, outputs, rows;
};

class Matmul : public KernelsTest {
 protected:
  struct Data {
    std::vector<std::byte> w;
    std::vector<float> x, y, bias;
  };

  Data random_data(const Problem& p) {
    // x of mixed sign and size; y is what stood in memory before.
    return {weights(p.type, size_t(p.outputs) * p.cols), normals(size_t(p.rows) * p.cols),
            normals(size_t(p.rows) * p.outputs), normals(p.outputs)};
  }

  static MatmulArgs args(const Problem& p, const Data& data, std::vector<float>& y,
                         Epilogue epilogue) {
    return {data.w.data(),    int64_t(dtype_bytes(p.type, p.cols)),
            p.cols,           0,
            p.outputs,        data.x.data(),
            p.cols,           y.data(),
            p.outputs,        p.rows,
            data.bias.data(), epilogue};
  }

  std::vector<float> multiply(const Kernels& table, const Problem& p, const Data& data,
                              Epilogue epilogue) {
    std::vector<float> y = data.y;
    table.matmul[int(p.type)](args(p, data, y, epilogue));
    return y;
  }

  void expect_close(const Problem& p, const Data& data, Epilogue epilogue, bool bias,
                    const std::vector<float>& y) {
    std::vector<float> w(data.w.size() / block_bytes(p.type) * block_elements(p.type));
    dequantize_row(p.type, data.w.data(), int64_t(w.size()), w.data());
    for (int t = 0; t < p.rows; ++t) {
      for (int o = 0; o < p.outputs; ++o) {
        double z = bias ? data.bias[o] : 0, magnitude = std::abs(z);
        for (int i = 0; i < p.cols; ++i) {
          const double term = double(w[size_t(o) * p.cols + i]) * data.x[size_t(t) * p.cols + i];
          z += term;
          magnitude += std::abs(term);
        }
        // The bias is one more addition.
        const double error = (dot_error(p.cols) + kUnit) * magnitude;
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
        const Problem p = {DType(type), cols, uniform_int(1, 40), rows};
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
        const Problem p = {DType::f16, 65, 23, rows};
        Data data = random_data(p);
        for (float& x : data.x) x /= 4;  // sums of a few units, where the functions bend
        std::vector<float> y = data.y;
        MatmulArgs a = args(p, data, y, epilogue);
        if (!bias) a.bias = nullptr;
        kernels().matmul[int(p.type)](a);
        ASSERT_NO_FATAL_FAILURE(expect_close(p, data, epilogue, bias, y)) << int(epilogue);
      }
    }
  }
}

// A token's results must be the same bits whichever tokens it is computed with.
TEST_P(Matmul, BitsDoNotDependOnTheNumberOfRows) {
  for (int type = 0; type < kMatrixTypes; ++type) {
    const int cols = block_elements(DType(type)) == 1 ? 1063 : 1280;
    const int most = 150;  // more than two of the kernels' blocks of tokens
    const Problem all = {DType(type), cols, 21, most};
    const Data data = random_data(all);
    const std::vector<float> y = multiply(kernels(), all, data, Epilogue::add);
    for (const int rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33, 64, 65, 149}) {
      // From the end, so that a token's place in its block differs too.
      const int skipped = most - rows;
      Data some = data;
      some.x.erase(some.x.begin(), some.x.begin() + size_t(skipped) * cols);
      some.y.erase(some.y.begin(), some.y.begin() + size_t(skipped) * all.outputs);
      Problem p = all;
      p.rows = rows;
      const std::vector<float> expected(y.begin() + size_t(skipped) * all.outputs, y.end());
      ASSERT_TRUE(same_bits(multiply(kernels(), p, some, Epilogue::add), expected))
          << dtype_name(p.type) << " rows " << rows;
    }
  }
}

// Nor on how the outputs are divided among threads; and nothing outside a range may be written.
TEST_P(Matmul, BitsDoNotDependOnTheRange) {
  for (int type = 0; type < kMatrixTypes; ++type) {
    for (const int rows : {1, 2, 7, 20}) {
      const Problem p = {DType(type), 256, 45, rows};
      const Data data = random_data(p);
      const std::vector<float> whole = multiply(kernels(), p, data, Epilogue::tanh);
      for (const auto& [begin, end] :
           {std::pair{0, 1}, {44, 45}, {3, 20}, {5, 5}, {16, 45}, {1, 18}, {0, 45}}) {
        std::vector<float> y = data.y, expected = data.y;
        MatmulArgs a = args(p, data, y, Epilogue::tanh);
        a.begin = begin;
        a.end = end;
        kernels().matmul[type](a);
        for (int t = 0; t < rows; ++t) {
          for (int o = begin; o < end; ++o) expected[t * 45 + o] = whole[t * 45 + o];
        }
        ASSERT_TRUE(same_bits(y, expected)) << dtype_name(p.type) << " " << begin << " " << end;
      }
    }
  }
}

// A matrix of any type gives the bits of the same numbers in fp32.
TEST_P(Matmul, BitsAreThoseOfTheDequantizedMatrix) {
  for (int type = 0; type < kMatrixTypes; ++type) {
    for (const int rows : {1, 2, 5, 12, 40}) {
      for (const int cols : {256, 1280}) {
        const Problem p = {DType(type), cols, 19, rows};
        const Data data = random_data(p);
        Problem plain = p;
        plain.type = DType::f32;
        Data widened = data;
        widened.w.resize(size_t(p.outputs) * cols * 4);
        dequantize_row(p.type, data.w.data(), int64_t(p.outputs) * cols,
                       reinterpret_cast<float*>(widened.w.data()));
        ASSERT_TRUE(same_bits(multiply(kernels(), p, data, Epilogue::store),
                              multiply(kernels(), plain, widened, Epilogue::store)))
            << dtype_name(p.type) << " rows " << rows;
      }
    }
  }
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

// Rows farther apart than they are long, arrays that end where memory ends, weights at an odd
// address: nothing beyond the elements is read or written.
TEST_P(Matmul, StridesAndEdges) {
  for (int type = 0; type < kMatrixTypes; ++type) {
    for (const int rows : {1, 2, 7}) {
      for (const int cols : {int(block_elements(DType(type))) * 3, 256, 768}) {
        const Problem p = {DType(type), cols, 18, rows};
        const Data data = random_data(p);
        const std::vector<float> expected = multiply(kernels(), p, data, Epilogue::add);

        const int x_stride = cols + 3, y_stride = p.outputs + 5;
        const int64_t row_bytes = int64_t(dtype_bytes(p.type, cols));
        const int64_t far = row_bytes + 7;
        std::vector<std::byte> w(far * (p.outputs - 1) + row_bytes);
        for (int o = 0; o < p.outputs; ++o) {
          std::memcpy(&w[o * far], &data.w[o * row_bytes], row_bytes);
        }
        std::vector<float> x(x_stride * (rows - 1) + cols, NAN);
        std::vector<float> y(y_stride * (rows - 1) + p.outputs, 7.0f), y_expected = y;
        for (int t = 0; t < rows; ++t) {
          std::copy_n(&data.x[t * cols], cols, &x[t * x_stride]);
          std::copy_n(&data.y[t * p.outputs], p.outputs, &y[t * y_stride]);
          std::copy_n(&expected[t * p.outputs], p.outputs, &y_expected[t * y_stride]);
        }
        const Guarded<std::byte> gw(w);
        const Guarded<float> gx(x), gy(y), bias(data.bias);
        kernels().matmul[type]({gw.data(), far, cols, 0, p.outputs, gx.data(), x_stride, gy.data(),
                                y_stride, rows, bias.data(), Epilogue::add});
        ASSERT_TRUE(same_bits(gy.copy(), y_expected)) << dtype_name(p.type) << " rows " << rows;
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
