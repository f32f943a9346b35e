#include "twins.h"

#include <algorithm>
#include <cmath>

namespace anser::twins {

using cuda::Epilogue;
using cuda::Format;

namespace {

// sqrt(a^2 + b^2 + ...)
double together(double a, double b, double c = 0) {
  return std::sqrt(a * a + b * b + c * c);
}

constexpr double kFunction = 4 * kUnit;  // two units in the last place

Number function(double value, double slope, Number x) {
  return {value, together(slope * x.deviation, kFunction * std::fabs(value))};
}

}  // namespace

Number operator+(Number a, Number b) {
  const double value = a.value + b.value;
  return {value, together(a.deviation, b.deviation, kUnit * std::fabs(value))};
}
Number operator-(Number a, Number b) {
  return a + Number(-b.value, b.deviation);
}
Number operator*(Number a, Number b) {
  const double value = a.value * b.value;
  return {value, together(a.deviation * b.value, b.deviation * a.value, kUnit * std::fabs(value))};
}
Number operator/(Number a, Number b) {
  const double value = a.value / b.value;
  return {value,
          together(a.deviation / b.value, b.deviation * value / b.value, kUnit * std::fabs(value))};
}

Number exp(Number x) {
  return function(std::exp(x.value), std::exp(x.value), x);
}
Number tanh(Number x) {
  const double y = std::tanh(x.value);
  return function(y, 1 - y * y, x);
}
Number sigmoid(Number x) {
  const double y = 1 / (1 + std::exp(-x.value));
  return function(y, y * (1 - y), x);
}
Number sqrt(Number x) {
  const double y = std::sqrt(x.value);
  return function(y, 0.5 / y, x);
}

Number epilogue(Epilogue epilogue, Number x) {
  switch (epilogue) {
    case Epilogue::tanh:
      return tanh(x);
    case Epilogue::sigmoid:
      return sigmoid(x);
    case Epilogue::relu_squared:
      // Near zero either side may be the one that is rounded to.
      if (x.value <= 0) return {0, std::fabs(x.value) < 8 * x.deviation ? x.deviation : 0};
      return x * x;
    default:
      return x;
  }
}

Number rounded(Format type, Number x) {
  if (type == Format::f32) return x;
  const double unit = type == Format::f16 ? 0x1p-11 : 0x1p-8;
  const double least = type == Format::f16 ? 0x1p-25 : 0;  // half a step of the denormals
  return {x.value, together(x.deviation, unit * std::fabs(x.value), least)};
}

void Sum::add(Number term) {
  value_ += term.value;
  errors_ += term.deviation * term.deviation;
  squares_ += term.value * term.value;
  ++count_;
}

Number Sum::total() const {
  // Partial sums of terms with random signs grow like a random walk, of terms of one sign up to
  // the total; each rounds once.
  const double partial = together(std::sqrt(squares_), value_);
  return {value_, together(std::sqrt(errors_), kUnit * std::sqrt(double(count_)) * partial)};
}

Numbers inputs(const std::vector<float>& exact) {
  return Numbers(exact.begin(), exact.end());
}

Numbers layer_norm(const Numbers& x, int width, const Norm& norm) {
  Numbers z(x.size());
  for (size_t row = 0; row < x.size(); row += size_t(width)) {
    Sum sum, squares;
    for (int c = 0; c < width; ++c) sum.add(x[row + c]);
    const Number mean = sum.total() / double(width);
    for (int c = 0; c < width; ++c) {
      const Number centred = x[row + c] - mean;
      squares.add(centred * centred);
    }
    const Number deviation = sqrt(squares.total() / double(width) + norm.eps);
    for (int c = 0; c < width; ++c) {
      z[row + c] = (x[row + c] - mean) / deviation * norm.weight[c] + norm.bias[c];
    }
  }
  return z;
}

Numbers embed(const Matrix& table, const std::vector<int>& tokens, const Norm& norm) {
  Numbers rows;
  for (const int token : tokens) {
    const auto line = table.weights.begin() + int64_t(token) * table.cols;
    rows.insert(rows.end(), line, line + table.cols);
  }
  return layer_norm(rows, table.cols, norm);
}

Numbers previous(const Numbers& z, int width, const std::vector<Run>& runs,
                 const std::vector<std::vector<float>>& before) {
  Numbers result(z.size());
  for (size_t run = 0; run < runs.size(); ++run) {
    for (int t = 0; t < runs[run].count; ++t) {
      const size_t row = size_t(runs[run].first + t) * width;
      for (int c = 0; c < width; ++c) {
        result[row + c] = t == 0 ? Number(before[run][c]) : z[row - width + c];
      }
    }
  }
  return result;
}

Numbers shift(const Numbers& z, const Numbers& previous, const std::vector<float>& mix) {
  Numbers result(z.size());
  for (size_t i = 0; i < z.size(); ++i) {
    result[i] = z[i] + (previous[i] - z[i]) * Number(mix[i % mix.size()]);
  }
  return result;
}

Numbers product(const Matrix& W, const Numbers& x, Format type) {
  const size_t rows = x.size() / size_t(W.cols);
  const Numbers read = each_rounded(type, x);
  Numbers y(rows * W.rows);
  for (size_t row = 0; row < rows; ++row) {
    for (int o = 0; o < W.rows; ++o) {
      Sum sum;
      for (int i = 0; i < W.cols; ++i) {
        sum.add(W.weights[size_t(o) * W.cols + i] * read[row * W.cols + i]);
      }
      y[row * W.rows + o] = sum.total();
    }
  }
  return y;
}

Numbers each(Epilogue epilogue, Numbers x) {
  for (Number& number : x) number = twins::epilogue(epilogue, number);
  return x;
}

Numbers each_rounded(Format type, Numbers x) {
  for (Number& number : x) number = rounded(type, number);
  return x;
}

Numbers sum(Numbers a, const Numbers& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] = a[i] + b[i];
  return a;
}

