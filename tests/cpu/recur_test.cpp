// The time mix of one head against the reference equations 6 to 11 in double precision.
#include "cpu/kernels_support.h"

namespace anser {
namespace {

class Recur : public KernelsTest {
 protected:
  struct Data {
    int size, tokens;
    int64_t stride;
    bool first_layer;
    std::vector<float> r, w, k, v, a, g, v_first, nu;
    std::vector<float> k_k, k_a, r_k, ln_weight, ln_bias, state;
  };

  Data random_data(int size, int tokens, bool first_layer) {
    Data d;
    d.size = size;
    d.tokens = tokens;
    d.stride = size + 5;
    d.first_layer = first_layer;
    const size_t n = d.stride * (tokens - 1) + size;
    d.r = normals(n);
    d.w = uniforms(n, 0.55f, 0.999f);
    d.k = normals(n);
    d.v = normals(n);
    d.a = uniforms(n, 0, 1);
    d.g = normals(n);
    d.v_first = normals(n);
    d.nu = uniforms(n, 0, 1);
    d.k_k = normals(size);
    d.k_a = normals(size);
    d.r_k = normals(size);
    d.ln_weight = normals(size);
    d.ln_bias = normals(size);
    d.state = normals(size_t(size) * size);
    return d;
  }

  static RecurArgs args(const Data& d, float* state, float* out, int from, int tokens) {
    const int64_t at = from * d.stride;
    RecurArgs a = {};
    a.head_size = d.size;
    a.tokens = tokens;
    a.stride = d.stride;
    a.r = d.r.data() + at;
    a.w = d.w.data() + at;
    a.k = d.k.data() + at;
    a.v = d.v.data() + at;
    a.a = d.a.data() + at;
    a.g = d.g.data() + at;
    a.v_first = d.first_layer ? nullptr : d.v_first.data() + at;
    a.nu = d.first_layer ? nullptr : d.nu.data() + at;
    a.k_k = d.k_k.data();
    a.k_a = d.k_a.data();
    a.r_k = d.r_k.data();
    a.ln_weight = d.ln_weight.data();
    a.ln_bias = d.ln_bias.data();
    a.ln_eps = 64e-5f;
    a.state = state;
    a.out = out + at;
    return a;
  }

  struct Result {
    std::vector<float> state, out;
  };
  // In pieces of `piece` tokens.
  static Result run(const Kernels& table, const Data& d, int piece) {
    Result result = {d.state, std::vector<float>(d.r.size(), -77.0f)};
    for (int t = 0; t < d.tokens; t += piece) {
      table.recur(
          args(d, result.state.data(), result.out.data(), t, std::min(piece, d.tokens - t)));
    }
    return result;
  }

