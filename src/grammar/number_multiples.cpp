#include "grammar/number_multiples.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

namespace anser {
namespace {

constexpr uint64_t kMaxStep = 1'000'000'000'000'000;
constexpr size_t kMaxPlaces = 4;  // of multiples that are tried out one by one
constexpr size_t kTriedDigits = 3, kMaxTriedDigits = 5;  // before the point, and with the places
// Rests of numbers of all lengths that are carried along from digit to digit.
constexpr double kMaxRests = 3'000;
// What is listed, of each sign.
constexpr uint64_t kMaxListed = 2'000;
constexpr uint64_t kLargest = 999'999'999'999'999;

// step / 10^places
struct Step {
  uint64_t step;
  size_t places;
};

uint64_t power_of_ten(size_t exponent) {
  uint64_t power = 1;
  for (size_t i = 0; i < exponent; ++i) power *= 10;
  return power;
}

std::optional<Step> common_multiple(const std::vector<Multiple>& multiples) {
  Step all{1, 0};
  for (const Multiple& one : multiples) {
    all.places = std::max(all.places, one.value.fraction.size());
  }
  for (const Multiple& one : multiples) {
    const auto scaled = to_whole(shifted(one.value, all.places));
    if (!scaled) return std::nullopt;
    const uint64_t factor = *scaled / std::gcd(all.step, *scaled);
    if (factor > kMaxStep / all.step) return std::nullopt;
    all.step *= factor;
  }
  return all;
}

// Its whole multiples only.
Step of_wholes(const Step& step) {
  return {step.step / std::gcd(step.step, power_of_ten(step.places)), 0};
}

// By the digits that are still to come: as many as there are beginnings, or ends, or rests.
bool has_few_rests(uint64_t step) {
  constexpr int kDigits = 18;
  double all = 0;
  for (int left = 0; left <= kDigits; ++left) {
    const double modulus = double(rest_modulus(step, left));
    const double ends = std::pow(10.0, left) * modulus / double(step);
    all += std::min({modulus, ends + 1, std::pow(10.0, kDigits - left)});
  }
  return all <= kMaxRests;
}

// Multiples of one sign, times 10^places, from the least to the largest size.
struct Span {
  uint64_t least, most;
};

Bound scaled(const Bound& bound, size_t places) {
  return {shifted(bound.value, places), bound.exclusive};
}

// Of positive numbers; of negative ones by the bounds turned round.
std::optional<Span> span_of(const std::optional<Bound>& low, const std::optional<Bound>& high,
                            size_t places) {
  Span span{0, kLargest};
  if (low) {
    const Decimal least = least_whole(scaled(*low, places));
    if (!least.negative) {
      const auto whole = to_whole(least);
      if (!whole) return std::nullopt;
      span.least = *whole;
    }
  }
  if (high) {
    const Decimal most = most_whole(scaled(*high, places));
    if (most.negative) return std::nullopt;
    span.most = std::min(to_whole(most).value_or(kLargest), kLargest);
  }
  if (span.least > span.most) return std::nullopt;
  return span;
}

std::string decimal_text(uint64_t scaled_value, size_t places) {
  std::string digits = std::to_string(scaled_value);
  if (digits.size() <= places) digits.insert(0, places + 1 - digits.size(), '0');
  std::string fraction = digits.substr(digits.size() - places);
  while (!fraction.empty() && fraction.back() == '0') fraction.pop_back();
  return digits.substr(0, digits.size() - places) + (fraction.empty() ? "" : "." + fraction);
}

// Numbers of one sign that are tried out one by one.
class Tried {
 public:
  Tried(GrammarBuilder& builder, const NumberLimits& limits, const Step& step, const Span& span,
        StateId to)
      : builder_(builder), limits_(limits), step_(step), span_(span), to_(to) {}

  // Of all that have few digits, with every way to write them.
  void add_all(StateId from) {
    const uint64_t unit = power_of_ten(step_.places);
    const uint64_t first = span_.least / unit;
    const size_t digits = std::min(kTriedDigits, kMaxTriedDigits - step_.places);
    const uint64_t last = std::min(first + power_of_ten(digits) - 1, span_.most / unit);
    std::map<std::pair<StateId, char>, StateId> tree;
    for (uint64_t whole = first; whole <= last; ++whole) {
      const std::optional<StateId> end = behind(whole, 0);
      if (!end) continue;
      StateId at = from;
      for (const char c : std::to_string(whole)) {
        const auto [child, is_new] = tree.try_emplace({at, c}, 0);
        if (is_new) {
          child->second = add_state();
          builder_.add_bytes(at, uint8_t(c), uint8_t(c), child->second);
        }
        at = child->second;
      }
      builder_.add_jump(at, *end);
    }
  }

  // The smallest ones, each as a text.
  std::vector<std::string> list() const {
    std::vector<std::string> texts;
    uint64_t at = span_.least + (step_.step - span_.least % step_.step) % step_.step;
    for (uint64_t i = 0; i < kMaxListed && at <= span_.most; ++i, at += step_.step) {
      if (is_right(at)) texts.push_back(decimal_text(at, step_.places));
    }
    return texts;
  }