Numbers scaled(Numbers x, double factor) {
  for (Number& number : x) number = number * factor;
  return x;
}

namespace {

// One head of one row: the vectors at [at, at + N).
Numbers recur_head(const TimeMix& mix, size_t at, int head, Numbers& state) {
  const int N = mix.head_size;
  Number* S = state.data() + size_t(head) * N * N;
  const auto of = [&](const Numbers& x, int j) { return x[at + j]; };
  const auto weight = [&](const std::vector<float>& x, int j) {
    return Number(x[size_t(head) * N + j]);
  };
  Numbers w(N), a(N), v(N), kk(N), k(N), y(N);
  Sum squares, bonus;
  for (int j = 0; j < N; ++j) {
    w[j] = exp(Number(-std::exp(-0.5)) * sigmoid(weight(mix.w0, j) + of(mix.w_up, j)));
    a[j] = sigmoid(weight(mix.a0, j) + of(mix.a_up, j));
    v[j] = of(mix.v, j);
    if (!mix.v_first.empty()) {
      const Number nu = sigmoid(weight(mix.v0, j) + of(mix.v_up, j));
      v[j] = v[j] + (of(mix.v_first, j) - v[j]) * nu;
    }
    kk[j] = of(mix.k, j) * weight(mix.k_k, j);
    squares.add(kk[j] * kk[j]);
    k[j] = of(mix.k, j) * (Number(1) + (a[j] - 1) * weight(mix.k_a, j));
    bonus.add(of(mix.r, j) * k[j] * weight(mix.r_k, j));
  }
  const Number length = sqrt(squares.total());
  for (Number& number : kk) number = number / length;
  for (int i = 0; i < N; ++i) {
    Number* row = S + size_t(i) * N;
    Sum erased, read;
    for (int j = 0; j < N; ++j) erased.add(row[j] * kk[j]);
    const Number along_kk = erased.total();
    for (int j = 0; j < N; ++j) {
      row[j] = row[j] * w[j] - along_kk * (kk[j] * a[j]) + v[i] * k[j];
      read.add(row[j] * of(mix.r, j));
    }
    y[i] = read.total();
  }
  Norm norm = mix.ln_x;
  norm.weight.assign(mix.ln_x.weight.begin() + head * N, mix.ln_x.weight.begin() + (head + 1) * N);
  norm.bias.assign(mix.ln_x.bias.begin() + head * N, mix.ln_x.bias.begin() + (head + 1) * N);
  y = layer_norm(y, N, norm);
  for (int i = 0; i < N; ++i) y[i] = (y[i] + bonus.total() * v[i]) * of(mix.g_up, i);
  return y;
}

}  // namespace

Numbers recur(const TimeMix& mix, const std::vector<Run>& runs, std::vector<Numbers>& states) {
  const int N = mix.head_size, D = mix.heads * N;
  Numbers y(mix.r.size());
  for (size_t run = 0; run < runs.size(); ++run) {
    for (int row = runs[run].first; row < runs[run].first + runs[run].count; ++row) {
      for (int head = 0; head < mix.heads; ++head) {
        const size_t at = size_t(row) * D + size_t(head) * N;
        const Numbers of_head = recur_head(mix, at, head, states[run]);
        std::copy(of_head.begin(), of_head.end(), y.begin() + int64_t(at));
      }
    }
  }
  return y;
}

}  // namespace anser::twins
