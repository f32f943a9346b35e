// Numbers within bounds of any size, and multiples: also for who reads them as doubles.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "grammar/constraints.h"
#include "grammar/random_texts.h"
#include "support/errors.h"

namespace anser {
namespace {

using namespace support;

// A decimal as a sign, digits before the point filled up in front, and digits behind it, so that
// texts compare as numbers do. Written for this test alone.
std::string aligned(std::string text) {
  const bool negative = text[0] == '-';
  if (negative) text.erase(0, 1);
  const size_t point = text.find('.');
  std::string whole = text.substr(0, point);
  std::string fraction = point == std::string::npos ? "" : text.substr(point + 1);
  whole.insert(0, 400 - whole.size(), '0');
  fraction.append(400 - fraction.size(), '0');
  std::string digits = whole + fraction;
  const bool zero = digits.find_first_not_of('0') == std::string::npos;
  if (negative && !zero) {
    for (char& c : digits) c = char('9' - c + '0');
    return "-" + digits;
  }
  return "0" + digits;
}
bool is_below(const std::string& a, const std::string& b) {
  return aligned(a) < aligned(b);
}
double read(const std::string& text) {
  return std::strtod(text.c_str(), nullptr);
}

struct Range {
  std::string schema;
  // As decimals without an exponent; empty: none.
  std::string low, high;
  bool low_is_out = false, high_is_out = false;
};

const Range kRanges[] = {
    {R"({"type":"integer","minimum":-9007199254740991,"maximum":9007199254740991})",
     "-9007199254740991", "9007199254740991"},
    {R"({"type":"integer","minimum":9007199254740990,"maximum":9007199254740991})",
     "9007199254740990", "9007199254740991"},
    {R"({"type":"integer","exclusiveMinimum":9007199254740993,"exclusiveMaximum":9223372036854775807})",
     "9007199254740993", "9223372036854775807", true, true},
    {R"({"type":"integer","minimum":-9223372036854775808,"maximum":9223372036854775807})",
     "-9223372036854775808", "9223372036854775807"},
    {R"({"type":"integer","minimum":0,"maximum":18446744073709551615})", "0",
     "18446744073709551615"},
    {R"({"type":"integer","minimum":1000000000000000000})", "1000000000000000000",
     "9223372036854775807"},
    {R"({"type":"integer","maximum":-1000000000000000000})", "-9223372036854775808",
     "-1000000000000000000"},
    {R"({"type":"integer","minimum":1e19})", "10000000000000000000", ""},
    {R"({"type":"number","maximum":1e18})", "", "1000000000000000000"},
    {R"({"type":"number","minimum":1e18,"maximum":1e300})", "1000000000000000000", ""},
    {R"({"type":"number","minimum":-1e18,"maximum":1e18})", "-1000000000000000000",
     "1000000000000000000"},
    {R"({"type":"number","exclusiveMaximum":1e18,"exclusiveMinimum":9e17})", "900000000000000000",
     "1000000000000000000", true, true},
    {R"({"type":"number","maximum":1e300})", "", "1" + std::string(300, '0')},
    {R"({"type":"number","minimum":1e300})", "1" + std::string(300, '0'), ""},
    {R"({"type":"number","exclusiveMinimum":0,"maximum":1e-9})", "0", "0.000000001", true},
    {R"({"type":"number","minimum":1e-9,"exclusiveMaximum":3e-9})", "0.000000001", "0.000000003",
     false, true},
    {R"({"type":"number","exclusiveMinimum":1e-30,"exclusiveMaximum":2e-30})",
     "0." + std::string(29, '0') + "1", "0." + std::string(29, '0') + "2", true, true},
    {R"({"type":"number","exclusiveMinimum":0.1,"exclusiveMaximum":0.30000000000000004})", "0.1",
     "0.30000000000000004", true, true},
    {R"({"type":"number","minimum":0.1234567890123456,"maximum":0.12345678901234567})",
     "0.1234567890123456", "0.12345678901234567"},
    {R"({"type":"integer","minimum":5,"exclusiveMinimum":true,"maximum":9,"exclusiveMaximum":true})",
     "5", "9", true, true},
    {R"({"type":"number","minimum":5,"exclusiveMinimum":false,"maximum":5})", "5", "5"},
};

TEST(Numbers, StayWithinBoundsOfAnySize) {
  for (const Range& range : kRanges) {
    SCOPED_TRACE(range.schema);
    for_random_texts(
        byte_constraint(range.schema), 200,
        [&](const std::string& text) {
          EXPECT_EQ(text.find_first_of("eE"), std::string::npos) << text;
          EXPECT_TRUE(std::isfinite(read(text))) << text;
          if (!range.low.empty()) {
            EXPECT_FALSE(is_below(text, range.low)) << text;
            EXPECT_TRUE(range.low_is_out ? read(text) > read(range.low)
                                         : read(text) >= read(range.low))
                << text;
          }
          if (!range.high.empty()) {
            EXPECT_FALSE(is_below(range.high, text)) << text;
            EXPECT_TRUE(range.high_is_out ? read(text) < read(range.high)
                                          : read(text) <= read(range.high))
                << text;
          }
        },
        400);
  }
}

TEST(Numbers, TheBoundsThemselvesCanBeWritten) {
  const struct {
    const char* schema;
    std::vector<std::string> accepted, refused;
  } kCases[] = {
      {R"({"type":"integer","minimum":-9007199254740991,"maximum":9007199254740991})",
       {"9007199254740991", "-9007199254740991", "0", "1000000000000000"},
       {"9007199254740992", "-9007199254740992", "10000000000000000"}},
      {R"({"type":"integer","maximum":9223372036854775807})",
       {"9223372036854775807", "1000000000000000000"},
       {"9223372036854775808", "9300000000000000000"}},
      {R"({"type":"integer","exclusiveMaximum":9223372036854775808})",
       {"9223372036854774784"},
       {"9223372036854775807"}},
      {R"({"type":"integer","minimum":3})", {"999999999999999999"}, {"2"}},
      {R"({"type":"number","minimum":1e-9})", {"0.000000001", "1"}, {"0.0000000009", "0", "1e-9"}},
      {R"({"type":"number","maximum":1e18})", {"1000000000000000000"}, {"1000000000000000001"}},
      {R"({"type":"integer","minimum":5,"exclusiveMinimum":true})", {"6"}, {"5"}},
      {R"({"type":"integer","minimum":5,"exclusiveMinimum":false})", {"5"}, {"4"}},
      {R"({"allOf":[{"minimum":5,"exclusiveMinimum":true},{"minimum":7},{"maximum":9}],
           "type":"integer"})",
       {"7", "9"},
       {"5", "6", "10"}},
      {R"({"allOf":[{"minimum":5,"exclusiveMinimum":true},{"minimum":5}],"type":"integer"})",
       {"6"},
       {"5"}},
      {R"({"allOf":[{"maximum":9007199254740993},{"maximum":9007199254740992.0}],"type":"integer"})",
       {"9007199254740992"},
       {"9007199254740993"}},
      {R"({"type":"integer","exclusiveMinimum":9007199254740992,"maximum":9007199254740995,
           "not":{"maximum":9007199254740993}})",
       {"9007199254740994"},
       {"9007199254740993", "9007199254740996"}},
  };
  for (const auto& [schema, accepted, refused] : kCases) {
    const auto constraint = byte_constraint(schema);
    for (const std::string& text : accepted)
      EXPECT_TRUE(accepts(constraint, text)) << schema << text;
    for (const std::string& text : refused)
      EXPECT_FALSE(accepts(constraint, text)) << schema << text;
  }
}

