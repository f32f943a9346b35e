// Multiples of a number as states of a grammar.
#pragma once

#include "grammar/grammar.h"
#include "grammar/json_rules.h"
#include "grammar/number_limits.h"

namespace anser {

// One number that is within limits that have multiples; a whole one, where it must be. What is
// written is a multiple exactly, and also for who divides doubles. False where the multiples are
// too large together.
bool add_multiples(GrammarBuilder& builder, JsonRules& json, StateId from,
                   const NumberLimits& limits, bool integer, StateId to);

}  // namespace anser
