#include "grammar/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "base/cut_text.h"
#include "grammar/automaton.h"
#include "grammar/keywords.h"
#include "grammar/schema_compiler.h"
#include "grammar/schema_references.h"
#include "grammar/schema_values.h"

namespace anser {
namespace {

using Kind = Part::Kind;

// How many ways there are to see to it that a schema does not hold, where several must not.
size_t ways_of(size_t schemas) {
  return schemas == 1 ? 16 : schemas == 2 ? 6 : schemas <= 4 ? 3 : 1;
}

}  // namespace

Grammar SchemaCompiler::compile(const Schema& root, bool strict) {
  const RuleId whole = builder_.add_rule();
  const StateId begun = builder_.add_state(whole), end = builder_.add_state(whole);
  // As models' answers begin.
  builder_.add_text(builder_.start(whole), " ", begun);
  builder_.add_jump(builder_.start(whole), begun);
  builder_.add_call(begun, rule_of_root(root, {}, strict), end);
  builder_.finish_at(end);
  try {
    return std::move(builder_).build(whole);
  } catch (const NoText& error) {
    throw Error(error.what() + reason_of(error.rules));
  }
}

// With all that `root` needs, which must outlive the compiler.
RuleId SchemaCompiler::rule_of_root(const Schema& root, const Parts& more, bool strict) {
  check_schema(root, "#", budget_);
  schemas_ = &schemas_of_all_.emplace_back(root, strict, budget_);
  logic_.emplace(*schemas_, patterns_);
  Parts parts;
  schemas_->add(parts, root, "#");
  schemas_->add(parts, more);
  const RuleId rule = rule_of(parts, "#");
  // Rules refer to rules that are not filled yet; so nothing here recurs into the schema.
  for (; !open_.empty(); open_.pop_front()) fill(open_.front());
  return rule;
}

RuleId SchemaCompiler::rule_of(const Parts& parts, const std::string& pointer) {
  if (parts.empty()) return json_.any();
  budget_.spend(sizeof(Part) * parts.size());
  const auto [at, is_new] = rules_.try_emplace(parts, 0);
  if (is_new) {
    budget_.keep_merged(sizeof(Part) * parts.size(), pointer);
    at->second = builder_.add_rule();
    open_.push_back({at->second, &at->first, pointer});
  }
  return at->second;
}

void SchemaCompiler::note_nothing(RuleId rule, const std::string& pointer,
                                  const std::string& because) {
  nothing_because_.try_emplace(
      rule, fmt::format(". Nothing satisfies the schema at {}: {}", pointer, because));
}

std::string SchemaCompiler::reason_of(std::span<const RuleId> without_end) const {
  for (const RuleId rule : without_end) {
    const auto found = nothing_because_.find(rule);
    if (found != nothing_because_.end()) return found->second;
  }
  return "";
}

void SchemaCompiler::fill(const Open& open) {
  const Parts& parts = *open.parts;
  const MergedSchema merged = merge_parts(parts, *schemas_, open.pointer);
  if (!merged.nothing_because.empty()) {
    return note_nothing(open.rule, open.pointer, merged.nothing_because);
  }
  const auto choice = std::ranges::find_if(
      merged.others, [](const Part& part) { return part.kind != Kind::negated; });
  if (choice != merged.others.end()) {
    if (choice->kind == Kind::depends && never_has(merged, (*choice->schema)[0])) {
      Parts rest;
      std::ranges::copy_if(parts, std::back_inserter(rest),
                           [&](const Part& part) { return part != *choice; });
      return fill_alternatives({{std::move(rest), open.pointer}}, open, "it cannot be written");
    }
    std::vector<SchemaLogic::Alternative> all = logic_->alternatives(*choice, open.pointer);
    for (SchemaLogic::Alternative& one : all) {
      Parts whole;
      for (const Part& part : parts) {
        schemas_->add(whole, part == *choice ? one.parts : Parts{part});
      }
      one.parts = std::move(whole);
    }
    return fill_alternatives(all, open, "none of its alternatives can be written");
  }
  if (!merged.others.empty() && fill_negation(parts, merged, open)) return;
  fill_plain(parts, merged, open);
}

// Whether no property of this name is written, whatever alternatives are still to be chosen.
bool SchemaCompiler::never_has(const MergedSchema& merged, const Schema& name) {
  // That something must not hold may take a property of this name.
  const bool settled = std::ranges::all_of(
      merged.others, [](const Part& part) { return part.kind == Kind::depends; });
  // Others that depend on something may need it.
  const bool is_needed = std::ranges::any_of(merged.others, [&](const Part& part) {
    if (part.kind != Kind::depends) return false;
    const Schema& needed = (*part.schema)[1];
    return !needed.is_array() || std::ranges::find(needed, name) != needed.end();
  });
  return settled && !is_needed && SchemaLogic::is_closed(merged) &&
         !logic_->lists(merged, name.get_ref<const std::string&>());
}

void SchemaCompiler::fill_alternatives(const std::vector<SchemaLogic::Alternative>& all,
                                       const Open& open, const std::string& of) {
  const StateId start = builder_.start(open.rule), end = builder_.add_state(open.rule);
  builder_.finish_at(end);
  std::set<RuleId> called;
  for (const SchemaLogic::Alternative& one : all) {
    if (logic_->is_impossible(one.parts)) continue;
    const RuleId rule = rule_of(one.parts, one.pointer);
    if (called.insert(rule).second) builder_.add_call(start, rule, end);
  }
  if (called.empty()) note_nothing(open.rule, open.pointer, of);
}

// What must not hold. False where nothing that is written otherwise would satisfy it.
bool SchemaCompiler::fill_negation(const Parts& parts, const MergedSchema& merged,
                                   const Open& open) {
  Parts rest;  // without those
  for (const Part& part : parts) {
    if (std::ranges::find(merged.others, part) == merged.others.end()) rest.push_back(part);
  }
  std::vector<Part> left;
  for (const Part& part : merged.others) {
    Parts whole;
    schemas_->add(whole, *part.schema, open.pointer);
    if (!logic_->excludes(rest, whole)) left.push_back(part);
  }
  for (const Part& part : left) {
    const SchemaLogic::Negation found = logic_->negation(*part.schema, rest, open.pointer);
    if (found.ways.empty() && !found.all) {
      schemas_->refuse(
          open.pointer,
          "what 'not', 'if' or another alternative of 'oneOf' excludes here cannot be told from "
          "what is allowed. Say what is allowed instead, with a const or a type in each "
          "alternative");
      continue;
    }
    std::vector<SchemaLogic::Alternative> all;
    for (const Parts& way : found.ways) {
      if (all.size() == ways_of(left.size())) break;
      // All that must not hold is looked at again: it may be excluded no more.
      all.push_back({{}, open.pointer});
      for (const Part& one : parts) {
        if (one != part) all.back().parts.push_back(one);
      }
      schemas_->add(all.back().parts, way);
    }
    fill_alternatives(all, open, "what 'not' or 'oneOf' excludes leaves nothing");
    return true;
  }
  return false;
}

// Where there are no choices left, and what must not hold is simple.
void SchemaCompiler::fill_plain(const Parts& parts, const MergedSchema& merged, const Open& open) {
  if (merged.values) return fill_values(parts, merged, open);
  const StateId start = builder_.start(open.rule), end = builder_.add_state(open.rule);
  builder_.finish_at(end);
  const std::string& pointer = open.pointer;
  const auto forbids = [&](const Schema& value) {
    return std::ranges::any_of(merged.forbidden, [&](const Schema* one) { return *one == value; });
  };
  const Types types = merged.written_types();
  if (types == 0) {
    note_nothing(open.rule, pointer,
                 fmt::format("its type is {}, and its other keywords speak of {}",
                             names_of(merged.types), names_of(merged.spoken_of)));
  }
  if ((types & kObject) != 0) builder_.add_call(start, object_rule(merged, pointer), end);
  if ((types & kArray) != 0) builder_.add_call(start, array_rule(merged, pointer), end);
  if ((types & kString) != 0) {
    const Schema& leaf = merged.leaf;
    if (leaf.contains("minLength") && leaf.contains("maxLength") &&
        leaf["minLength"] > leaf["maxLength"]) {
      note_nothing(open.rule, pointer,
                   fmt::format("'minLength' is {} and 'maxLength' is {}: nothing is between",
                               leaf["minLength"].dump(), leaf["maxLength"].dump()));
    } else {
      builder_.add_call(start, text_rule(merged, pointer), end);
    }
  }
  if ((types & kNumber) != 0) {
    add_numbers(types, merged, open, end);
  }
  if ((types & kBoolean) != 0) {
    if (!forbids(true)) builder_.add_text(start, "true", end);
    if (!forbids(false)) builder_.add_text(start, "false", end);
  }
  if ((types & kNull) != 0 && !forbids(nullptr)) builder_.add_text(start, "null", end);
}

// Whether a text may be of this format; a format may allow more than is written.
bool SchemaCompiler::holds_format(const std::string& format, const std::string& written) {
  const Schema schema = {{"type", "string"}, {"format", format}};
  const Grammar grammar = SchemaCompiler(budget_).compile(schema);
  Automaton automaton(grammar);
  Automaton::Id at = automaton.start();
  for (const char byte : written) {
    at = automaton.step(at, uint8_t(byte));
    if (at == Automaton::kDead) return false;
  }
  return automaton.complete(at);
}

void SchemaCompiler::fill_values(const Parts& parts, const MergedSchema& merged, const Open& open) {
  std::vector<std::string> texts;
  const std::string format =
      merged.leaf.contains("format") ? merged.leaf["format"].get<std::string>() : "";
  for (const Schema* value : *merged.values) {
    Verdict all = Verdict::yes;
    for (const Part& part : parts) {
      all = std::min(all, logic_->check().check(*value, part));
      if (all == Verdict::no) break;
    }
    if (all == Verdict::no) continue;
    if (all == Verdict::perhaps) {
      schemas_->refuse(open.pointer,
                       fmt::format("whether the value {} of its enum or const satisfies the "
                                   "keywords beside it cannot be said; remove them, and the values "
                                   "that they exclude",
                                   cut_text(value->dump())));
    }
    const bool whole = (merged.types & kFraction) == 0;
    std::string text = whole ? written_text(*value) : value->dump();
    if (!format.empty() && value->is_string() && !holds_format(format, text)) continue;
    texts.push_back(std::move(text));
  }
  if (texts.empty()) {
    return note_nothing(open.rule, open.pointer,
                        "no value of its enum or const satisfies the keywords beside it");
  }
  const StateId end = builder_.add_state(open.rule);
  builder_.finish_at(end);
  json_.add_choice(builder_.start(open.rule), texts, end);
}

RuleId SchemaCompiler::rule_of_values(std::span<const std::string> texts) {
  const RuleId rule = builder_.add_rule();
  const StateId end = builder_.add_state(rule);
  builder_.finish_at(end);
  json_.add_choice(builder_.start(rule), texts, end);
  return rule;
}

Grammar json_object_grammar() {
  const Schema schema = {{"type", "object"}};
  CompileBudget budget;
  return SchemaCompiler(budget).compile(schema);
}

Grammar json_schema_grammar(std::string_view text, bool strict) {
  CompileBudget budget;
  try {
    Schema schema = parse_schema(text, budget);
    write_references_from_root(schema, budget);
    return SchemaCompiler(budget).compile(schema, strict);
  } catch (const Error& error) {
    throw Error(one_kilobyte(error.what()));
  }
}

}  // namespace anser
