// Strings and numbers of several patterns at once, or that are not certain ones.
#include <fmt/format.h>

#include <algorithm>

#include "grammar/leaf_keywords.h"
#include "grammar/schema_compiler.h"
#include "grammar/schema_values.h"
#include "grammar/string_readers.h"

namespace anser {

RuleId SchemaCompiler::text_rule(const MergedSchema& merged, const std::string& pointer) {
  if (schemas_->strict()) return exact_text_rule(merged, pointer);
  try {
    return exact_text_rule(merged, pointer);
  } catch (const BudgetExceeded&) {
    throw;
  } catch (const Error&) {
    Schema lengths = Schema::object();
    for (const char* word : {"minLength", "maxLength"}) {
      if (merged.leaf.contains(word)) lengths[word] = merged.leaf[word];
    }
    return string_rule(lengths, pointer);
  }
}

RuleId SchemaCompiler::exact_text_rule(const MergedSchema& merged, const std::string& pointer) {
  const bool excludes =
      std::ranges::any_of(merged.forbidden, [](const Schema* value) { return value->is_string(); });
  const bool all_in_leaf = merged.patterns.size() < 2 || merged.leaf.contains("pattern");
  if (all_in_leaf && merged.forbidden_patterns.empty() && !excludes) {
    return string_rule(merged.leaf, pointer);
  }
  return product_rule(merged, pointer);
}

RuleId SchemaCompiler::product_rule(const MergedSchema& merged, const std::string& pointer) {
  StringReaders readers(patterns_, budget_, pointer);
  readers.must_be(merged);
  const RuleId rule = builder_.add_rule();
  const StateId inside = builder_.add_state(rule), close = builder_.add_state(rule),
                end = builder_.add_state(rule);
  builder_.finish_at(end);
  builder_.add_text(builder_.start(rule), "\"", inside);
  builder_.add_text(close, "\"", end);
  readers.write(builder_, json_, inside,
                [&](const std::set<std::string>&) { return std::optional(close); });
  return rule;
}

// Between the numbers that it must not be.
void SchemaCompiler::add_numbers(Types types, const MergedSchema& merged, const Open& open,
                                 StateId end) {
  const std::string type = (types & kFraction) != 0 ? "number" : "integer";
  std::vector<Schema> excluded;
  for (const Schema* value : merged.forbidden) {
    if (value->is_number()) excluded.push_back(*value);
  }
  std::ranges::sort(excluded, is_below);
  const auto same = [](const Schema& a, const Schema& b) { return !is_below(a, b); };
  excluded.erase(std::unique(excluded.begin(), excluded.end(), same), excluded.end());
  const bool only_fractions = (types & kInteger) == 0;
  for (size_t i = 0; i <= excluded.size(); ++i) {
    Schema leaf = merged.leaf;
    if (i > 0) tighten(leaf, "exclusiveMinimum", excluded[i - 1], true);
    if (i < excluded.size()) tighten(leaf, "exclusiveMaximum", excluded[i], false);
    RuleId rule = one_number_rule(type, leaf, open.pointer);
    if (only_fractions || !merged.forbidden_steps.empty()) {
      rule = filtered_numbers(rule, only_fractions, merged.forbidden_steps, open.pointer);
    }
    builder_.add_call(builder_.start(open.rule), rule, end);
  }
}

// Those that have a fraction, which is not 0, or, if that is enough, are no multiples of any of
// these. Of 15 digits at the most, which readers tell apart, without an exponent.
RuleId SchemaCompiler::filtered_numbers(RuleId numbers, bool only_fractions,
                                        std::span<const uint32_t> steps,
                                        const std::string& pointer) {
  constexpr uint64_t kDigits = 15;
  uint64_t rests = 1;  // how many combinations of them there are
  for (const uint32_t step : steps) rests = std::min<uint64_t>(rests * step, UINT32_MAX);
  if (only_fractions) rests = 1;
  // Behind the point, and whether there was another digit than 0; digits; rests.
  struct Place {
    uint64_t behind, digits, rest;
  };
  const auto place = [](uint64_t state) { return Place{state % 3, state / 3 % 16, state / 48}; };
  const auto next = [&](uint64_t state, uint8_t byte) -> std::optional<uint64_t> {
    Place at = place(state);
    if (byte == '.') {
      at.behind = 1;
    } else if (byte >= '0' && byte <= '9') {
      if (++at.digits > kDigits) return std::nullopt;
      if (at.behind > 0) {
        at.behind = at.behind == 2 || byte != '0' ? 2 : 1;
      } else if (!only_fractions) {
        uint64_t all = 0, left = at.rest, unit = 1;
        for (const uint32_t step : steps) {
          all += (left % step * 10 + (byte - '0')) % step * unit;
          left /= step;
          unit *= step;
        }
        at.rest = all;
      }
    } else if (byte != '-') {
      return std::nullopt;
    }
    return at.behind + 3 * (at.digits + 16 * at.rest);
  };
  const auto accepts = [&](uint64_t state) {
    const Place at = place(state);
    if (only_fractions || at.behind == 2) return at.behind == 2;
    uint64_t left = at.rest;
    return std::ranges::all_of(steps, [&](uint32_t step) {
      const uint64_t rest = left % step;
      left /= step;
      return rest != 0;
    });
  };
  constexpr uint64_t kMaxRests = 10'000;
  const std::optional<RuleId> filtered =
      rests <= kMaxRests ? builder_.add_filtered(numbers, next, accepts) : std::nullopt;
  if (filtered) return *filtered;
  fail_at(pointer,
          "numbers that must have a fraction, or must not be multiples of others, are only "
          "supported beside simple bounds; say what is allowed instead");
}

RuleId SchemaCompiler::one_number_rule(const std::string& type, const Schema& leaf,
                                       const std::string& pointer) {
  try {
    return number_rule(type, leaf, pointer);
  } catch (const BudgetExceeded&) {
    throw;
  } catch (const Error&) {
    if (schemas_->strict() || !leaf.contains("multipleOf")) throw;
    Schema bounds = Schema::object();
    for (const char* word : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}) {
      if (leaf.contains(word)) bounds[word] = leaf[word];
    }
    return number_rule(type, bounds, pointer);
  }
}

}  // namespace anser