  void expect_close(const Data& d, const Result& result);
};

// Errors. Let E bound the error of every element of S.
//   - removal: u_i is a sum of n products of S and a key of norm 1 (its own elements carry the
//   error
//     of a norm: a sum of squares, halved, and two roundings), so |u_i| <= |S_i|, with the same
//     relative error and with error sqrt(n) E from S itself, in the direction of kk only.
//   - the update adds three products and rounds at most five times.
// The transition diag(w) - kk (a kk) has norm at most 2 and, its eigenvalues lying within
// (-0.46, 1), errors do not grow by it over time: they add up, token by token. So E after t tokens
// is at most 2 t (dot_error + 8 units) times the largest row norm (plus |v k|) seen so far.
// y_i = S_i r then errs by E |r|_1 and its own sum; group norm divides by the deviation as in
// layer_norm; bonus is another sum. Where something was bounded crudely it was bounded upwards, so
// these hold with room; an error in any equation is larger by orders of magnitude.
void Recur::expect_close(const Data& d, const Result& result) {
  const int n = d.size;
  std::vector<double> s(d.state.begin(), d.state.end());
  double largest = 0;
  for (int t = 0; t < d.tokens; ++t) {
    const int64_t at = t * d.stride;
    std::vector<double> v(n), k(n), kk(n), y(n);
    double norm = 0, bonus = 0, bonus_size = 0, r_size = 0;
    for (int j = 0; j < n; ++j) {
      v[j] = d.v[at + j];
      if (!d.first_layer) v[j] += (double(d.v_first[at + j]) - v[j]) * d.nu[at + j];
      kk[j] = double(d.k[at + j]) * d.k_k[j];
      norm += kk[j] * kk[j];
      k[j] = d.k[at + j] * (1 + (double(d.a[at + j]) - 1) * d.k_a[j]);
      bonus += d.r[at + j] * k[j] * d.r_k[j];
      bonus_size += std::abs(d.r[at + j] * k[j] * d.r_k[j]);
      r_size += std::abs(d.r[at + j]);
    }
    for (double& x : kk) x /= std::max(std::sqrt(norm), 1e-12);

    double y_mean = 0, y_size = 0, variance = 0;
    for (int i = 0; i < n; ++i) {
      double u = 0, row = 0, k_largest = 0;
      for (int j = 0; j < n; ++j) {
        u -= s[i * n + j] * kk[j];
        row += s[i * n + j] * s[i * n + j];
        k_largest = std::max(k_largest, std::abs(v[i] * k[j]));
      }
      largest = std::max(largest, std::sqrt(row) + k_largest);
      for (int j = 0; j < n; ++j) {
        s[i * n + j] = s[i * n + j] * d.w[at + j] + u * kk[j] * d.a[at + j] + v[i] * k[j];
        y[i] += s[i * n + j] * d.r[at + j];
      }
      y_mean += y[i] / n;
      y_size = std::max(y_size, std::abs(y[i]));
    }
    for (int i = 0; i < n; ++i) variance += (y[i] - y_mean) * (y[i] - y_mean) / n;

    const double state_error = 2 * (t + 1) * (dot_error(n) + 8 * kUnit) * largest;
    const double y_error = r_size * (state_error + dot_error(n) * largest);
    const double deviation = std::sqrt(variance + 64e-5);
    for (int i = 0; i < n; ++i) {
      const double normal = (y[i] - y_mean) / deviation;
      // Both the element and the mean err, and through the deviation so do all of them.
      const double normal_error = 2 * y_error / deviation * (1 + std::abs(normal)) +
                                  (dot_error(n) + kUnit) * (y_size / deviation) +
                                  (dot_error(n) + 8 * kUnit) * std::abs(normal);
      const double mixed = normal * d.ln_weight[i] + d.ln_bias[i] + bonus * v[i];
      const double magnitude = std::abs(normal * d.ln_weight[i]) + std::abs(d.ln_bias[i]) +
                               bonus_size * (std::abs(v[i]) + 2 * std::abs(v[i]));
      const double error =
          normal_error * std::abs(d.ln_weight[i]) + (dot_error(n) + 8 * kUnit) * magnitude;
      ASSERT_LE(std::abs(result.out[at + i] - mixed * d.g[at + i]),
                error * std::abs(d.g[at + i]) + 1e-35)
          << "head size " << n << " token " << t << " element " << i;
    }
    if (t + 1 == d.tokens) {
      for (int i = 0; i < n * n; ++i) {
        ASSERT_LE(std::abs(result.state[i] - s[i]), state_error + 1e-35)
            << "head size " << n << " state " << i;
      }
    }
  }
}

constexpr int kHeadSizes[] = {1, 2, 3, 5, 15, 16, 17, 32, 33, 63, 64, 65, 100, 128, 512};

TEST_P(Recur, IsTheEquations) {
  for (const int size : kHeadSizes) {
    for (const bool first_layer : {true, false}) {
      const Data d = random_data(size, size < 200 ? 13 : 3, first_layer);
      ASSERT_NO_FATAL_FAILURE(expect_close(d, run(kernels(), d, d.tokens)));
    }
  }
}

// The bounds above grow with the tokens; this one sees that a long run does not drift.
TEST_P(Recur, LongRun) {
  const Data d = random_data(64, 300, false);
  ASSERT_NO_FATAL_FAILURE(expect_close(d, run(kernels(), d, d.tokens)));
}

TEST_P(Recur, BitsDoNotDependOnWhereTheRunIsCut) {
  for (const int size : {5, 64, 65}) {
    const Data d = random_data(size, 24, false);
    const Result whole = run(kernels(), d, 24);
    for (const int piece : {1, 2, 7, 23}) {
      const Result cut = run(kernels(), d, piece);
      EXPECT_TRUE(same_bits(cut.state, whole.state)) << size << " " << piece;
      EXPECT_TRUE(same_bits(cut.out, whole.out)) << size << " " << piece;
    }
  }
}

TEST_P(Recur, BitsAreThoseOfTheOtherFusedTables) {
  if (!kernels().fused_multiply_add) GTEST_SKIP() << "not fused";
  for (const Kernels* other : supported_kernels()) {
    if (!other->fused_multiply_add || other == &kernels()) continue;
    for (const int size : kHeadSizes) {
      const Data d = random_data(size, 4, false);
      const Result mine = run(kernels(), d, 4), theirs = run(*other, d, 4);
      EXPECT_TRUE(same_bits(mine.state, theirs.state)) << size;
      EXPECT_TRUE(same_bits(mine.out, theirs.out)) << size;
    }
  }
}

// Rows of S, tokens and vectors that end where memory ends; what lies between tokens is not
// written.
TEST_P(Recur, Edges) {
  for (const int size : {1, 3, 17, 64, 65}) {
    const Data d = random_data(size, 3, false);
    const Result expected = run(kernels(), d, 3);
    const Guarded<float> r(d.r), w(d.w), k(d.k), v(d.v), a(d.a), g(d.g), v_first(d.v_first),
        nu(d.nu), k_k(d.k_k), k_a(d.k_a), r_k(d.r_k), ln_weight(d.ln_weight), ln_bias(d.ln_bias),
        state(d.state), out(std::vector<float>(d.r.size(), -77.0f));
    kernels().recur({size, 3, d.stride, r.data(), w.data(), k.data(), v.data(), a.data(), g.data(),
                     v_first.data(), nu.data(), k_k.data(), k_a.data(), r_k.data(),
                     ln_weight.data(), ln_bias.data(), 64e-5f, state.data(), out.data()});
    EXPECT_TRUE(same_bits(state.copy(), expected.state)) << size;
    EXPECT_TRUE(same_bits(out.copy(), expected.out)) << size;
    for (int t = 0; t + 1 < 3; ++t) {
      for (int64_t i = size; i < d.stride; ++i) ASSERT_EQ(out[t * d.stride + i], -77.0f);
    }
  }
}

TEST_P(Recur, AKeyOfZerosRemovesNothing) {
  Data d = random_data(64, 1, true);
  std::fill(d.k.begin(), d.k.end(), 0.0f);
  const Result result = run(kernels(), d, 1);
  for (int i = 0; i < 64 * 64; ++i) ASSERT_EQ(result.state[i], d.state[i] * d.w[i % 64]);
  ASSERT_NO_FATAL_FAILURE(expect_close(d, result));
}

// The removal key is divided by its norm, but never by less than 1e-12.
TEST_P(Recur, SmallKeys) {
  for (const float scale : {1e-3f, 1e-10f, 1e-14f}) {
    Data d = random_data(64, 2, true);
    for (float& k : d.k) k *= scale;
    ASSERT_NO_FATAL_FAILURE(expect_close(d, run(kernels(), d, 2))) << scale;
  }
}

TEST_P(Recur, NoTokensNoChange) {
  const Data d = random_data(16, 1, true);
  std::vector<float> state = d.state, out(16, 5.0f);
  kernels().recur(args(d, state.data(), out.data(), 0, 0));
  EXPECT_EQ(state, d.state);
  EXPECT_EQ(out, std::vector<float>(16, 5.0f));
}

INSTANTIATE_TEST_SUITE_P(Tables, Recur, testing::ValuesIn(supported_kernels()), table_name);

}  // namespace
}  // namespace anser
