// Decimal numbers of any length, exactly.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "grammar/schema_text.h"

namespace anser {

// The digits before the point (no zeros in front but of 0 itself) and behind it (none at the end).
// Zero is never negative.
struct Decimal {
  bool negative = false;
  std::string whole = "0", fraction = {};
};

// Of a number as JSON writes it, exponents included; nothing where it has more digits than any
// double.
std::optional<Decimal> parse_decimal(const std::string& text);
// Of a value of a schema: nothing where it is no number. Of a large double it is the double itself,
// not the shortest text that is nearest to it.
std::optional<Decimal> decimal_of(const Schema& value);
// Of a finite double, as above.
Decimal decimal_of(double value);

double to_double(const Decimal& value);
Decimal negated(Decimal value);
bool is_zero(const Decimal& value);
// Below 0, 0 or above it.
int compare(const Decimal& a, const Decimal& b);

// The nearest whole number that is not below it, and the next one above a whole number.
Decimal ceiling(const Decimal& value);
Decimal next_whole(const Decimal& whole);
// Times ten to the power of `places`, which is not negative.
Decimal shifted(const Decimal& value, size_t places);

// Of a whole number from 0 to 10^18 - 1.
std::optional<uint64_t> to_whole(const Decimal& value);

}  // namespace anser
