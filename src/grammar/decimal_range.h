// Decimal numbers between two bounds, digit by digit.
#pragma once

#include <optional>
#include <string>

#include "grammar/grammar.h"

namespace anser {

// In decimal: the digits before the point (no zeros in front but of 0 itself) and behind it (none
// at the end).
struct Decimal {
  bool negative = false;
  std::string whole = "0", fraction = {};
};

// Of a number as JSON writes it, exponents included; nothing when it has more than 15 digits, up to
// which a double tells decimals apart.
std::optional<Decimal> parse_decimal(const std::string& text);

struct Bound {
  Decimal value;
  bool exclusive = false;
};
struct DecimalRange {
  std::optional<Bound> low, high;
  bool integer = false;  // else with up to 15 digits in all, no exponent
};

// One number of the range. Where it is empty `to` is not reached.
void add_decimals(GrammarBuilder& builder, StateId from, const DecimalRange& range, StateId to);

}  // namespace anser
