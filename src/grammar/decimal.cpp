#include "grammar/decimal.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

namespace anser {
namespace {

constexpr long kMaxExponent = 400;  // doubles end at 308 and -324
constexpr size_t kMaxDigits = 800;

Decimal made(bool negative, std::string whole, std::string fraction) {
  whole.erase(0, std::min(whole.find_first_not_of('0'), whole.size()));
  if (whole.empty()) whole = "0";
  while (!fraction.empty() && fraction.back() == '0') fraction.pop_back();
  return {negative && !(whole == "0" && fraction.empty()), std::move(whole), std::move(fraction)};
}

// Of digits without a sign.
std::string plus_one(std::string digits) {
  for (size_t i = digits.size(); i-- > 0;) {
    if (digits[i] != '9') return ++digits[i], digits;
    digits[i] = '0';
  }
  return "1" + digits;
}
std::string minus_one(std::string digits) {
  for (size_t i = digits.size(); i-- > 0;) {
    if (digits[i] != '0') return --digits[i], digits;
    digits[i] = '9';
  }
  return digits;
}

int compare_sizes(const Decimal& a, const Decimal& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -1 : 1;
  const int whole = a.whole.compare(b.whole);
  return whole != 0 ? whole : a.fraction.compare(b.fraction);
}

}  // namespace

std::optional<Decimal> parse_decimal(const std::string& text) {
  bool negative = false, point = false;
  std::string digits;
  long exponent = 0;  // of ten, of the digits as a whole number
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '-') {
      negative = true;
    } else if (c == '.') {
      point = true;
    } else if (c == 'e' || c == 'E') {
      exponent += std::strtol(text.c_str() + i + 1, nullptr, 10);
      break;
    } else {
      digits += c;
      if (point) --exponent;
    }
  }
  if (exponent > kMaxExponent || exponent < -kMaxExponent || digits.size() > kMaxDigits) {
    return std::nullopt;
  }
  if (exponent > 0) digits.append(size_t(exponent), '0');
  const size_t behind = exponent < 0 ? size_t(-exponent) : 0;
  if (digits.size() <= behind) digits.insert(0, behind + 1 - digits.size(), '0');
  return made(negative, digits.substr(0, digits.size() - behind),
              digits.substr(digits.size() - behind));
}

Decimal decimal_of(double value) {
  // From 2^53 on a double is a whole number.
  const bool large = std::abs(value) >= 0x1p53;
  return parse_decimal(large ? fmt::format("{:.0f}", value) : fmt::format("{}", value)).value();
}

std::optional<Decimal> decimal_of(const Schema& value) {
  if (!value.is_number()) return std::nullopt;
  if (!value.is_number_float()) return parse_decimal(value.dump());
  const double number = value.get<double>();
  if (!std::isfinite(number)) return std::nullopt;
  return decimal_of(number);
}

double to_double(const Decimal& value) {
  const std::string text = value.whole + "." + value.fraction + "0";
  const double size = std::strtod(text.c_str(), nullptr);
  return value.negative ? -size : size;
}

Decimal negated(Decimal value) {
  value.negative = !value.negative && !is_zero(value);
  return value;
}

bool is_zero(const Decimal& value) {
  return value.whole == "0" && value.fraction.empty();
}

int compare(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  return a.negative ? compare_sizes(b, a) : compare_sizes(a, b);
}

Decimal ceiling(const Decimal& value) {
  const bool up = !value.negative && !value.fraction.empty();
  return made(value.negative, up ? plus_one(value.whole) : value.whole, "");
}

Decimal next_whole(const Decimal& whole) {
  return made(whole.negative, whole.negative ? minus_one(whole.whole) : plus_one(whole.whole), "");
}

Decimal shifted(const Decimal& value, size_t places) {
  std::string fraction = value.fraction;
  if (fraction.size() < places) fraction.append(places - fraction.size(), '0');
  return made(value.negative, value.whole + fraction.substr(0, places), fraction.substr(places));
}

std::optional<uint64_t> to_whole(const Decimal& value) {
  if (value.negative || !value.fraction.empty() || value.whole.size() > 18) return std::nullopt;
  return std::strtoull(value.whole.c_str(), nullptr, 10);
}

}  // namespace anser
