// What a schema says about a number: bounds and multiples.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "grammar/decimal_range.h"
#include "grammar/schema_text.h"

namespace anser {

// Of one "multipleOf". Checkers divide by the double where the schema has a fraction or an
// exponent: 19.99 / 0.01 is no whole number then, and 19.99 is no multiple of 0.01.
struct Multiple {
  Decimal value;
  double number;
  bool is_float;

  bool is_divisor_of(double multiple) const;
  // Whether the double is the decimal itself, as of 0.5: then dividing is exact.
  bool is_exact() const;
  // Whether all its whole multiples are divided without a rest: it is so near to the decimal that
  // the rest is rounded away.
  bool divides_wholes() const;
};

struct NumberLimits {
  std::optional<Bound> low, high;
  std::vector<Multiple> multiples;
};

// The tighter one of "minimum" and "exclusiveMinimum", or of the upper two. The exclusive one may
// be draft 4's true or false beside the other. Throws Error that names the place.
std::optional<Bound> number_bound(const Schema& schema, bool lower, const std::string& pointer);

// Of the keywords of an object, and of those that were merged into it. Throws Error that names the
// place.
NumberLimits number_limits(const Schema& schema, const std::string& pointer);

// Whether a number of a schema is within the limits, as checkers have it.
bool satisfies(const NumberLimits& limits, const Schema& number);

}  // namespace anser
