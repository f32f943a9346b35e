#include "grammar/number_rules.h"

#include <fmt/format.h>

#include "anser/error.h"
#include "grammar/number_multiples.h"

namespace anser {
namespace {

std::string text_of(const Decimal& value) {
  return fmt::format("{}{}.{}", value.negative ? "-" : "", value.whole, value.fraction);
}

std::string key_of(const NumberLimits& limits, bool integer) {
  std::string key = integer ? "integer" : "number";
  for (const auto* bound : {&limits.low, &limits.high}) {
    key += ' ';
    if (*bound) key += text_of((*bound)->value) + ((*bound)->exclusive ? "x" : "");
  }
  for (const Multiple& one : limits.multiples) {
    key += fmt::format(" {}{}", text_of(one.value), one.is_float ? "f" : "");
  }
  return key;
}

}  // namespace

RuleId NumberRules::rule(const NumberLimits& limits, bool integer, const std::string& where) {
  const bool any = !limits.low && !limits.high && limits.multiples.empty();
  if (any) return integer ? json_.integer() : json_.number();
  const auto [known, is_new] = rules_.try_emplace(key_of(limits, integer), 0);
  if (!is_new) return known->second;
  const RuleId rule = known->second = builder_.add_rule();
  const StateId start = builder_.start(rule), end = builder_.add_state(rule);
  builder_.finish_at(end);
  if (limits.multiples.empty()) {
    add_decimals(builder_, start, {limits.low, limits.high, integer}, end);
  } else if (!add_multiples(builder_, json_, start, limits, integer, end)) {
    throw Error(
        fmt::format("{}: 'multipleOf' is too large here: multiples of more than 15 digits, and "
                    "several without a common one of 15 digits, are not supported. Use a smaller "
                    "one, or an enum",
                    where));
  }
  return rule;
}

}  // namespace anser
