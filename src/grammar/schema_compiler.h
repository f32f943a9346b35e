// Schemas on their way into a grammar. In schema.cpp what a place is made of, and alternatives; in
// schema_leaves.cpp strings and numbers; in schema_containers.cpp lists; in schema_objects.cpp
// objects; in schema_call.cpp calls of functions, each with a schema of its own.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "anser/constraint.h"
#include "grammar/grammar.h"
#include "grammar/json_rules.h"
#include "grammar/number_rules.h"
#include "grammar/schema_logic.h"
#include "grammar/schema_merged.h"
#include "grammar/schema_parts.h"
#include "grammar/schema_text.h"
#include "grammar/string_rules.h"

namespace anser {

class SchemaCompiler {
 public:
  explicit SchemaCompiler(CompileBudget& budget)
      : budget_(budget),
        builder_(budget),
        json_(builder_),
        strings_(builder_, json_),
        numbers_(builder_, json_),
        patterns_(budget) {}

  // One of these, once. Not strict: what cannot be kept to is passed over.
  Grammar compile(const Schema& root, bool strict = true);
  Grammar compile_call(std::span<const Constraint::Function> functions);

 private:
  // A rule that is known by number, and still to be filled.
  struct Open {
    RuleId rule;
    const Parts* parts;
    std::string pointer;
  };

  RuleId rule_of_root(const Schema& root, const Parts& more, bool strict);
  RuleId rule_of(const Parts& parts, const std::string& pointer);
  void fill(const Open& open);
  void fill_alternatives(const std::vector<SchemaLogic::Alternative>& all, const Open& open,
                         const std::string& of);
  bool never_has(const MergedSchema& merged, const Schema& name);
  bool fill_negation(const Parts& parts, const MergedSchema& merged, const Open& open);
  void fill_plain(const Parts& parts, const MergedSchema& merged, const Open& open);
  void fill_values(const Parts& parts, const MergedSchema& merged, const Open& open);
  bool holds_format(const std::string& format, const std::string& written);
  RuleId rule_of_values(std::span<const std::string> texts);
  // Why nothing can be written there; said where it must be.
  void note_nothing(RuleId rule, const std::string& pointer, const std::string& because);
  std::string reason_of(std::span<const RuleId> without_end) const;

  RuleId text_rule(const MergedSchema& merged, const std::string& pointer);
  RuleId exact_text_rule(const MergedSchema& merged, const std::string& pointer);
  RuleId product_rule(const MergedSchema& merged, const std::string& pointer);
  void add_numbers(Types types, const MergedSchema& merged, const Open& open, StateId end);
  RuleId filtered_numbers(RuleId numbers, bool only_fractions, std::span<const uint32_t> steps,
                          const std::string& pointer);
  RuleId one_number_rule(const std::string& type, const Schema& leaf, const std::string& pointer);
  RuleId string_rule(const Schema& schema, const std::string& pointer);
  RuleId number_rule(const std::string& type, const Schema& schema, const std::string& pointer);

  // What comes in order between brackets or braces, with commas between.
  struct Member {
    RuleId rule;
    bool required;
  };
  struct Members {
    char open, close;
    std::span<const Member> listed;
    uint32_t least, most;  // how many are written; most may be kUnlimited
    bool has_others;
    // What may come behind them any number of times, when so many members have been counted, and
    // whether (1) or not (0) such others are among them; nothing: none. Only those count that come
    // before `least` is reached, and all where `most` limits them.
    std::function<std::optional<RuleId>(uint32_t, int)> others;
  };
  RuleId rule_of_members(const Members& members);

  struct Names {
    std::vector<std::string> listed, taken;  // that are written in this order; and that are not
    std::vector<bool> required;
    bool finite = false;  // whether there are no others, since all names are listed
  };
  std::optional<Names> names_of_object(const MergedSchema& merged, const std::string& pointer,
                                       RuleId rule);
  bool add_finite_names(const MergedSchema& merged, const std::string& pointer, Names& names);
  Verdict allows_name(const MergedSchema& merged, const std::string& name);
  RuleId named(const std::string& name, RuleId value);
  std::optional<RuleId> other_members(const MergedSchema& merged, const Names& names,
                                      const std::string& last, const std::string& pointer);
  Parts other_parts(const MergedSchema& merged, const std::set<std::string>& patterns,
                    const std::string& pointer);
  std::optional<RuleId> members_by_pattern(const MergedSchema& merged, const Names& names,
                                           const std::string& last, const std::string& pointer);
  std::string letters_of(uint32_t number, uint32_t of, const std::string& pointer);
  RuleId object_rule(const MergedSchema& merged, const std::string& pointer);

  std::optional<std::vector<Schema>> finite_values(const Parts& parts, const std::string& pointer,
                                                   int depth);
  std::vector<Schema> whole_numbers(const MergedSchema& merged, size_t most, bool& all);
  struct Items {
    std::vector<Parts> first;
    Parts rest;
    uint32_t needed;       // by the schema, of which `least` may be more
    uint32_t least, most;  // that are written
    bool any_rest;         // whether nothing is said of the rest
  };
  Items items_of(const MergedSchema& merged, const std::string& pointer);
  std::optional<RuleId> distinct_numbers(const Items& items, const std::string& pointer);
  std::optional<RuleId> unique_rule(Items& items, const std::string& pointer);
  RuleId rule_of_sets(std::span<const std::string> texts, uint32_t least, uint32_t most);
  RuleId rule_of_items(const Items& items, const std::string& pointer);
  RuleId array_rule(const MergedSchema& merged, const std::string& pointer);

  Grammar build_call(std::span<const Constraint::Function> functions, std::span<const RuleId> ends,
                     RuleId whole);

  CompileBudget& budget_;
  GrammarBuilder builder_;
  JsonRules json_;
  StringRules strings_;
  NumberRules numbers_;
  PatternCache patterns_;
  // Of the schema in work: where its references begin.
  std::deque<SchemaParts> schemas_of_all_;  // addresses stay
  SchemaParts* schemas_ = nullptr;
  std::optional<SchemaLogic> logic_;
  std::map<Parts, RuleId> rules_;
  std::deque<Open> open_;
  std::map<std::string, RuleId> values_;  // by their text
  std::map<std::pair<std::string, RuleId>, RuleId> named_;
  std::map<RuleId, std::string> nothing_because_;
};

}  // namespace anser
