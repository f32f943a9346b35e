#include "grammar/pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "anser/error.h"
#include "base/cut_text.h"
#include "grammar/pattern_automaton.h"
#include "grammar/schema_text.h"
#include "text/utf8.h"

namespace anser {
namespace {

constexpr uint32_t kMaxRepeats = 10'000;
constexpr int kMaxGroups = 64;

using Kind = Expression::Kind;

Characters all_but(const Characters& ranges) {
  Characters others;
  uint32_t low = 0;
  for (const auto [first, last] : tidy(ranges)) {
    if (low < first) others.push_back({low, first - 1});
    low = last + 1;
  }
  if (low <= kLastCharacter) others.push_back({low, kLastCharacter});
  return others;
}

const Characters kDigit = {{'0', '9'}};
const Characters kWord = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const Characters kSpace = {{0x09, 0x0d},     {0x20, 0x20},     {0xa0, 0xa0},     {0x1680, 0x1680},
                           {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f},
                           {0x3000, 0x3000}, {0xfeff, 0xfeff}};
const Characters kLineEnd = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

class Parser {
 public:
  Parser(std::string_view pattern, const std::string& where)
      : pattern_(pattern), where_(where), text_(code_points(pattern)) {}

  // The whole pattern, completed by what may stand around an unanchored one.
  Expression parse() {
    Expression whole{Kind::choice};
    do {
      const bool begins = take('^');
      Expression alternative = sequence();
      const bool ends = take('$');
      if (!at_end() && peek() != '|') refuse(peek() == ')' ? "a ) without (" : "$ inside");
      const Expression rest{
          Kind::repeat, {}, {{Kind::characters, {{0, kLastCharacter}}}}, 0, kUnlimited};
      Expression full{Kind::sequence};
      if (!begins) full.parts.push_back(rest);
      full.parts.push_back(std::move(alternative));
      if (!ends) full.parts.push_back(rest);
      whole.parts.push_back(std::move(full));
    } while (take('|'));
    return whole;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(fmt::format(
        "{}: the pattern '{}' has {} at character {}, which is not supported. Supported "
        "are literals, classes, groups, |, * + ? {{m,n}}, and ^ and $ at the ends",
        where_, cut_text(pattern_), what, at_));
  }

  bool at_end() const { return at_ == text_.size(); }
  uint32_t peek() const { return at_end() ? 0 : text_[at_]; }
  bool take(char c) {
    if (at_end() || text_[at_] != uint32_t(c)) return false;
    ++at_;
    return true;
  }
  uint32_t next() {
    if (at_end()) refuse("an end too early");
    return text_[at_++];
  }

  Expression choice() {
    Expression result{Kind::choice};
    Characters single;  // all that are one character are one alternative
    do {
      Expression part = sequence();
      if (part.parts.size() == 1 && part.parts[0].kind == Kind::characters) {
        const Characters& more = part.parts[0].characters;
        single.insert(single.end(), more.begin(), more.end());
      } else {
        result.parts.push_back(std::move(part));
      }
    } while (take('|'));
    if (!single.empty()) result.parts.push_back({Kind::characters, tidy(std::move(single))});
    return result;
  }

  Expression sequence() {
    Expression result{Kind::sequence};
    while (!at_end() && peek() != '|' && peek() != ')' && peek() != '$') {
      result.parts.push_back(repeated(single()));
    }
    return result;
  }

  Expression repeated(Expression part) {
    uint32_t least, most;
    if (take('*')) {
      least = 0, most = kUnlimited;
    } else if (take('+')) {
      least = 1, most = kUnlimited;
    } else if (take('?')) {
      least = 0, most = 1;
    } else if (take('{')) {
      least = most = count();
      if (take(',')) most = peek() == '}' ? kUnlimited : count();
      if (!take('}')) refuse("{ without }");
      if (most < least) refuse("a repetition whose end is below its beginning");
    } else {
      return part;
    }
    take('?');  // the shortest first: the same strings
    if (peek() == '*' || peek() == '+' || peek() == '{') refuse("a repetition of a repetition");
    return {Kind::repeat, {}, {std::move(part)}, least, most};
  }

  uint32_t count() {
    uint32_t value = 0;
    if (peek() < '0' || peek() > '9') refuse("{ without a number");
    while (!at_end() && peek() >= '0' && peek() <= '9') {
      value = value * 10 + (next() - '0');
      if (value > kMaxRepeats) refuse(fmt::format("more than {} repetitions", kMaxRepeats));
    }
    return value;
  }

