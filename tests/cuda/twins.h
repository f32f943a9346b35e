// What every launcher of cuda/kernels.h must compute, in plain double precision, written from the
// equations of model/forward.h and nothing of src/cuda. A new kernel for the same mathematics needs
// no twin of its own: its test compares with the one that is here.
//
// A Number carries, beside its value, how far the same arithmetic in fp32 is expected to stray from
// it: the standard deviation of its rounding errors. An operation adds an error of its own, at most
// u = 2^-24 of its result, to what its operands bring; errors of different operations are
// independent, so their squares add up, through products and sums as through everything else. So
// every output has a tolerance of its own, which follows from its type and from how it is made.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/kernels.h"

namespace anser::twins {

constexpr double kUnit = 0x1p-24;  // of fp32

struct Number {
  double value = 0, deviation = 0;
  Number() = default;
  Number(double exact) : value(exact) {}  // a constant, or an input
  Number(double value, double deviation) : value(value), deviation(deviation) {}
};
using Numbers = std::vector<Number>;  // [rows][width], mostly

Number operator+(Number a, Number b);
Number operator-(Number a, Number b);
Number operator*(Number a, Number b);
Number operator/(Number a, Number b);
// exp, tanh and their like are two units in the last place off at the most.
Number exp(Number x);
Number tanh(Number x);
Number sigmoid(Number x);
Number sqrt(Number x);
Number epilogue(cuda::Epilogue epilogue, Number x);
// Rounded to a type.
Number rounded(cuda::Format type, Number x);

// A sum, or a sum of products, that is formed in any order. Whatever the order, a term passes at
// most as many additions as there are terms, and partial sums are mostly smaller than what the
// terms' lengths or their total allow.
class Sum {
 public:
  void add(Number term);
  Number total() const;

 private:
  double value_ = 0, errors_ = 0, squares_ = 0;
  int64_t count_ = 0;
};

Numbers inputs(const std::vector<float>& exact);

struct Matrix {
  int rows = 0, cols = 0;  // outputs, inputs
  Numbers weights;         // [rows][cols]
};
struct Norm {
  std::vector<float> weight, bias;
  double eps = 1e-5;
};
// Consecutive rows of one sequence.
struct Run {
  int first, count;
};

// LN of each row of `width`.
Numbers layer_norm(const Numbers& x, int width, const Norm& norm);
// x[row] = LN(E[token])
Numbers embed(const Matrix& table, const std::vector<int>& tokens, const Norm& norm);
// previous(z): the row before in the same run, or the run's own `before`, [runs][width].
Numbers previous(const Numbers& z, int width, const std::vector<Run>& runs,
                 const std::vector<std::vector<float>>& before);
// z + (previous - z) (.) mix
Numbers shift(const Numbers& z, const Numbers& previous, const std::vector<float>& mix);
// W' x, [rows][W.rows]. `type`: to which x is rounded on its way in.
Numbers product(const Matrix& W, const Numbers& x, cuda::Format type = cuda::Format::f32);
Numbers each(cuda::Epilogue epilogue, Numbers x);
Numbers each_rounded(cuda::Format type, Numbers x);
Numbers sum(Numbers a, const Numbers& b);
Numbers scaled(Numbers x, double factor);

// The time mix of one layer. All of [rows][D] or [D], D = heads * head_size.
struct TimeMix {
  int heads, head_size;
  Numbers r, k, v, v_first;        // v_first: empty in layer 0
  Numbers w_up, a_up, g_up, v_up;  // w2' .., a2' .., g2' .., v2' .. (empty in layer 0)
  std::vector<float> w0, a0, v0, k_k, k_a, r_k;
  Norm ln_x;
};
// Returns y, [rows][D]. `states`: of each run S [heads][i][j], advanced.
Numbers recur(const TimeMix& mix, const std::vector<Run>& runs, std::vector<Numbers>& states);

}  // namespace anser::twins