TEST(Numbers, ThatCannotGetLongerAreOver) {
  for (const char* schema :
       {R"({"type":"number","not":{"multipleOf":5}})", R"({"oneOf":[{},{"multipleOf":5}]})",
        R"({"if":{"multipleOf":5},"then":{"type":"object"}})"}) {
    ConstraintMatcher matcher(byte_constraint(schema));
    const std::string_view digits = "123456789123456";
    for (size_t i = 0; i < digits.size(); ++i) {
      EXPECT_TRUE(matcher.open()) << schema;
      ASSERT_TRUE(matcher.accept(digits.substr(i, 1))) << schema;
    }
    EXPECT_TRUE(matcher.complete()) << schema;
    EXPECT_FALSE(matcher.open()) << schema;
  }
}

// As checkers have it: by the double where the schema has a fraction.
bool is_multiple(const std::string& text, double of, bool is_float) {
  const double quotient = read(text) / of;
  return is_float ? std::trunc(quotient) == quotient : std::fmod(read(text), of) == 0;
}

TEST(Numbers, MultiplesAreThoseThatCheckersAccept) {
  const struct {
    const char* schema;
    std::vector<std::pair<double, bool>> of;
    double low = -std::numeric_limits<double>::infinity();
    double high = std::numeric_limits<double>::infinity();
  } kCases[] = {
      {R"({"type":"integer","multipleOf":5})", {{5, false}}},
      {R"({"type":"integer","multipleOf":7,"minimum":-30,"maximum":1000})",
       {{7, false}},
       -30,
       1000},
      {R"({"type":"number","multipleOf":3,"exclusiveMinimum":2.5})", {{3, false}}, 2.5},
      {R"({"type":"integer","multipleOf":1.0,"minimum":3,"maximum":12})", {{1, true}}, 3, 12},
      {R"({"type":"integer","multipleOf":256})", {{256, false}}},
      {R"({"type":"integer","multipleOf":86400,"minimum":0})", {{86400, false}}, 0},
      {R"({"type":"integer","multipleOf":7919,"minimum":-100000})", {{7919, false}}, -100000},
      {R"({"type":"integer","multipleOf":1000000000000})", {{1e12, false}}},
      {R"({"type":"integer","multipleOf":1099511627776})", {{0x1p40, false}}},
      {R"({"type":"number","multipleOf":0.5})", {{0.5, true}}},
      {R"({"type":"number","multipleOf":2.5,"minimum":-10,"maximum":100})",
       {{2.5, true}},
       -10,
       100},
      {R"({"type":"number","multipleOf":2.125})", {{2.125, true}}},
      {R"({"type":"number","multipleOf":0.01})", {{0.01, true}}},
      {R"({"type":"number","multipleOf":0.01,"minimum":0,"exclusiveMaximum":20})",
       {{0.01, true}},
       0,
       20},
      {R"({"type":"number","multipleOf":0.01,"minimum":5000.5})", {{0.01, true}}, 5000.5},
      {R"({"type":"number","multipleOf":0.1,"maximum":0})", {{0.1, true}}, -1e300, 0},
      {R"({"type":"number","multipleOf":0.0001})", {{0.0001, true}}},
      {R"({"type":"number","multipleOf":0.123456789})", {{0.123456789, true}}},
      {R"({"type":"number","multipleOf":1e-9})", {{1e-9, true}}},
      {R"({"type":"integer","multipleOf":0.01})", {{0.01, true}}},
      {R"({"type":"integer","multipleOf":2.5})", {{2.5, true}}},
      {R"({"type":"integer","allOf":[{"multipleOf":4},{"multipleOf":6}]})",
       {{4, false}, {6, false}}},
      {R"({"type":"number","allOf":[{"multipleOf":0.1},{"multipleOf":0.25}]})",
       {{0.1, true}, {0.25, true}}},
  };
  for (const auto& [schema, of, low, high] : kCases) {
    SCOPED_TRACE(schema);
    for_random_texts(byte_constraint(schema), 300,
                     [&, &divisors = of, low = low, high = high](const std::string& text) {
                       EXPECT_GE(read(text), low) << text;
                       EXPECT_LE(read(text), high) << text;
                       for (const auto& [divisor, is_float] : divisors) {
                         EXPECT_TRUE(is_multiple(text, divisor, is_float))
                             << text << " of " << divisor;
                       }
                     });
  }
}

