#include "grammar/decimal_range.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <tuple>
#include <vector>

namespace anser {
namespace {

// Up to 15 digits a double tells decimals apart.
constexpr int kDigits = 15, kWholeDigits = 18;
// An upper bound with more digits before the point than that does not make numbers longer.
constexpr int kLongest = 20;

__extension__ using Wide = unsigned __int128;

// What is written between two bounds of one sign: of sizes, without the sign.
struct Sizes {
  std::optional<Bound> low, high;
  int whole = kWholeDigits;  // digits before the point, at the most
  int total = kWholeDigits;  // and all in all
  int places = 0;            // behind the point, at the most
  uint64_t step = 1;         // see DecimalRange
};

// Numbers without a sign. While the digits written are those of a bound, the next one is limited by
// it; once they differ, the bound is kept whatever follows. Of a multiple the rest is carried along
// that the digits so far leave.
class Digits {
 public:
  Digits(GrammarBuilder& builder, RuleId rule, const Sizes& sizes, StateId to)
      : builder_(builder), rule_(rule), sizes_(sizes), to_(to) {
    if (sizes.step == 1) return;
    for (int left = 0; left <= sizes.whole + sizes.places; ++left) {
      moduli_.push_back(rest_modulus(sizes.step, left));
    }
  }

  void add(StateId from) {
    const auto whole = [](const Bound& bound) { return int(bound.value.whole.size()); };
    const int least = sizes_.low ? whole(*sizes_.low) : 1;
    const int most = sizes_.high ? std::min(whole(*sizes_.high), sizes_.whole) : sizes_.whole;
    for (length_ = least; length_ <= most; ++length_) {
      builder_.add_jump(from, at(0, sizes_.low && length_ == whole(*sizes_.low),
                                 sizes_.high && length_ == whole(*sizes_.high), 0));
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
  StateId at(int position, bool on_low, bool on_high, uint64_t rest) {
    // Of multiples that no bound limits any more, what is to come is all that counts.
    const bool anywhere = sizes_.step > 1 && position > 0 && !on_low && !on_high;
    const auto [found, is_new] = states_.try_emplace(
        std::tuple(length_ - position, anywhere ? -1 : position, on_low, on_high, rest), 0);
    if (!is_new) return found->second;
    const StateId state = found->second = builder_.add_state(rule_);
    if (position >= length_ && rest == 0 && may_end(position, on_low, on_high)) {
      builder_.add_jump(state, to_);
    }
    const bool full = position >= sizes_.total || position - length_ >= sizes_.places;
    if (position >= length_ && full) return state;
    StateId before_digit = state;
    if (position == length_) {
      before_digit = builder_.add_state(rule_);
      builder_.add_text(state, ".", before_digit);
    }
    const char first = position == 0 && length_ > 1 ? '1' : '0';
    const char least = std::max(first, on_low ? digit(*sizes_.low, position) : '0');
    const char most = on_high ? digit(*sizes_.high, position) : '9';
    // Neighbours that lead to the same state are one edge.
    for (char c = least; c <= most;) {
      const StateId next = behind(position, on_low, on_high, rest, c);
      char last = c;
      while (last < most && behind(position, on_low, on_high, rest, char(last + 1)) == next) ++last;
      if (next != kNone) builder_.add_bytes(before_digit, uint8_t(c), uint8_t(last), next);
      c = char(last + 1);
    }
    return state;
  }

  static constexpr StateId kNone = kUnlimited;

  StateId behind(int position, bool on_low, bool on_high, uint64_t rest, char c) {
    const int left = length_ + sizes_.places - position - 1;
    uint64_t next = 0;
    if (sizes_.step > 1) {
      next = (rest * 10 + uint64_t(c - '0')) % moduli_[size_t(left)];
      if (!can_end(next, left)) return kNone;
    }
    return at(position + 1, on_low && c == digit(*sizes_.low, position),
              on_high && c == digit(*sizes_.high, position), next);
  }

  // Whether so many more digits can make a multiple of a number that leaves this rest.
  bool can_end(uint64_t rest, int left) const {
    const uint64_t modulus = moduli_[size_t(left)], shared = sizes_.step / modulus;
    Wide power = 1;  // 10^left, if that matters
    for (int i = 0; i < left && power < Wide(sizes_.step) * 10; ++i) power *= 10;
    if (power >= Wide(sizes_.step)) return true;
    const Wide now = Wide(rest) * (power / shared) % modulus * shared;
    return now == 0 || Wide(sizes_.step) - now < power;
  }

  bool may_end(int position, bool on_low, bool on_high) const {
    // What is left out counts as zeros.
    if (on_low && (sizes_.low->exclusive || !zeros_from(*sizes_.low, position))) return false;
    return !(on_high && sizes_.high->exclusive && zeros_from(*sizes_.high, position));
  }

  GrammarBuilder& builder_;
  const RuleId rule_;
  const Sizes& sizes_;
  const StateId to_;
  std::vector<uint64_t> moduli_;  // of the rests, by the digits that are still to come
  int length_ = 0;                // of the part before the point
  std::map<std::tuple<int, int, bool, bool, uint64_t>, StateId> states_;
};

// An exclusive bound as the next double behind it, inclusive: who reads a number as a double may
// take it for the bound itself, but never for one beyond the next.
Bound next_double(const Bound& bound, double towards) {
  return {decimal_of(std::nextafter(to_double(bound.value), towards))};
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();

int whole_digits(const std::optional<Bound>& bound) {
  return bound ? int(bound->value.whole.size()) : 0;
}
int all_digits(const std::optional<Bound>& bound) {
  return bound ? whole_digits(bound) + int(bound->value.fraction.size()) : 0;
}

// Where numbers are written that a type of fixed size, or a double, could not hold, its largest
// number is a bound.
void limit_to_type(Sizes& sizes, int digits, const Decimal& largest) {
  if (sizes.whole != digits || (sizes.high && whole_digits(sizes.high) <= digits)) return;
  if (sizes.low && compare(sizes.low->value, largest) > 0) return;
  sizes.high = Bound{largest};
}

Sizes sizes_between(std::optional<Bound> low, std::optional<Bound> high,
                    const DecimalRange& range) {
  Sizes sizes{low, high};
  sizes.step = range.step;
  sizes.places = int(range.places);
  const int upper = whole_digits(high) <= kLongest ? whole_digits(high) : 0;
  const int needed = std::max(whole_digits(low), upper);
  if (range.step > 1 && !range.integer) {
    sizes.whole = kDigits - sizes.places;
    sizes.total = kDigits;
    return sizes;
  }
  if (range.step > 1) {
    // Beyond that a double is another number, and no multiple.
    sizes.whole = sizes.total = std::max(kDigits, whole_digits(low));
    return sizes;
  }
  if (range.integer) {
    sizes.whole = sizes.total = std::max(kWholeDigits, needed);
    limit_to_type(sizes, 19, decimal_of(Schema(std::numeric_limits<int64_t>::max())).value());
    return sizes;
  }
  sizes.whole = std::max(kDigits, needed);
  limit_to_type(sizes, 309, decimal_of(std::numeric_limits<double>::max()));
  sizes.total = std::max({sizes.whole, all_digits(low), upper > 0 ? all_digits(high) : 0});
  sizes.places = sizes.total;
  if (sizes.total == kDigits) return sizes;
  sizes.places = ++sizes.total;
  if (low && low->exclusive && !is_zero(low->value)) sizes.low = next_double(*low, kInfinity);
  if (high && high->exclusive && !is_zero(high->value)) sizes.high = next_double(*high, 0);
  return sizes;
}

}  // namespace

uint64_t rest_modulus(uint64_t step, int left) {
  for (int i = 0; i < left && step > 1; ++i) step /= std::gcd(step, uint64_t{10});
  return step;
}

Decimal least_whole(const Bound& bound) {
  Decimal least = ceiling(bound.value);
  if (!bound.exclusive) return least;
  if (bound.value.fraction.empty()) least = next_whole(least);
  const double number = to_double(bound.value);
  if (std::abs(number) < 0x1p53) return least;
  const Decimal above = decimal_of(std::nextafter(number, kInfinity));
  return compare(above, least) > 0 ? above : least;
}

Decimal most_whole(const Bound& bound) {
  return negated(least_whole({negated(bound.value), bound.exclusive}));
}

void add_decimals(GrammarBuilder& builder, StateId from, const DecimalRange& range, StateId to) {
  const RuleId rule = builder.rule_of(from);
  const auto bound_of = [&](const std::optional<Bound>& bound, Decimal (*whole)(const Bound&)) {
    return bound && range.integer ? std::optional(Bound{whole(*bound)}) : bound;
  };
  const std::optional<Bound> low = bound_of(range.low, least_whole);
  const std::optional<Bound> high = bound_of(range.high, most_whole);
  const bool low_is_negative = !low || low->value.negative;
  const bool high_is_negative = high && high->value.negative;
  const auto add = [&](StateId begin, const Sizes& sizes) {
    Digits(builder, rule, sizes, to).add(begin);
  };
  if (!high_is_negative) {
    add(from, sizes_between(low_is_negative ? std::nullopt : low, high, range));
  }
  if (!low_is_negative) return;
  const StateId minus = builder.add_state(rule);
  builder.add_text(from, "-", minus);
  // Sizes, so the bounds change places. What is nearest to zero must not be "-0", when zero is
  // excluded by the other bound.
  const auto size_of = [](const Bound& bound) {
    return Bound{negated(bound.value), bound.exclusive};
  };
  const Bound least = high_is_negative ? size_of(*high) : Bound{{}, true};
  add(minus, sizes_between(least, low ? std::optional(size_of(*low)) : std::nullopt, range));
}

}  // namespace anser
