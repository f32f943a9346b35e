#include "grammar/number_limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/cut_text.h"
#include "grammar/leaf_keywords.h"
#include "grammar/schema_values.h"

namespace anser {
namespace {

constexpr size_t kMaxDigits = 15;  // of a multiple

Decimal read_number(const Schema& schema, const char* keyword, const std::string& pointer) {
  const std::optional<Decimal> number = decimal_of(schema[keyword]);
  if (number) return *number;
  fail_at(pointer,
          fmt::format("'{}' is {}, expected a number", keyword, cut_text(schema[keyword].dump())));
}

void read_multiple(const Schema& schema, const std::string& pointer, NumberLimits& limits) {
  if (!schema.contains("multipleOf")) return;
  const Schema& given = schema["multipleOf"];
  const std::optional<Decimal> value = decimal_of(given);
  if (!value || value->negative || is_zero(*value)) {
    fail_at(pointer,
            fmt::format("'multipleOf' is {}, expected a number above 0", cut_text(given.dump())));
  }
  if (value->whole.size() + value->fraction.size() > kMaxDigits) {
    fail_at(pointer, fmt::format("'multipleOf' is {}; one of more than {} digits is not supported",
                                 cut_text(given.dump()), kMaxDigits));
  }
  limits.multiples.push_back({*value, given.get<double>(), given.is_number_float()});
}

// The rest of the double that is nearest to a decimal of few digits, times a power of ten; and the
// decimal times that power.
std::pair<double, double> scaled_rest(const Multiple& multiple) {
  const size_t places = multiple.value.fraction.size();
  const double power = to_double(shifted({false, "1", ""}, places));
  const double wanted = to_double(shifted(multiple.value, places));
  return {std::fma(multiple.number, power, -wanted), wanted};
}

}  // namespace

bool Multiple::is_divisor_of(double multiple) const {
  if (!is_float) return std::fmod(multiple, number) == 0;
  const double quotient = multiple / number;
  return std::trunc(quotient) == quotient;
}

bool Multiple::is_exact() const {
  return !is_float || scaled_rest(*this).first == 0;
}

bool Multiple::divides_wholes() const {
  if (!is_float) return true;
  const auto [rest, wanted] = scaled_rest(*this);
  return std::abs(rest) <= 0x1p-54 * wanted;
}

std::optional<Bound> number_bound(const Schema& schema, bool lower, const std::string& pointer) {
  const char* const keyword = lower ? "minimum" : "maximum";
  const char* const exclusive = lower ? "exclusiveMinimum" : "exclusiveMaximum";
  std::optional<Bound> bound;
  if (schema.contains(keyword)) bound = Bound{read_number(schema, keyword, pointer)};
  if (!schema.contains(exclusive)) return bound;
  if (schema[exclusive].is_boolean()) {
    if (bound) bound->exclusive = schema[exclusive].get<bool>();
    return bound;
  }
  const Bound other = {read_number(schema, exclusive, pointer), true};
  if (!bound) return other;
  const int order = compare(other.value, bound->value);
  return (lower ? order >= 0 : order <= 0) ? other : *bound;
}

NumberLimits number_limits(const Schema& schema, const std::string& pointer) {
  NumberLimits limits;
  limits.low = number_bound(schema, true, pointer);
  limits.high = number_bound(schema, false, pointer);
  read_multiple(schema, pointer, limits);
  if (schema.contains(kAlso)) {
    for (const Schema& more : schema[kAlso]) {
      if (more.is_object()) read_multiple(more, pointer, limits);
    }
  }
  return limits;
}

bool satisfies(const NumberLimits& limits, const Schema& number) {
  const std::optional<Decimal> value = decimal_of(number);
  if (!value) return false;
  const auto keeps = [&](const std::optional<Bound>& bound, int side) {
    if (!bound) return true;
    const int order = compare(*value, bound->value) * side;
    return order > 0 || (order == 0 && !bound->exclusive);
  };
  const auto divides = [&](const Multiple& multiple) {
    // Whole numbers that no double holds are divided as they are.
    const std::optional<uint64_t> divisor = to_whole(multiple.value);
    if (!multiple.is_float && divisor && number.is_number_integer()) {
      return number.is_number_unsigned() ? number.get<uint64_t>() % *divisor == 0
                                         : number.get<int64_t>() % int64_t(*divisor) == 0;
    }
    return multiple.is_divisor_of(number.get<double>());
  };
  return keeps(limits.low, 1) && keeps(limits.high, -1) &&
         std::ranges::all_of(limits.multiples, divides);
}

}  // namespace anser
