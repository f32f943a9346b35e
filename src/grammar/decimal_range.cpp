#include "grammar/decimal_range.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <tuple>

namespace anser {
namespace {

constexpr int kDigits = 15;

// Numbers without a sign. While the digits written are those of a bound, the next one is limited by
// it; once they differ, the bound is kept whatever follows.
class Digits {
 public:
  Digits(GrammarBuilder& builder, RuleId rule, const std::optional<Bound>& low,
         const std::optional<Bound>& high, bool integer, StateId to)
      : builder_(builder), rule_(rule), low_(low), high_(high), integer_(integer), to_(to) {}

  void add(StateId from) {
    for (int length = 1; length <= kDigits; ++length) {
      const auto whole = [](const Bound& bound) { return int(bound.value.whole.size()); };
      if (low_ && length < whole(*low_)) continue;
      if (high_ && length > whole(*high_)) continue;
      length_ = length;
      states_.clear();
      builder_.add_jump(from,
                        at(0, low_ && length == whole(*low_), high_ && length == whole(*high_)));
    }
  }

 private:
  static char digit(const Bound& bound, int position) {
    const Decimal& d = bound.value;
    const int whole = int(d.whole.size());
    if (position < whole) return d.whole[size_t(position)];
    const size_t behind = size_t(position - whole);
    return behind < d.fraction.size() ? d.fraction[behind] : '0';
  }
  // Whether the bound has no digit but 0 from a position on.
  static bool zeros_from(const Bound& bound, int position) {
    const int whole = int(bound.value.whole.size());
    for (int p = position; p < whole + int(bound.value.fraction.size()); ++p) {
      if (digit(bound, p) != '0') return false;
    }
    return true;
  }

  // After `position` digits.
  StateId at(int position, bool on_low, bool on_high) {
    const auto [found, is_new] = states_.try_emplace(std::tuple(position, on_low, on_high), 0);
    if (!is_new) return found->second;
    const StateId state = found->second = builder_.add_state(rule_);
    if (position >= length_ && may_end(position, on_low, on_high)) builder_.add_jump(state, to_);
    if (position == (integer_ ? length_ : kDigits)) return state;
    StateId before_digit = state;
    if (position == length_) {
      before_digit = builder_.add_state(rule_);
      builder_.add_text(state, ".", before_digit);
    }
    const char first = position == 0 && length_ > 1 ? '1' : '0';
    const char least = std::max(first, on_low ? digit(*low_, position) : '0');
    const char most = on_high ? digit(*high_, position) : '9';
    for (char c = least; c <= most; ++c) {
      const StateId next = at(position + 1, on_low && c == digit(*low_, position),
                              on_high && c == digit(*high_, position));
      builder_.add_bytes(before_digit, uint8_t(c), uint8_t(c), next);
    }
    return state;
  }

  bool may_end(int position, bool on_low, bool on_high) const {
    // What is left out counts as zeros.
    if (on_low && (low_->exclusive || !zeros_from(*low_, position))) return false;
    return !(on_high && high_->exclusive && zeros_from(*high_, position));
  }

  GrammarBuilder& builder_;
  const RuleId rule_;
  const std::optional<Bound>&low_, &high_;
  const bool integer_;
  const StateId to_;
  int length_ = 0;  // of the part before the point
  std::map<std::tuple<int, bool, bool>, StateId> states_;
};

Bound zero() {
  return {};
}

}  // namespace

std::optional<Decimal> parse_decimal(const std::string& text) {
  Decimal value;
  std::string digits;
  long exponent = 0;  // of ten, of the digits as a whole number
  bool point = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '-') {
      value.negative = true;
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
  while (digits.size() > 1 && digits.back() == '0') digits.pop_back(), ++exponent;
  digits.erase(0, digits.find_first_not_of('0'));
  if (digits.empty()) return Decimal();
  if (exponent > kDigits || exponent < -kDigits) return std::nullopt;
  if (exponent > 0) digits.append(size_t(exponent), '0');
  const size_t behind = exponent < 0 ? size_t(-exponent) : 0;
  if (digits.size() <= behind) digits.insert(0, behind + 1 - digits.size(), '0');
  if (digits.size() > size_t(kDigits)) return std::nullopt;
  value.whole = digits.substr(0, digits.size() - behind);
  value.fraction = digits.substr(digits.size() - behind);
  return value;
}

void add_decimals(GrammarBuilder& builder, StateId from, const DecimalRange& range, StateId to) {
  const RuleId rule = builder.rule_of(from);
  const auto& [low, high, integer] = range;
  const bool low_is_negative = !low || low->value.negative;
  const bool high_is_negative = high && high->value.negative;
  if (!high_is_negative) {
    Digits(builder, rule, low_is_negative ? std::nullopt : low, high, integer, to).add(from);
  }
  if (low_is_negative) {
    const StateId minus = builder.add_state(rule);
    builder.add_text(from, "-", minus);
    // Sizes, so the bounds change places. What is nearest to zero must not be "-0", when zero is
    // excluded by the other bound.
    std::optional<Bound> least;
    if (high_is_negative) {
      least = high;
    } else {
      least = zero();
      least->exclusive = true;
    }
    Digits(builder, rule, least, low, integer, to).add(minus);
  }
}

}  // namespace anser
