// A pattern that has been read.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "grammar/json_rules.h"

namespace anser {

struct Expression {
  // The last three read nothing: they say that the text begins here, that it ends here, and what
  // it goes on with (parts[0], or not with that).
  enum class Kind { characters, sequence, choice, repeat, begin, end, ahead } kind;
  Characters characters = {};
  std::vector<Expression> parts = {};
  uint32_t least = 1, most = 1;  // of repeat
  bool negative = false;         // of ahead
};

inline bool is_assertion(const Expression& expression) {
  return expression.kind == Expression::Kind::begin || expression.kind == Expression::Kind::end ||
         expression.kind == Expression::Kind::ahead;
}
inline bool has_assertions(const Expression& expression) {
  return is_assertion(expression) || std::ranges::any_of(expression.parts, has_assertions);
}

// Any text.
inline Expression any_text() {
  return {Expression::Kind::repeat,
          {},
          {{Expression::Kind::characters, {{0, kLastCharacter}}}},
          0,
          kUnlimited};
}

// Sorted, and what touches joined.
inline Characters tidy(Characters ranges) {
  std::ranges::sort(ranges, {}, &CharacterRange::low);
  Characters joined;
  for (const CharacterRange range : ranges) {
    if (!joined.empty() && range.low <= joined.back().high + 1) {
      joined.back().high = std::max(joined.back().high, range.high);
    } else {
      joined.push_back(range);
    }
  }
  return joined;
}

// Writes an expression as states, to whatever has add_state(), add_jump(from, to),
// add_characters(from, characters, to) and add_assertion(from, assertion, to).
template <class Target>
class PatternWriter {
 public:
  using StateId = uint32_t;
  explicit PatternWriter(Target& target) : target_(target) {}

  void add(StateId from, const Expression& expression, StateId to) {
    switch (expression.kind) {
      case Expression::Kind::characters:
        return target_.add_characters(from, expression.characters, to);
      case Expression::Kind::choice:
        for (const Expression& part : expression.parts) add(from, part, to);
        return;
      case Expression::Kind::sequence:
        for (const Expression& part : expression.parts) from = add_part(from, part);
        return target_.add_jump(from, to);
      case Expression::Kind::repeat:
        return repeat(from, expression, to);
      case Expression::Kind::begin:
      case Expression::Kind::end:
      case Expression::Kind::ahead:
        return target_.add_assertion(from, expression, to);
    }
  }

 private:
  StateId add_part(StateId from, const Expression& part) {
    const StateId next = target_.add_state();
    add(from, part, next);
    return next;
  }

  void repeat(StateId from, const Expression& expression, StateId to) {
    const Expression& part = expression.parts[0];
    for (uint32_t i = 0; i < expression.least; ++i) from = add_part(from, part);
    if (expression.most == kUnlimited) {
      // A state of its own, so that nothing that follows can come back here.
      const StateId loop = target_.add_state(), body = target_.add_state();
      target_.add_jump(from, loop);
      target_.add_jump(loop, body);
      add(body, part, loop);
      target_.add_jump(loop, to);
      return;
    }
    for (uint32_t i = expression.least; i < expression.most; ++i) {
      target_.add_jump(from, to);
      from = add_part(from, part);
    }
    target_.add_jump(from, to);
  }

  Target& target_;
};

}  // namespace anser
