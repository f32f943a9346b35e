#include "grammar/pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "anser/error.h"
#include "base/cut_text.h"
#include "grammar/character_classes.h"
#include "grammar/schema_text.h"
#include "text/utf8.h"

namespace anser {
namespace {

constexpr uint32_t kMaxRepeats = 10'000;
constexpr int kMaxGroups = 64;

using Kind = Expression::Kind;

class Parser {
 public:
  Parser(std::string_view pattern, const std::string& where)
      : pattern_(pattern), where_(where), text_(code_points(pattern)) {}

  // The whole pattern, completed by what may stand around an unanchored one.
  Expression parse() {
    Expression whole{Kind::choice};
    do {
      complete(sequence(), whole);
    } while (take('|'));
    if (!at_end()) refuse("a ) without (");
    return whole;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(fmt::format(
        "{}: the pattern '{}' has {} at character {}, which is not supported. Supported "
        "are literals, classes, groups, |, * + ? {{m,n}}, ^, $, (?=...) and (?!...)",
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

  // An alternative of the whole. One that is nothing but a group is that group's alternatives.
  static void complete(Expression alternative, Expression& whole) {
    auto& parts = alternative.parts;
    if (parts.size() == 1 && parts[0].kind == Kind::choice) {
      for (Expression& part : parts[0].parts) {
        if (part.kind != Kind::sequence) part = {Kind::sequence, {}, {std::move(part)}};
        complete(std::move(part), whole);
      }
      return;
    }
    const bool begins = !parts.empty() && parts.front().kind == Kind::begin;
    if (begins) parts.erase(parts.begin());
    const bool ends = !parts.empty() && parts.back().kind == Kind::end;
    if (ends) parts.pop_back();
    Expression full{Kind::sequence};
    if (!begins) full.parts.push_back(any_text());
    full.parts.push_back(std::move(alternative));
    if (!ends) full.parts.push_back(any_text());
    whole.parts.push_back(std::move(full));
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
    while (!at_end() && peek() != '|' && peek() != ')') {
      result.parts.push_back(repeated(single()));
    }
    return result;
  }

  Expression repeated(Expression part) {
    uint32_t least, most;
    const bool reads = !is_assertion(part);
    if (!reads && (peek() == '*' || peek() == '+' || peek() == '?' || is_count())) {
      refuse("a repetition of what reads nothing");
    }
    if (take('*')) {
      least = 0, most = kUnlimited;
    } else if (take('+')) {
      least = 1, most = kUnlimited;
    } else if (take('?')) {
      least = 0, most = 1;
    } else if (is_count() && take('{')) {
      least = most = count();
      if (take(',')) most = peek() == '}' ? kUnlimited : count();
      if (!take('}')) refuse("{ without }");
      if (most < least) refuse("a repetition whose end is below its beginning");
    } else {
      return part;
    }
    take('?');  // the shortest first: the same strings
    if (peek() == '*' || peek() == '+' || is_count()) refuse("a repetition of a repetition");
    return {Kind::repeat, {}, {std::move(part)}, least, most};
  }

  // Whether {m}, {m,} or {m,n} comes here. Every other { stands for itself, but for {,n}, which
  // Python takes for a repetition.
  bool is_count() const {
    if (peek() != '{') return false;
    size_t at = at_ + 1;
    const auto digits = [&] {
      const size_t begin = at;
      while (at < text_.size() && text_[at] >= '0' && text_[at] <= '9') ++at;
      return at > begin;
    };
    const bool first = digits();
    const bool comma = at < text_.size() && text_[at] == ',';
    if (comma) ++at;
    const bool second = comma && digits();
    if (at == text_.size() || text_[at] != '}') return false;
    if (!first && second) refuse("{,n}");
    return first;
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
      case '(':
        return group();
      case '[':
        return {Kind::characters, character_class()};
      case '.':
        return {Kind::characters, chosen(class_of_dot())};
      case '\\':
        return {Kind::characters, chosen(escape())};
      case '^':
        return {Kind::begin};
      case '$':
        return end();
      case '{':
        --at_;
        if (is_count()) refuse("{");
        ++at_;
        return {Kind::characters, {{c, c}}};
      case '*':
      case '+':
      case '?':
        --at_;
        refuse(std::string(1, char(c)));
      default:
        return {Kind::characters, {{c, c}}};
    }
  }

  // Behind "(".
  Expression group() {
    const size_t begin = at_ - 1;
    Expression ahead{Kind::ahead};
    bool looks = false;
    if (take('?')) {
      looks = take('=') || (ahead.negative = take('!'));
      if (!looks && !take(':') && !take_name()) at_ = begin, refuse(group_name());
    }
    if (++groups_ > kMaxGroups) refuse(fmt::format("more than {} nested groups", kMaxGroups));
    if (ahead.negative) negated_ = !negated_;
    Expression inner = choice();
    if (ahead.negative) negated_ = !negated_;
    --groups_;
    if (!take(')')) refuse("( without )");
    if (!looks) return inner;
    ahead.parts.push_back(std::move(inner));
    return ahead;
  }
  // Of a named group: <name> or P<name>.
  bool take_name() {
    const size_t begin = at_;
    take('P');
    if (!take('<') || peek() == '=' || peek() == '!') return at_ = begin, false;
    while (!at_end() && peek() != '>') ++at_;
    return take('>');
  }
  // "(?<=", "(?i" and the like, for an error.
  std::string group_name() const {
    std::string name;
    for (size_t i = at_; i < text_.size() && name.size() < 4 && text_[i] < 0x80; ++i) {
      if (name.size() > 2 && name[2] != '<') break;
      name += char(text_[i]);
    }
    return name;
  }

  // Python's $ also stands before a last line's end, which is never to be relied on.
  Expression end() const {
    if (!negated_) return {Kind::end};
    const Expression line_end = {
        Kind::sequence, {}, {{Kind::characters, {{'\n', '\n'}}}, {Kind::end}}};
    return {Kind::choice, {}, {{Kind::end}, {Kind::ahead, {}, {line_end}}}};
  }

  // What matches everywhere; where it must not match, what does so anywhere.
  const Characters& chosen(const CharacterClass& one) const {
    return negated_ ? one.may : one.must;
  }

  CharacterClass escape() {
    const uint32_t c = next();
    if (const auto known = class_of_letter(c)) return *known;
    switch (c) {
      case 'n':
        return exactly({{'\n', '\n'}});
      case 'r':
        return exactly({{'\r', '\r'}});
      case 't':
        return exactly({{'\t', '\t'}});
      case 'f':
        return exactly({{'\f', '\f'}});
      case 'v':
        return exactly({{'\v', '\v'}});
      case 'x':
        return exactly(hex(2));
      case 'u':
        return exactly(hex(4));
      case 'p':
      case 'P':
        return category(c == 'P');
      default:
        // Letters and digits mean something, if only elsewhere; the rest stands for itself.
        if (c < 0x80 && (std::isalnum(int(c)) != 0)) {
          --at_;
          refuse(fmt::format("\\{}", char(c)));
        }
        return exactly({{c, c}});
    }
  }

  // Behind \p.
  CharacterClass category(bool negative) {
    std::string name;
    if (take('{')) {
      while (!at_end() && peek() != '}' && peek() < 0x80) name += char(next());
      if (!take('}')) refuse("\\p{ without }");
    }
    const auto known = class_of_category(name);
    if (!known) refuse(fmt::format("\\p{{{}}}", cut_text(name)));
    return negative ? opposite(*known) : *known;
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
    CharacterClass all;
    while (!take(']')) {
      const uint32_t c = next();
      CharacterClass low = c == '\\' ? class_escape() : exactly({{c, c}});
      if (peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        const uint32_t d = next();
        const CharacterClass high = d == '\\' ? class_escape() : exactly({{d, d}});
        if (!is_one(low) || !is_one(high)) refuse("a range of classes");
        const uint32_t first = low.must[0].low, last = high.must[0].low;
        if (last < first) refuse("a range whose end is below its beginning");
        low = exactly({{first, last}});
      }
      // All at once, below: there may be thousands.
      all.must.insert(all.must.end(), low.must.begin(), low.must.end());
      all.may.insert(all.may.end(), low.may.begin(), low.may.end());
    }
    all = {tidy(std::move(all.must)), tidy(std::move(all.may))};
    return chosen(negative ? opposite(all) : all);
  }
  static bool is_one(const CharacterClass& one) {
    const auto is = [](const Characters& c) { return c.size() == 1 && c[0].low == c[0].high; };
    return is(one.must) && is(one.may);
  }
  CharacterClass class_escape() {
    if (take('b')) return exactly({{'\b', '\b'}});
    return escape();
  }

  const std::string_view pattern_;
  const std::string& where_;
  const std::vector<uint32_t> text_;
  size_t at_ = 0;
  int groups_ = 0;
  bool negated_ = false;  // within an odd number of (?!
};

}  // namespace

Expression parse_pattern(std::string_view pattern, const std::string& where) {
  return Parser(pattern, where).parse();
}

}  // namespace anser
