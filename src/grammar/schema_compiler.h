// Schemas on their way into a grammar. In schema.cpp what stands for other schemas ($ref, allOf,
// anyOf); in schema_leaves.cpp values, strings and numbers; in schema_containers.cpp objects and
// lists; in schema_call.cpp calls of functions, each with a schema of its own.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "anser/constraint.h"
#include "grammar/grammar.h"
#include "grammar/json_rules.h"
#include "grammar/number_rules.h"
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
        numbers_(builder_, json_) {}

  // One of these, once.
  Grammar compile(const Schema& root);
  Grammar compile_call(std::span<const Constraint::Function> functions);

 private:
  // A rule that is known by number, and still to be filled.
  struct Open {
    RuleId rule;
    const Schema* schema;  // of *root_ or merged_
    std::string pointer;
  };
  struct Property {
    std::string name;
    bool required;
    RuleId value;
  };

  RuleId rule_of_root(const Schema& root, const Schema& schema);
  RuleId rule_of(const Schema& schema, const std::string& pointer);
  const Schema& keep(Schema&& schema, const std::string& pointer);
  const Schema& target(const Schema& schema, const std::string& pointer);
  const Schema* flatten(const Schema* schema, const std::string& pointer);
  void fill(const Open& open);
  void fill_choice(const Schema& schema, const char* keyword, const std::string& pointer,
                   StateId start, StateId end);

  RuleId rule_of_type(const std::string& type, const Schema& schema, const std::string& pointer);
  void fill_values(const Schema& schema, const std::string& pointer, StateId start, StateId end);
  RuleId string_rule(const Schema& schema, const std::string& pointer);
  RuleId number_rule(const std::string& type, const Schema& schema, const std::string& pointer);

  std::vector<Property> properties(const Schema& schema, const std::string& pointer);
  RuleId object_rule(const Schema& schema, const std::string& pointer);
  RuleId array_rule(const Schema& schema, const std::string& pointer);

  const Schema& arguments_schema(const Schema& parameters);
  Grammar build_call(std::span<const Constraint::Function> functions, std::span<const RuleId> ends,
                     RuleId whole);

  const Schema* root_ = nullptr;  // of the schema in work: where its references begin
  CompileBudget& budget_;
  GrammarBuilder builder_;
  JsonRules json_;
  StringRules strings_;
  NumberRules numbers_;
  std::map<const Schema*, RuleId> rules_;
  std::deque<Open> open_;
  std::deque<Schema> merged_;  // addresses stay
  // Of the schema in work: what was merged, by its text, and what was referred to. The same comes
  // again wherever schemas refer to each other.
  std::map<std::string, const Schema*> kept_, targets_;
};

}  // namespace anser
