// Lists.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>
#include <utility>

#include "grammar/schema_compiler.h"
#include "grammar/schema_values.h"

namespace anser {
namespace {

constexpr size_t kMaxFinite = 256;  // values that a list without repetition is made of
constexpr size_t kAnyOrder = 6;     // up to which they come in any order
constexpr uint32_t kMaxDistinct = 16;
constexpr std::string_view kLetters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

bool says_of_items(const Schema& node) {
  const bool is_tuple = node.contains("items") && node["items"].is_array();
  return node.contains(is_tuple ? "additionalItems" : "items") || node.contains("unevaluatedItems");
}

size_t tuple_size(const Schema& node) {
  if (node.contains("items") && node["items"].is_array()) return node["items"].size();
  return node.contains("prefixItems") ? node["prefixItems"].size() : 0;
}

}  // namespace

// What is chosen where the schema leaves a choice: all of a tuple is written, and nothing behind
// it; what must be contained comes first.
SchemaCompiler::Items SchemaCompiler::items_of(const MergedSchema& merged,
                                               const std::string& pointer) {
  Items items = {{}, {}, 0, merged.least_items, merged.most_items, true};
  size_t tuple = 0;
  bool has_least = false, has_most = false;
  for (const Schema* node : merged.nodes) {
    tuple = std::max(tuple, tuple_size(*node));
    has_least |= node->contains("minItems");
    has_most |= node->contains("maxItems");
    items.any_rest &= !says_of_items(*node);
  }
  const auto parts_of = [&](size_t index) {
    const std::string path = child_pointer(pointer, index < tuple ? "prefixItems" : "items");
    return logic_->item_parts(merged.nodes, index,
                              index < tuple ? child_pointer(path, std::to_string(index)) : path);
  };
  size_t contained = 0;
  for (const Schema* node : merged.contains) {
    const uint32_t least = schema_count(*node, "minContains", pointer).value_or(1);
    if (node->contains("maxContains")) {
      schemas_->refuse(pointer, "'maxContains' is not supported; use prefixItems");
    }
    for (uint32_t i = 0; i < least; ++i, ++contained) {
      budget_.add_state();
      const std::string at = child_pointer(pointer, "contains");
      for (;; ++contained) {
        if (items.first.size() <= contained) items.first.push_back(parts_of(contained));
        Parts both = items.first[contained];
        schemas_->add(both, (*node)["contains"], at);
        // One of the tuple may have to be something else.
        if (contained < tuple && logic_->is_impossible(both)) continue;
        items.first[contained] = std::move(both);
        break;
      }
    }
  }
  for (size_t i = items.first.size(); i < tuple && i < items.most; ++i) {
    items.first.push_back(parts_of(i));
  }
  items.rest = parts_of(std::max(tuple, items.first.size()));
  items.needed = items.least = std::max(items.least, uint32_t(contained));
  for (size_t i = 0; i < items.first.size(); ++i) {
    if (i < items.least || !logic_->is_impossible(items.first[i])) continue;
    items.first.resize(i);
    items.most = std::min(items.most, uint32_t(i));
  }
  if (tuple > 0 && !has_least) {
    items.least = std::max(items.least, std::min(items.most, uint32_t(items.first.size())));
  }
  if (tuple > 0 && items.any_rest && !has_most) {
    items.most = std::min(items.most, std::max(items.least, uint32_t(items.first.size())));
  }
  return items;
}

// From the lower bound on, or from the upper one down, or from 0; `all`: whether there are no
// others.
std::vector<Schema> SchemaCompiler::whole_numbers(const MergedSchema& merged, size_t most,
                                                  bool& all) {
  constexpr double kLargest = 1e15;  // up to which doubles are whole numbers' own
  double low = -HUGE_VAL, high = HUGE_VAL;
  const auto limit = [&](const char* word, bool lower, double step) {
    const auto found = merged.leaf.find(word);
    if (found == merged.leaf.end()) return;
    const double value = found->get<double>();
    if (lower) {
      low = std::max(low, value == std::ceil(value) ? value + step : std::ceil(value));
    } else {
      high = std::min(high, value == std::floor(value) ? value - step : std::floor(value));
    }
  };
  limit("minimum", true, 0);
  limit("exclusiveMinimum", true, 1);
  limit("maximum", false, 0);
  limit("exclusiveMaximum", false, 1);
  all = low >= -kLargest && high <= kLargest && high - low < double(most);
  const bool down = low < -kLargest && high < 0;
  double at = down ? high : low < -kLargest ? 0 : low;
  std::vector<Schema> numbers;
  for (; numbers.size() < most && at >= low && at <= high && std::abs(at) <= kLargest;
       at += down ? -1 : 1) {
    numbers.emplace_back(int64_t(at));
  }
  return numbers;
}

// Some numbers, where they may be items, each of which comes once.
std::optional<RuleId> SchemaCompiler::distinct_numbers(const Items& items,
                                                       const std::string& pointer) {
  const MergedSchema merged = merge_parts(items.rest, *schemas_, pointer);
  const bool may_be = (merged.written_types() & kInteger) != 0 && !merged.values;
  if (!items.first.empty() || !may_be) return std::nullopt;
  bool all = false;
  std::vector<std::string> texts;
  for (const Schema& number : whole_numbers(merged, kMaxFinite, all)) {
    const bool is_right = std::ranges::all_of(items.rest, [&](const Part& part) {
      return logic_->check().check(number, part) == Verdict::yes;
    });
    if (is_right) texts.push_back(number.dump());
  }
  if (texts.size() < items.needed) return std::nullopt;
  return rule_of_sets(texts, items.needed, std::min(items.most, uint32_t(texts.size())));
}

// All values of a place that has few.
std::optional<std::vector<Schema>> SchemaCompiler::finite_values(const Parts& parts,
                                                                 const std::string& pointer,
                                                                 int depth) {
  const MergedSchema merged = merge_parts(parts, *schemas_, pointer);
  std::vector<Schema> values;
  std::set<std::string> seen;
  // Whether it is still known that these are all.
  const auto add = [&](const Schema& value) {
    for (const Part& part : parts) {
      const Verdict verdict = logic_->check().check(value, part);
      if (verdict == Verdict::no) return true;
      if (verdict == Verdict::perhaps) return false;
    }
    if (merged.leaf.contains("format") && value.is_string()) return false;
    if (seen.insert(canonical_text(value)).second) values.push_back(value);
    return values.size() <= kMaxFinite;
  };
  const auto add_all = [&](const std::vector<Schema>& more) {
    return std::ranges::all_of(more, add);
  };
  if (!merged.nothing_because.empty()) return values;
  if (merged.values) {
    for (const Schema* value : *merged.values) {
      if (!add(*value)) return std::nullopt;
    }
    return values;
  }
  for (const Part& part : merged.others) {
    if (part.kind == Part::Kind::negated || depth > 3) continue;
    for (const SchemaLogic::Alternative& one : logic_->alternatives(part, pointer)) {
      Parts whole;
      for (const Part& other : parts) {
        schemas_->add(whole, other == part ? one.parts : Parts{other});
      }
      const auto more = finite_values(whole, pointer, depth + 1);
      if (!more || !add_all(*more)) return std::nullopt;
    }
    return values;
  }
  const Types types = merged.written_types();
  if ((types & ~(kBoolean | kNull | kInteger)) != 0) return std::nullopt;
  bool are_all = true;
  std::vector<Schema> few;
  if ((types & kInteger) != 0) few = whole_numbers(merged, kMaxFinite, are_all);
  if (!are_all) return std::nullopt;
  if ((types & kBoolean) != 0) few.insert(few.end(), {true, false});
  if ((types & kNull) != 0) few.emplace_back(nullptr);
  if (!add_all(few)) return std::nullopt;
  return values;
}

// A list of some of these, each once: few in any order, many in their own.
RuleId SchemaCompiler::rule_of_sets(std::span<const std::string> texts, uint32_t least,
                                    uint32_t most) {
  std::vector<Member> members;
  for (const std::string& text : texts) {
    const auto [at, is_new] = values_.try_emplace(text, 0);
    if (is_new) at->second = rule_of_values({&text, 1});
    members.push_back({at->second, false});
  }
  if (texts.size() > kAnyOrder) return rule_of_members({'[', ']', members, least, most, false, {}});
  const RuleId rule = builder_.add_rule();
  const StateId open = builder_.add_state(rule), end = builder_.add_state(rule);
  builder_.finish_at(end);
  builder_.add_text(builder_.start(rule), "[", open);
  if (least == 0) builder_.add_text(open, "]", end);
  // written[set]: those of a bit each; the first has no comma before it.
  const size_t sets = size_t{1} << texts.size();
  std::vector<StateId> written(sets);
  for (StateId& state : written) state = builder_.add_state(rule);
  for (size_t set = 0; set < sets; ++set) {
    const uint32_t count = uint32_t(std::popcount(set));
    if (count > 0 && count >= least) builder_.add_text(written[set], "]", end);
    if (count >= most) continue;
    StateId next = open;
    if (set != 0) {
      next = builder_.add_state(rule);
      builder_.add_text(written[set], ",", next);
    }
    for (size_t i = 0; i < texts.size(); ++i) {
      if ((set >> i & 1) != 0) continue;
      builder_.add_call(next, members[i].rule, written[set | size_t{1} << i]);
    }
  }
  return rule;
}

// Lists without repetition. Nothing where `items` are such that no two can be equal, now.
std::optional<RuleId> SchemaCompiler::unique_rule(Items& items, const std::string& pointer) {
  if (items.most < 2) return std::nullopt;
  if (items.first.empty()) {
    const auto values = finite_values(items.rest, child_pointer(pointer, "items"), 0);
    if (values) {
      std::vector<std::string> texts;
      for (const Schema& value : *values) texts.push_back(written_text(value));
      const uint32_t most = std::min(items.most, uint32_t(texts.size()));
      if (items.least <= most) return rule_of_sets(texts, items.least, most);
      const RuleId nothing = builder_.add_rule();
      note_nothing(nothing, pointer,
                   fmt::format("its items are {} values at the most, of which none may come twice, "
                               "and at least {} are required",
                               most, items.least));
      return nothing;
    }
  }
  const size_t written = std::max<size_t>(items.first.size(), items.least);
  bool differ = written <= kMaxDistinct && items.first.size() == written;
  for (size_t i = 0; differ && i < written; ++i) {
    for (size_t j = 0; differ && j < i; ++j) {
      differ = logic_->excludes(items.first[i], items.first[j]);
    }
  }
  if (differ && written > 1) {
    items.most = std::min(items.most, uint32_t(written));
    return std::nullopt;
  }
  if (items.needed < 2) {
    items.most = 1;
    items.least = items.needed;
    if (!items.first.empty()) items.first.resize(1);
    return std::nullopt;
  }
  if (const std::optional<RuleId> numbers = distinct_numbers(items, pointer)) return numbers;
  // As many as there must be, which end with different letters.
  const uint32_t count = items.needed;
  Items distinct = items;
  for (uint32_t i = 0; count <= kMaxDistinct && i < count; ++i) {
    if (distinct.first.size() <= i) distinct.first.push_back(items.rest);
    std::string letters;
    for (size_t at = i; at < kLetters.size(); at += count) letters += kLetters[at];
    const Schema& begins =
        schemas_->keep({{"type", "string"}, {"pattern", "[" + letters + "]$"}}, pointer);
    schemas_->add(distinct.first[i], Parts{{&begins, Part::Kind::plain}});
    if (logic_->is_impossible(distinct.first[i])) break;
    if (i + 1 < count) continue;
    items = std::move(distinct);
    items.least = items.most = count;
    items.first.resize(count);
    return std::nullopt;
  }
  schemas_->refuse(
      pointer, fmt::format("'uniqueItems' of at least {} items is only supported of values that "
                           "are listed and, up to {}, of strings; list them in 'prefixItems'",
                           count, kMaxDistinct));
  return std::nullopt;
}

RuleId SchemaCompiler::rule_of_items(const Items& items, const std::string& pointer) {
  std::vector<RuleId> first;
  const std::string path = child_pointer(pointer, "items");
  for (size_t i = 0; i < items.first.size() && i < items.most; ++i) {
    first.push_back(rule_of(items.first[i], child_pointer(path, std::to_string(i))));
  }
  const RuleId rest = rule_of(items.rest, path);
  // So that behind the first items the rest may be empty, or is no deeper than what was written.
  if (items.least > first.size()) first.push_back(rest);

  const RuleId rule = builder_.add_rule();
  const auto state = [&] { return builder_.add_state(rule); };
  const StateId inside = state(), close = state(), end = state();
  builder_.finish_at(end);
  builder_.add_text(builder_.start(rule), "[", inside);
  builder_.add_text(close, "]", end);
  if (items.least == 0) builder_.add_text(inside, "]", end);

  // `before`: an item comes next; `after`: one was the last.
  StateId before = inside, after = inside;
  for (size_t i = 0; i < first.size(); ++i) {
    if (i > 0) builder_.add_text(after, ",", before = state());
    builder_.add_call(before, first[i], after = state());
    if (i + 1 >= items.least && i + 1 < first.size()) builder_.add_jump(after, close);
  }
  const uint32_t written = uint32_t(first.size());
  const Counts more = {items.least > written ? items.least - written : 0,
                       items.most == kUnlimited ? kUnlimited : items.most - written};
  builder_.set_counter(rule, more.least, more.most);
  if (first.empty()) {
    if (more.most == 0) return rule;
    // The first of the rest has no comma.
    before = state(), after = state();
    builder_.add_again(inside, before);
    builder_.add_call(before, rest, after);
  }
  builder_.add_enough(after, close);
  if (more.most > 0) {
    const StateId comma = state(), item = state();
    builder_.add_again(after, comma);
    builder_.add_text(comma, ",", item);
    builder_.add_call(item, rest, after);
  }
  return rule;
}

RuleId SchemaCompiler::array_rule(const MergedSchema& merged, const std::string& pointer) {
  const auto nothing = [&](const std::string& because) {
    const RuleId rule = builder_.add_rule();
    note_nothing(rule, pointer, because);
    return rule;
  };
  Items items = items_of(merged, pointer);
  for (const Schema* value : merged.forbidden) {
    if (!value->is_array()) continue;
    if (!value->empty()) {
      schemas_->refuse(pointer, "that a list is not a certain value is not supported");
    }
    items.needed = std::max(items.needed, 1u);
    items.least = std::max(items.least, 1u);
  }
  if (items.least > items.most) {
    return nothing(fmt::format("at least {} and at most {} items are allowed: nothing is between",
                               items.least, items.most));
  }
  if (merged.unique) {
    if (const std::optional<RuleId> sets = unique_rule(items, pointer)) return *sets;
  }
  const bool limited = items.least > 0 || items.most != kUnlimited;
  if (items.any_rest && items.first.empty() && !limited) return json_.array();
  // What cannot be written is left out.
  if (logic_->is_impossible(items.rest)) {
    items.most = std::min(items.most, uint32_t(items.first.size()));
    if (items.least > items.most) return nothing("what its items must be cannot be written");
  }
  return rule_of_items(items, pointer);
}

}  // namespace anser
