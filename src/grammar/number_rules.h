// Numbers as rules of a grammar.
#pragma once

#include <map>
#include <string>

#include "grammar/json_rules.h"
#include "grammar/number_limits.h"

namespace anser {

class NumberRules {
 public:
  NumberRules(GrammarBuilder& builder, JsonRules& json) : builder_(builder), json_(json) {}

  // A number, or a whole one, made once for equal limits. Throws Error that begins with `where`
  // where multiples are too large together.
  RuleId rule(const NumberLimits& limits, bool integer, const std::string& where);

 private:
  GrammarBuilder& builder_;
  JsonRules& json_;
  std::map<std::string, RuleId> rules_;
};

}  // namespace anser
