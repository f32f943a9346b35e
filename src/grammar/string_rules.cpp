#include "grammar/string_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "anser/error.h"
#include "grammar/counted_pattern.h"
#include "grammar/pattern.h"
#include "grammar/pattern_algebra.h"
#include "text/utf8.h"

namespace anser {
namespace {

using Kind = Expression::Kind;

// To a grammar as it is, see PatternWriter.
struct GrammarTarget {
  GrammarBuilder& builder;
  JsonRules& json;
  RuleId rule;

  StateId add_state() { return builder.add_state(rule); }
  void add_jump(StateId from, StateId to) { builder.add_jump(from, to); }
  void add_characters(StateId from, const Characters& characters, StateId to) {
    json.add_plain(from, characters, to);
  }
  // Those that have assertions were made automata, or refused.
  void add_assertion(StateId, const Expression&, StateId) {}
};

std::string key_of(const StringLimits& limits) {
  std::string key = fmt::format("{} {}", limits.least, limits.most);
  for (const auto* list : {&limits.patterns, &limits.formats}) {
    key += '\n';
    for (const std::string& one : *list) key += fmt::format("{}:{}", one.size(), one);
  }
  return key;
}

[[noreturn]] void fail_large(const std::string& where, const StringLimits& limits) {
  const char* const what = limits.patterns.size() + limits.formats.size() > 1
                               ? "its 'pattern' beside another one, or beside a 'format', is"
                           : limits.least > 0 || limits.most != kUnlimited
                               ? "its 'pattern' beside 'minLength' or 'maxLength' is"
                               : "its 'pattern' with what looks ahead is";
  throw Error(fmt::format("{}: {} too large to be followed. Use a simpler pattern, which says all",
                          where, what));
}

}  // namespace

// What looks ahead to so many characters of a kind until the end is taken out of the pattern; then
// all characters must be of that kind.
std::optional<Expression> StringRules::take_length(Pattern& pattern) {
  auto& alternatives = pattern.expression.parts;
  if (alternatives.size() != 1 || alternatives[0].parts[0].kind != Kind::sequence) return {};
  std::vector<Expression>& parts = alternatives[0].parts[0].parts;
  if (parts.empty() || parts[0].kind != Kind::ahead || parts[0].negative) return {};
  const Expression& inner = parts[0].parts[0];
  const auto& ahead =
      inner.kind == Kind::choice && inner.parts.size() == 1 ? inner.parts[0].parts : inner.parts;
  const auto is_optional = [](const Expression& part) {
    return part.kind == Kind::repeat && part.least == 0;
  };
  if (ahead.size() < 2 || ahead.back().kind != Kind::end || ahead[0].kind != Kind::repeat ||
      ahead[0].parts[0].kind != Kind::characters ||
      !std::all_of(ahead.begin() + 1, ahead.end() - 1, is_optional)) {
    return {};
  }
  // Without what may be missing.
  pattern.least = std::max(pattern.least, ahead[0].least);
  pattern.most = std::min(pattern.most, ahead[0].most);
  Expression all{Kind::repeat, {}, ahead[0].parts, 0, kUnlimited};
  parts.erase(parts.begin());
  return all;
}

StringRules::Pattern& StringRules::pattern(const std::string& text, const std::string& where) {
  std::unique_ptr<Pattern>& known = patterns_[text];
  if (known == nullptr) {
    Pattern made{parse_pattern(text, where)};
    std::vector<Expression> characters;
    while (const auto one = take_length(made)) characters.push_back(*one);
    made.automaton = deterministic(made.expression, builder_.budget());
    for (const Expression& all : characters) {
      const auto other = deterministic(all, builder_.budget());
      if (!made.automaton || !other) fail_large(where, {.most = made.most, .patterns = {text}});
      made.automaton = intersection(*made.automaton, *other, builder_.budget());
    }
    known = std::make_unique<Pattern>(std::move(made));
  }
  return *known;
}

// All of them as one; nothing where a single one must be written as it is.
std::optional<PatternAutomaton> StringRules::together(const StringLimits& limits,
                                                      const std::string& where) {
  if (limits.patterns.size() + limits.formats.size() == 1) {
    const std::vector<std::string>& list =
        limits.patterns.empty() ? limits.formats : limits.patterns;
    const Pattern& alone = pattern(list[0], where);
    if (!alone.automaton && has_assertions(alone.expression)) fail_large(where, limits);
    return alone.automaton;
  }
  const PatternAutomaton both = intersect(limits, limits.formats, where);
  // Only a pattern that speaks of clocks or addresses itself says more than the format.
  const bool says_more = std::ranges::any_of(limits.patterns, [](const std::string& text) {
    return text.find_first_of(":@") != std::string::npos;
  });
  const bool empty = distances_to_end(both)[0] == kUnlimited;
  const bool use_wider = empty && says_more && limits.wider != limits.formats;
  return use_wider ? intersect(limits, limits.wider, where) : both;
}

PatternAutomaton StringRules::intersect(const StringLimits& limits,
                                        const std::vector<std::string>& formats,
                                        const std::string& where) {
  std::optional<PatternAutomaton> all;
  for (const auto* list : {&limits.patterns, &formats}) {
    for (const std::string& text : *list) {
      Pattern& one = pattern(text, where);
      if (!one.automaton) fail_large(where, limits);
      // Once, since a format stands beside many patterns.
      if (!one.is_minimal) one.automaton = minimal(*one.automaton, builder_.budget());
      one.is_minimal = true;
      if (!all) {
        all = one.automaton;
        continue;
      }
      all = intersection(*all, *one.automaton, builder_.budget());
      if (!all) fail_large(where, limits);
      all = minimal(*all, builder_.budget());
    }
  }
  return *all;
}

RuleId StringRules::rule(const StringLimits& limits, const std::string& where) {
  if (!limits.any()) return json_.string();
  const auto known = rules_.find(key_of(limits));
  if (known != rules_.end()) return known->second;
  const RuleId rule = builder_.add_rule();
  const StateId inside = builder_.add_state(rule), close = builder_.add_state(rule),
                end = builder_.add_state(rule);
  builder_.finish_at(end);
  builder_.add_text(builder_.start(rule), "\"", inside);
  builder_.add_text(close, "\"", end);
  fill(inside, limits, where, close);
  return rules_[key_of(limits)] = rule;
}

// In a rule of its own, which has its own counter.
void StringRules::add_inside(StateId from, const StringLimits& limits, const std::string& where,
                             StateId to) {
  const RuleId rule = builder_.add_rule();
  const StateId end = builder_.add_state(rule);
  builder_.finish_at(end);
  fill(builder_.start(rule), limits, where, end);
  builder_.add_call(from, rule, to);
}

// With the lengths that patterns ask for.
StringLimits StringRules::with_lengths(StringLimits limits, const std::string& where) {
  for (const std::string& text : limits.patterns) {
    const Pattern& one = pattern(text, where);
    limits.least = std::max(limits.least, one.least);
    limits.most = std::min(limits.most, one.most);
  }
  return limits;
}

// Into a rule whose counter is free.
void StringRules::fill(StateId from, const StringLimits& given, const std::string& where,
                       StateId to) {
  const StringLimits limits = with_lengths(given, where);
  if (!limits.has_patterns()) return add_length(from, limits, to);
  const std::optional<PatternAutomaton> automaton = together(limits, where);
  const bool counts = limits.least > 0 || limits.most != kUnlimited;
  if (automaton) {
    if (!counts) return add_automaton(from, *automaton, to);
    const PatternAutomaton small = trimmed(*automaton);
    // A length that the pattern keeps by itself need not be counted.
    const uint32_t shortest = distances_to_end(small)[0];
    const uint32_t least = shortest >= limits.least ? 0 : limits.least;
    const uint32_t most = longest_text(small) <= limits.most ? kUnlimited : limits.most;
    if (least == 0 && most == kUnlimited) return add_automaton(from, small, to);
    if (CountedPattern(builder_, json_, small, least, most).add(from, to)) return;
    fail_large(where, limits);
  }
  if (counts) fail_large(where, limits);
  GrammarTarget target{builder_, json_, builder_.rule_of(from)};
  PatternWriter<GrammarTarget>(target).add(from, pattern(limits.patterns[0], where).expression, to);
}

void StringRules::add_length(StateId from, const StringLimits& limits, StateId to) {
  const RuleId rule = builder_.rule_of(from);
  // States of their own, so that nothing else can come back to them.
  const StateId loop = builder_.add_state(rule), next = builder_.add_state(rule);
  builder_.add_jump(from, loop);
  builder_.set_counter(rule, limits.least, limits.most);
  builder_.add_enough(loop, to);
  builder_.add_again(loop, next);
  json_.add_character(next, loop);
}

void StringRules::add_automaton(StateId from, const PatternAutomaton& automaton, StateId to) {
  PatternStates(builder_, json_, automaton).add(from, to);
}

bool StringRules::satisfies(const StringLimits& given, std::string_view text,
                            const std::string& where) {
  const StringLimits limits = with_lengths(given, where);
  const size_t length = code_points(text).size();
  if (length < limits.least || (limits.most != kUnlimited && length > limits.most)) return false;
  const auto matches = [&](const std::string& one) {
    const auto& automaton = pattern(one, where).automaton;
    if (!automaton) fail_large(where, limits);
    return accepts(*automaton, text);
  };
  if (!std::ranges::all_of(limits.patterns, matches)) return false;
  for (size_t i = 0; i < limits.formats.size(); ++i) {
    if (!matches(limits.formats[i]) && !matches(limits.wider[i])) return false;
  }
  return true;
}

}  // namespace anser
