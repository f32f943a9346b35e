// Decimal numbers between two bounds, digit by digit.
#pragma once

#include <cstdint>
#include <optional>

#include "grammar/decimal.h"
#include "grammar/grammar.h"

namespace anser {

struct Bound {
  Decimal value;
  bool exclusive = false;
};

// Numbers without an exponent. What is written is within the bounds also for who reads it as a
// double.
struct DecimalRange {
  std::optional<Bound> low, high;
  // Whole numbers have up to 18 digits, or what the bounds need; else there are 15 digits in all,
  // or what the bounds need.
  bool integer = false;
  // Only multiples of `step` / 10^`places`, of up to 15 digits where the bounds do not need more;
  // places is 0 for whole numbers.
  uint64_t step = 1;
  size_t places = 0;
};

// By what the rest of a multiple of `step` counts while `left` digits are still to come: digits
// that follow make up for twos and fives.
uint64_t rest_modulus(uint64_t step, int left);

// The smallest whole number that a lower bound allows.
Decimal least_whole(const Bound& bound);
Decimal most_whole(const Bound& bound);

// One number of the range. Where it is empty `to` is not reached.
void add_decimals(GrammarBuilder& builder, StateId from, const DecimalRange& range, StateId to);

}  // namespace anser