TEST(Numbers, MultiplesCanBeWritten) {
  const struct {
    const char* schema;
    std::vector<std::string> accepted, refused;
  } kCases[] = {
      {R"({"type":"integer","multipleOf":5})",
       {"0", "5", "-10", "123456789012345"},
       {"1", "-0", "52", "5.0", "9007199254740995"}},
      {R"({"type":"number","multipleOf":0.5})", {"0.5", "-1.5", "7", "12.0"}, {"0.25", "0.1"}},
      // 19.99 / 0.01 is no whole number for a double.
      {R"({"type":"number","multipleOf":0.01})",
       {"0.01", "19.98", "999.99", "1.5", "12345", "-0.25"},
       {"19.99", "0.001", "1.13"}},
      {R"({"type":"integer","multipleOf":86400})", {"86400", "172800"}, {"86401", "8640"}},
      {R"({"type":"integer","multipleOf":7919})", {"7919", "-15838", "0"}, {"7920"}},
      {R"({"type":"integer","allOf":[{"multipleOf":4},{"multipleOf":6}]})",
       {"12", "24"},
       {"4", "6"}},
      {R"({"multipleOf":3})", {"9"}, {"8", "\"a\""}},
  };
  for (const auto& [schema, accepted, refused] : kCases) {
    const auto constraint = byte_constraint(schema);
    for (const std::string& text : accepted)
      EXPECT_TRUE(accepts(constraint, text)) << schema << text;
    for (const std::string& text : refused)
      EXPECT_FALSE(accepts(constraint, text)) << schema << text;
  }
}