  Expression single() {
    const uint32_t c = next();
    switch (c) {
      case '(': {
        if (take('?') && !take(':')) refuse("(?");
        if (++groups_ > kMaxGroups) refuse(fmt::format("more than {} nested groups", kMaxGroups));
        Expression inner = choice();
        --groups_;
        if (!take(')')) refuse(peek() == '$' ? "$ inside" : "( without )");
        return inner;
      }
      case '[':
        return {Kind::characters, character_class()};
      case '.':
        return {Kind::characters, all_but(kLineEnd)};
      case '\\':
        return {Kind::characters, escape()};
      case '^':
      case '*':
      case '+':
      case '?':
      case '{':
        --at_;
        refuse(std::string(1, char(c)));
      default:
        return {Kind::characters, {{c, c}}};
    }
  }

  Characters escape() {
    const uint32_t c = next();
    switch (c) {
      case 'd':
        return kDigit;
      case 'D':
        return all_but(kDigit);
      case 'w':
        return kWord;
      case 'W':
        return all_but(kWord);
      case 's':
        return kSpace;
      case 'S':
        return all_but(kSpace);
      case 'n':
        return {{'\n', '\n'}};
      case 'r':
        return {{'\r', '\r'}};
      case 't':
        return {{'\t', '\t'}};
      case 'f':
        return {{'\f', '\f'}};
      case 'v':
        return {{'\v', '\v'}};
      case 'x':
        return hex(2);
      case 'u':
        return hex(4);
      default:
        // Letters and digits mean something, if only elsewhere; the rest stands for itself.
        if (c < 0x80 && (std::isalnum(int(c)) != 0)) {
          --at_;
          refuse(fmt::format("\\{}", char(c)));
        }
        return {{c, c}};
    }
  }

  Characters hex(int digits) {
    uint32_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const uint32_t c = next();
      if (c >= 0x80 || !std::isxdigit(int(c))) refuse("an escape without its digits");
      value = value * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    if (value >= 0xd800 && value < 0xe000) refuse("half of a surrogate pair");
    return {{value, value}};
  }

  Characters character_class() {
    const bool negative = take('^');
    Characters ranges;
    while (!take(']')) {
      const uint32_t c = next();
      Characters low = c == '\\' ? class_escape() : Characters{{c, c}};
      const bool one = low.size() == 1 && low[0].low == low[0].high;
      if (peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        const uint32_t d = next();
        const Characters high = d == '\\' ? class_escape() : Characters{{d, d}};
        if (!one || high.size() != 1 || high[0].low != high[0].high) refuse("a range of classes");
        if (high[0].low < low[0].low) refuse("a range whose end is below its beginning");
        low = {{low[0].low, high[0].low}};
      }
      ranges.insert(ranges.end(), low.begin(), low.end());
    }
    return negative ? all_but(ranges) : tidy(std::move(ranges));
  }
  Characters class_escape() {
    if (take('b')) return {{'\b', '\b'}};
    return escape();
  }

  const std::string_view pattern_;
  const std::string& where_;
  const std::vector<uint32_t> text_;
  size_t at_ = 0;
  int groups_ = 0;
};

// To a grammar, see PatternWriter.
struct GrammarTarget {
  GrammarBuilder& builder;
  JsonRules& json;
  RuleId rule;

  StateId add_state() { return builder.add_state(rule); }
  void add_jump(StateId from, StateId to) { builder.add_jump(from, to); }
  void add_characters(StateId from, const Characters& characters, StateId to) {
    json.add_plain(from, characters, to);
  }
};

void add_automaton(GrammarTarget& target, StateId from, const PatternAutomaton& automaton,
                   StateId to) {
  std::vector<StateId> states;
  for (size_t i = 0; i < automaton.states.size(); ++i) states.push_back(target.add_state());
  target.add_jump(from, states[0]);
  for (size_t i = 0; i < states.size(); ++i) {
    const PatternAutomaton::State& state = automaton.states[i];
    if (state.final) target.add_jump(states[i], to);
    for (const auto& [characters, next] : state.edges) {
      target.add_characters(states[i], characters, states[next]);
    }
  }
}

}  // namespace

void add_pattern(GrammarBuilder& builder, JsonRules& json, StateId from, std::string_view pattern,
                 const std::string& where, StateId to) {
  const Expression expression = parse_pattern(pattern, where);
  GrammarTarget target{builder, json, builder.rule_of(from)};
  if (const auto automaton = deterministic(expression, builder.budget())) {
    add_automaton(target, from, *automaton, to);
  } else {
    PatternWriter<GrammarTarget>(target).add(from, expression, to);
  }
}

Expression parse_pattern(std::string_view pattern, const std::string& where) {
  return Parser(pattern, where).parse();
}

}  // namespace anser
