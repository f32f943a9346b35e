// Objects: the properties that schemas list, in their order, and others behind them.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_set>

#include "base/cut_text.h"
#include "grammar/keywords.h"
#include "grammar/schema_compiler.h"
#include "grammar/schema_values.h"
#include "grammar/string_readers.h"

namespace anser {
namespace {

// Others that must differ end with different letters of these.
constexpr std::string_view kLetters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
constexpr uint32_t kMaxOthers = 16;

bool has(const MergedSchema& merged, const char* keyword) {
  return std::ranges::any_of(merged.nodes,
                             [&](const Schema* node) { return node->contains(keyword); });
}

// Of the names that are neither listed nor match a pattern: whether any are written.
bool allows_others(const MergedSchema& merged) {
  bool open = false, closed = merged.only.has_value();
  for (const Schema* node : merged.nodes) {
    for (const char* word : {"additionalProperties", "unevaluatedProperties"}) {
      if (!node->contains(word)) continue;
      closed |= (*node)[word] == false;
      open |= (*node)[word] != false;
    }
  }
  const bool lists_some =
      has(merged, "properties") || has(merged, "patternProperties") || !merged.required.empty();
  return !closed && (open || !lists_some);
}

}  // namespace

// What all that speaks of names says of one.
Verdict SchemaCompiler::allows_name(const MergedSchema& merged, const std::string& name) {
  if (merged.absent.contains(name) || (merged.only && !merged.only->contains(name))) {
    return Verdict::no;
  }
  Verdict all = Verdict::yes;
  for (const Schema* node : merged.nodes) {
    if (!node->contains("propertyNames")) continue;
    all = std::min(all, logic_->check().check(Schema(name), (*node)["propertyNames"]));
  }
  return all;
}

// All names, where propertyNames has a list of them.
bool SchemaCompiler::add_finite_names(const MergedSchema& merged, const std::string& pointer,
                                      Names& names) {
  if (!has(merged, "propertyNames")) return false;
  Parts parts;
  for (const Schema* node : merged.nodes) {
    if (!node->contains("propertyNames")) continue;
    schemas_->add(parts, (*node)["propertyNames"], child_pointer(pointer, "propertyNames"));
  }
  const MergedSchema name = merge_parts(parts, *schemas_, pointer);
  if (!name.values) return false;
  if (!allows_others(merged) && !has(merged, "patternProperties")) return true;
  std::unordered_set<std::string> known(names.listed.begin(), names.listed.end());
  known.insert(names.taken.begin(), names.taken.end());
  for (const Schema* value : *name.values) {
    if (!value->is_string()) continue;
    const std::string& text = value->get_ref<const std::string&>();
    if (known.contains(text) || allows_name(merged, text) != Verdict::yes) continue;
    names.listed.push_back(text);
    names.required.push_back(false);
  }
  return true;
}

// Nothing where one that is required may not be there.
std::optional<SchemaCompiler::Names> SchemaCompiler::names_of_object(const MergedSchema& merged,
                                                                     const std::string& pointer,
                                                                     RuleId rule) {
  Names names;
  std::unordered_set<std::string> seen;
  const std::unordered_set<std::string> needed(merged.required.begin(), merged.required.end());
  const auto add = [&](const std::string& name) {
    if (!seen.insert(name).second) return true;
    const bool required = needed.contains(name);
    const Verdict allowed = allows_name(merged, name);
    if (allowed == Verdict::perhaps) {
      schemas_->refuse(pointer, fmt::format("whether 'propertyNames' allows the property '{}' "
                                            "cannot be said",
                                            cut_text(name)));
    }
    if (allowed == Verdict::no) {
      names.taken.push_back(name);
      if (required) {
        note_nothing(rule, pointer,
                     fmt::format("the property '{}' is required and not allowed", cut_text(name)));
      }
      return !required;
    }
    names.listed.push_back(name);
    names.required.push_back(required);
    return true;
  };
  for (const Schema* node : merged.nodes) {
    if (!node->contains("properties")) continue;
    for (const auto& [name, property] : (*node)["properties"].items()) {
      if (!add(name)) return std::nullopt;
    }
  }
  for (const std::string& name : merged.required) {
    if (!add(name)) return std::nullopt;
  }
  for (const std::string& name : merged.absent) add(name);
  names.finite = add_finite_names(merged, pointer, names);
  return names;
}

// A property: its name, and a value. The same in all alternatives that have it.
RuleId SchemaCompiler::named(const std::string& name, RuleId value) {
  const auto [known, is_new] = named_.try_emplace({name, value}, 0);
  if (!is_new) return known->second;
  const RuleId rule = known->second = builder_.add_rule();
  const StateId colon = builder_.add_state(rule), end = builder_.add_state(rule);
  builder_.finish_at(end);
  builder_.add_text(builder_.start(rule), '"' + json_inside(name) + "\":", colon);
  builder_.add_call(colon, value, end);
  return rule;
}

// A property of a name that is not listed, whose name ends with one of `last` where this is not
// empty. Nothing where there are none.
std::optional<RuleId> SchemaCompiler::other_members(const MergedSchema& merged, const Names& names,
                                                    const std::string& last,
                                                    const std::string& pointer) {
  const bool by_pattern = has(merged, "patternProperties");
  if (names.finite || merged.only || (!by_pattern && !allows_others(merged))) return std::nullopt;
  const bool names_are_held = has(merged, "propertyNames");
  const bool lists_some = !names.listed.empty() || !names.taken.empty();
  if (by_pattern || !last.empty() || (names_are_held && lists_some)) {
    try {
      return members_by_pattern(merged, names, last, pointer);
    } catch (const BudgetExceeded&) {
      throw;
    } catch (const Error&) {
      if (schemas_->strict()) throw;
      return std::nullopt;
    }
  }
  const std::string at = child_pointer(pointer, "additionalProperties");
  const Parts parts = other_parts(merged, {}, at);
  if (logic_->is_impossible(parts)) return std::nullopt;
  const RuleId value = rule_of(parts, at);
  const RuleId rule = builder_.add_rule();
  const StateId colon = builder_.add_state(rule), begun = builder_.add_state(rule),
                end = builder_.add_state(rule);
  builder_.finish_at(end);
  const StateId start = builder_.start(rule);
  if (names_are_held) {
    Parts name = {{&schemas_->keep({{"type", "string"}}, pointer), Part::Kind::plain}};
    for (const Schema* node : merged.nodes) {
      if (!node->contains("propertyNames")) continue;
      schemas_->add(name, (*node)["propertyNames"], child_pointer(pointer, "propertyNames"));
    }
    if (logic_->is_impossible(name)) return std::nullopt;
    builder_.add_call(start, rule_of(name, child_pointer(pointer, "propertyNames")), colon);
  } else if (lists_some) {
    std::vector<std::string> all = names.listed;
    all.insert(all.end(), names.taken.begin(), names.taken.end());
    builder_.add_text(start, "\"", begun);
    json_.add_other_name(begun, all, colon);
  } else {
    builder_.add_call(start, json_.string(), colon);
  }
  const StateId before = builder_.add_state(rule);
  builder_.add_text(colon, ":", before);
  builder_.add_call(before, value, end);
  return rule;
}

// What holds for a property that is not listed, and whose name matches these patterns and no
// others.
Parts SchemaCompiler::other_parts(const MergedSchema& merged, const std::set<std::string>& patterns,
                                  const std::string& pointer) {
  Parts parts;
  for (const Schema* node : merged.nodes) {
    bool matches = false;
    if (node->contains("patternProperties")) {
      for (const auto& [pattern, schema] : (*node)["patternProperties"].items()) {
        if (!patterns.contains(pattern)) continue;
        matches = true;
        schemas_->add(parts, schema, child_pointer(pointer, pattern));
      }
    }
    for (const char* word : {"additionalProperties", "unevaluatedProperties"}) {
      if (matches || !node->contains(word)) continue;
      schemas_->add(parts, (*node)[word], pointer);
      break;
    }
  }
  return parts;
}

// By automata that read a name at once: the names that are listed, all patterns, and what
// propertyNames says.
std::optional<RuleId> SchemaCompiler::members_by_pattern(const MergedSchema& merged,
                                                         const Names& names,
                                                         const std::string& last,
                                                         const std::string& pointer) {
  StringReaders readers(patterns_, budget_, pointer);
  readers.must_not_be(names.listed);
  readers.must_not_be(names.taken);
  if (!last.empty()) readers.must_match("[" + last + "]$");
  Parts held;
  for (const Schema* node : merged.nodes) {
    if (node->contains("propertyNames")) {
      schemas_->add(held, (*node)["propertyNames"], child_pointer(pointer, "propertyNames"));
    }
    if (!node->contains("patternProperties")) continue;
    for (const auto& [pattern, schema] : (*node)["patternProperties"].items()) {
      readers.may_match(pattern);
    }
  }
  const MergedSchema name = merge_parts(held, *schemas_, pointer);
  if (!name.nothing_because.empty() || (name.types & kString) == 0) return std::nullopt;
  if (!name.others.empty()) {
    schemas_->refuse(pointer,
                     "'propertyNames' of alternatives is not supported beside properties and "
                     "patterns; use a pattern");
  }
  readers.must_be(name);

  const RuleId rule = builder_.add_rule();
  const StateId inside = builder_.add_state(rule), end = builder_.add_state(rule);
  builder_.finish_at(end);
  builder_.add_text(builder_.start(rule), "\"", inside);
  std::map<Parts, std::optional<StateId>> known;
  readers.write(builder_, json_, inside, [&](const std::set<std::string>& matched) {
    if (matched.empty() && !allows_others(merged)) return std::optional<StateId>();
    const std::string at =
        child_pointer(pointer, matched.empty() ? "additionalProperties" : "patternProperties");
    const Parts parts = other_parts(merged, matched, at);
    const auto [found, is_new] = known.try_emplace(parts, std::nullopt);
    if (is_new && !logic_->is_impossible(parts)) {
      const StateId before = builder_.add_state(rule), value = builder_.add_state(rule);
      builder_.add_text(before, "\":", value);
      builder_.add_call(value, rule_of(parts, at), end);
      found->second = before;
    }
    return found->second;
  });
  return rule;
}

// The letters that the number-th of so many names that must differ may end with.
std::string SchemaCompiler::letters_of(uint32_t number, uint32_t of, const std::string& pointer) {
  if (of > kMaxOthers) {
    fail_at(pointer, fmt::format("'minProperties' that asks for more than {} properties that are "
                                 "not listed is not supported; name them in 'required'",
                                 kMaxOthers));
  }
  std::string letters;
  for (size_t i = number; i < kLetters.size(); i += of) letters += kLetters[i];
  return letters;
}

RuleId SchemaCompiler::object_rule(const MergedSchema& merged, const std::string& pointer) {
  const bool is_spoken_of = std::ranges::any_of(
      merged.nodes, [](const Schema* node) { return (types_spoken_of(*node) & kObject) != 0; });
  if (!is_spoken_of && !merged.only && merged.absent.empty() && merged.forbidden.empty()) {
    return json_.object();
  }
  const RuleId nothing = builder_.add_rule();
  uint32_t least = merged.least_properties;
  for (const Schema* value : merged.forbidden) {
    if (!value->is_object()) continue;
    if (!value->empty()) {
      schemas_->refuse(pointer, "that an object is not a certain value is not supported");
    }
    least = std::max(least, 1u);
  }
  const std::optional<Names> names = names_of_object(merged, pointer, nothing);
  if (!names) return nothing;
  const std::string path = child_pointer(pointer, "properties");
  std::vector<Member> members;
  uint32_t required = 0;
  for (size_t i = 0; i < names->listed.size(); ++i) {
    const std::string& name = names->listed[i];
    const std::string at = child_pointer(path, name);
    const Parts parts = logic_->property_parts(merged.nodes, name, at);
    required += names->required[i];
    if (!names->required[i] && logic_->is_impossible(parts)) continue;
    members.push_back({named(name, rule_of(parts, at)), names->required[i]});
  }
  if (required > merged.most_properties || least > merged.most_properties) {
    note_nothing(nothing, pointer,
                 fmt::format("'maxProperties' is {}, and {} are required", merged.most_properties,
                             std::max(required, least)));
    return nothing;
  }
  if (least <= required) least = 0;
  const std::optional<RuleId> others = other_members(merged, *names, "", pointer);
  if (!others && least > members.size()) {
    note_nothing(
        nothing, pointer,
        fmt::format("'minProperties' is {}, and there are {} properties", least, members.size()));
    return nothing;
  }
  std::map<uint32_t, std::optional<RuleId>> by_count;
  const auto other = [&](uint32_t count, int before) -> std::optional<RuleId> {
    // One alone differs from those that are listed.
    if (!others || count >= least || (before == 0 && count + 1 == least)) return others;
    const auto [at, is_new] = by_count.try_emplace(count, std::nullopt);
    if (is_new) {
      at->second = other_members(merged, *names, letters_of(count, least, pointer), pointer);
    }
    return at->second;
  };
  return rule_of_members(
      {'{', '}', members, least, merged.most_properties, others.has_value(), other});
}

// names[i][c]: before member i or a later one, when c were counted; after[i][c]: one was the last,
// and those before i are written or left out. Behind the last index there were others already.
RuleId SchemaCompiler::rule_of_members(const Members& members) {
  const size_t n = members.listed.size();
  const bool has_others = members.has_others;
  const bool bounded = members.most != kUnlimited && (has_others || members.most < n);
  const uint32_t counted = bounded ? members.most : members.least;
  const RuleId rule = builder_.add_rule();
  const StateId end = builder_.add_state(rule);
  builder_.finish_at(end);
  const size_t levels = has_others ? n + 2 : n + 1;
  std::vector<std::vector<StateId>> names(levels), after(levels);
  for (size_t i = 0; i < levels; ++i) {
    for (uint32_t c = 0; c <= counted; ++c) {
      names[i].push_back(builder_.add_state(rule));
      after[i].push_back(builder_.add_state(rule));
    }
  }
  size_t last_required = 0;  // one behind it
  for (size_t i = 0; i < n; ++i) {
    if (members.listed[i].required) last_required = i + 1;
  }
  const std::string close(1, members.close);
  const StateId begun = builder_.add_state(rule);
  builder_.add_text(builder_.start(rule), std::string(1, members.open), begun);
  builder_.add_jump(begun, names[0][0]);
  if (last_required == 0 && members.least == 0) builder_.add_text(begun, close, end);
  for (size_t i = 0; i < levels; ++i) {
    for (uint32_t c = 0; c <= counted; ++c) {
      const bool full = bounded && c == members.most;
      const uint32_t next = std::min(c + 1, counted);
      if (i < n) {
        if (!full) builder_.add_call(names[i][c], members.listed[i].rule, after[i + 1][next]);
        if (!members.listed[i].required) builder_.add_jump(names[i][c], names[i + 1][c]);
      } else if (has_others && !full) {
        const std::optional<RuleId> other = members.others(c, i == n ? 0 : 1);
        if (other) builder_.add_call(names[i][c], *other, after[n + 1][next]);
      }
      builder_.add_text(after[i][c], ",", names[i][c]);
      if (i >= last_required && c >= members.least) builder_.add_text(after[i][c], close, end);
    }
  }
  return rule;
}

}  // namespace anser