// All two-digit fractions below a thousand, as a double divides them.
TEST(Numbers, MultiplesOfAHundredthAreExactlyThoseOfTheDouble) {
  const auto constraint = byte_constraint(R"({"type":"number","multipleOf":0.01,"minimum":0})");
  int right = 0;
  for (int cents = 0; cents < 100'000; cents += 7) {
    const std::string digits = std::to_string(1000 + cents % 100).substr(2);
    const std::string text = std::to_string(cents / 100) + "." + digits;
    const bool is_right = is_multiple(text, 0.01, true);
    right += is_right ? 1 : 0;
    ASSERT_EQ(accepts(constraint, text), is_right) << text;
  }
  EXPECT_GT(right, 10'000);
}

TEST(Numbers, WhatIsTooLargeOrMalformedIsRefusedByName) {
  for (
      const char* schema :
      {R"({"type":"integer","multipleOf":0})", R"({"type":"integer","multipleOf":-3})",
       R"({"type":"integer","multipleOf":"3"})", R"({"multipleOf":1234567890123456})",
       R"({"type":"integer","allOf":[{"multipleOf":99999999999997},{"multipleOf":99999999999999}]})",
       R"({"type":"integer","multipleOf":7919,"minimum":1e17})"}) {
    expect_error({"'multipleOf'"}, [&] { byte_constraint(schema); });
  }
  for (const char* schema : {R"({"type":"integer","minimum":1e18,"maximum":1})",
                             R"({"type":"integer","exclusiveMinimum":-5,"exclusiveMaximum":-1e18})",
                             R"({"type":"number","minimum":1e308,"maximum":1e307})"}) {
    expect_error({"no text"}, [&] { byte_constraint(schema); });
  }
  expect_error({"'minimum'"}, [] { byte_constraint(R"({"type":"integer","minimum":"3"})"); });
  expect_error({"'exclusiveMaximum'"},
               [] { byte_constraint(R"({"type":"number","exclusiveMaximum":null})"); });
}

}  // namespace
}  // namespace anser
