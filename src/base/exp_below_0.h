// The exponential behind the weights of tokens, e^((logit - largest) / temperature): the same
// number for the same token, alone or among a whole vocabulary.
#pragma once

#include <cstdint>

namespace anser {

// e^x for x <= 0, 0 below -708; wrong by 1e-15 of itself at the most. Multiplications, additions
// and whole numbers only, so that compilers make vectors of loops over it, where each lane does
// what one number alone would: this file's users are compiled without fused multiply-add. Always
// inlined, for some of them are compiled for machines that others are not.
inline __attribute__((always_inline)) double exp_below_0(double x) {
  constexpr double kRound = 0x1.8p52;  // adding it rounds to a whole number, which is its low bits
  const double shifted = x * 0x1.71547652b82fep0 + kRound;  // 1 / ln 2
  const double n = shifted - kRound;
  // ln 2 in two pieces; the first has 32 bits, so that its product with n is exact.
  const double r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
  // Taylor's coefficients: |r| <= ln(2) / 2, and the first that is left out, r^14 / 14!, is 4e-18.
  double p = 1.0 / 6227020800;
  p = p * r + 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const uint64_t power = (__builtin_bit_cast(uint64_t, shifted) + 1023) << 52;
  return x < -708 ? 0.0 : p * __builtin_bit_cast(double, power);
}

}  // namespace anser
