#include "grammar/leaf_keywords.h"

#include <optional>

#include "grammar/decimal.h"

namespace anser {

bool is_below(const Schema& a, const Schema& b) {
  const std::optional<Decimal> first = decimal_of(a), second = decimal_of(b);
  return first && second ? compare(*first, *second) < 0 : a < b;
}

void tighten(Schema& leaf, const std::string& keyword, const Schema& value, bool lower) {
  const auto old = leaf.find(keyword);
  if (old == leaf.end()) {
    leaf[keyword] = value;
  } else if (lower ? is_below(*old, value) : is_below(value, *old)) {
    *old = value;
  }
}

}  // namespace anser