 private:
  StateId add_state() { return builder_.add_state(builder_.rule_of(to_)); }

  bool is_right(uint64_t value) const {
    if (value < span_.least || value > span_.most || value % step_.step != 0) return false;
    // Both are doubles themselves, so that this is the double that the text stands for.
    const double number = double(value) / double(power_of_ten(step_.places));
    return std::ranges::all_of(limits_.multiples,
                               [&](const Multiple& one) { return one.is_divisor_of(number); });
  }

  // What may follow these digits, of which so many are behind the point; nothing if nothing may.
  // Equal ones are the same state.
  std::optional<StateId> behind(uint64_t digits, size_t places) {
    builder_.budget().spend(4);
    Children children = {};
    if (is_right(digits * power_of_ten(step_.places - places))) children[kEnds] = 1;
    if (places < step_.places) {
      for (size_t c = 0; c < 10; ++c) {
        if (const auto next = behind(digits * 10 + c, places + 1)) children[c] = *next + 1;
      }
    }
    if (children == Children{}) return std::nullopt;
    const auto [known, is_new] = states_.try_emplace({places == 0, children}, 0);
    if (is_new) known->second = made(children, places == 0);
    return known->second;
  }

  static constexpr size_t kEnds = 10;
  // Of each digit the state behind it, and one more; 0 where there is none.
  using Children = std::array<StateId, 11>;

  StateId made(const Children& children, bool point) {
    const StateId state = add_state();
    if (children[kEnds] != 0) builder_.add_jump(state, to_);
    StateId before_digit = state;
    const bool digits = std::any_of(children.begin(), children.begin() + kEnds,
                                    [](StateId child) { return child != 0; });
    if (point && digits) builder_.add_text(state, ".", before_digit = add_state());
    for (size_t c = 0; c < 10;) {
      size_t last = c;
      while (last + 1 < 10 && children[last + 1] == children[c]) ++last;
      if (children[c] != 0) {
        builder_.add_bytes(before_digit, uint8_t('0' + c), uint8_t('0' + last), children[c] - 1);
      }
      c = last + 1;
    }
    return state;
  }

  GrammarBuilder& builder_;
  const NumberLimits& limits_;
  const Step step_;
  const Span span_;
  const StateId to_;
  std::map<std::pair<bool, Children>, StateId> states_;
};

// Whether all that the bounds allow is beyond what is tried out.
bool begin_too_far(const NumberLimits& limits) {
  const auto is_far = [](const std::optional<Bound>& bound, bool negative) {
    return bound && bound->value.negative == negative && bound->value.whole.size() > 14;
  };
  return is_far(limits.low, false) || is_far(limits.high, true);
}

void add_tried(GrammarBuilder& builder, JsonRules& json, StateId from, const NumberLimits& limits,
               const Step& step, StateId to) {
  const auto add = [&](const std::optional<Span>& span, bool negative) {
    if (!span) return;
    const StateId begin = builder.add_state(builder.rule_of(from));
    builder.add_text(from, negative ? "-" : "", begin);
    Tried tried(builder, limits, step, *span, to);
    if (step.places > 0 && step.places <= kMaxPlaces) {
      tried.add_all(begin);
    } else {
      json.add_choice(begin, tried.list(), to);
    }
  };
  const auto turned = [](const std::optional<Bound>& bound) {
    return bound ? std::optional(Bound{negated(bound->value), bound->exclusive}) : std::nullopt;
  };
  add(span_of(limits.low, limits.high, step.places), false);
  // Without "-0".
  std::optional<Span> negative = span_of(turned(limits.high), turned(limits.low), step.places);
  if (negative && negative->least == 0) negative->least = 1;
  if (negative && negative->least <= negative->most) add(negative, true);
}

}  // namespace

bool add_multiples(GrammarBuilder& builder, JsonRules& json, StateId from,
                   const NumberLimits& limits, bool integer, StateId to) {
  const auto common = common_multiple(limits.multiples);
  if (!common) return false;
  const bool exact = std::ranges::all_of(limits.multiples, &Multiple::is_exact);
  const bool wholes = std::ranges::all_of(limits.multiples, &Multiple::divides_wholes);
  const Step whole = of_wholes(*common);
  const Step step = integer ? whole : *common;
  if (step.places > 0 && begin_too_far(limits)) return false;
  const auto add_step = [&](const Step& one) {
    const bool is_whole = one.places == 0;
    add_decimals(builder, from, {limits.low, limits.high, is_whole, one.step, one.places}, to);
  };
  if (has_few_rests(step.step) && (step.places == 0 ? wholes : exact)) {
    add_step(step);
    return true;
  }
  if (begin_too_far(limits)) return false;
  add_tried(builder, json, from, limits, step, to);
  if (step.places > 0 && wholes && has_few_rests(whole.step)) add_step(whole);
  return true;
}

}  // namespace anser
