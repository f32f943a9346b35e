#include "grammar/string_readers.h"

#include <fmt/format.h>

#include "base/cut_text.h"
#include "grammar/schema_values.h"
#include "grammar/string_limits.h"

namespace anser {

const PatternAutomaton& StringReaders::automaton_of(const std::string& pattern) {
  const PatternAutomaton* const automaton =
      patterns_.find(pattern, fmt::format("the schema at {}", pointer_));
  if (automaton != nullptr) return *automaton;
  fail_at(pointer_, fmt::format("the pattern '{}' is too large to be kept to beside others",
                                cut_text(pattern)));
}

void StringReaders::must_match(const std::string& pattern) {
  needed_ |= product_.add(automaton_of(pattern), true);
}

void StringReaders::must_not_match(const std::string& pattern) {
  const PatternAutomaton& automaton = automaton_of(pattern);
  if (const PatternAutomaton* const opposite = patterns_.find_opposite(pattern)) {
    needed_ |= product_.add(*opposite, true);
  } else {
    forbidden_ |= product_.add(automaton, false);
  }
}

void StringReaders::must_not_be(const std::vector<std::string>& strings) {
  forbidden_ |= product_.add(own_.emplace_back(automaton_of_strings(strings)), false);
}

void StringReaders::must_be(const MergedSchema& merged) {
  for (const std::string& pattern : merged.patterns) must_match(pattern);
  for (const std::string& pattern : merged.forbidden_patterns) must_not_match(pattern);
  std::vector<std::string> forbidden;
  for (const Schema* value : merged.forbidden) {
    if (value->is_string()) forbidden.push_back(*value);
  }
  must_not_be(forbidden);
  const StringLimits limits = string_limits(merged.leaf, pointer_);
  for (const std::string& pattern : limits.formats) must_match(pattern);
  if (limits.least == 0 && limits.most == kUnlimited) return;
  needed_ |= product_.add(
      own_.emplace_back(automaton_of_lengths(limits.least, limits.most, budget_)), true);
}

void StringReaders::may_match(const std::string& pattern) {
  if (told_.contains(pattern)) return;
  const PatternAutomaton* const opposite = patterns_.find_opposite(pattern);
  told_[pattern] = {product_.add(automaton_of(pattern), false),
                    opposite != nullptr ? product_.add(*opposite, false) : 0};
}

// Nothing where it must not be, or where it depends on the reader what it is.
std::optional<std::set<std::string>> StringReaders::matched(Readers readers) const {
  if ((readers & forbidden_) != 0 || (readers & needed_) != needed_) return std::nullopt;
  std::set<std::string> patterns;
  for (const auto& [pattern, bits] : told_) {
    if ((readers & bits.yes) != 0) {
      patterns.insert(pattern);
    } else if (bits.no != 0 && (readers & bits.no) == 0) {
      return std::nullopt;
    }
  }
  return patterns;
}

void StringReaders::write(GrammarBuilder& builder, JsonRules& json, StateId from, const End& end) {
  product_.write(builder, json, from, [&](Readers readers) -> std::optional<StateId> {
    const std::optional<std::set<std::string>> patterns = matched(readers);
    return patterns ? end(*patterns) : std::nullopt;
  });
}

}  // namespace anser
