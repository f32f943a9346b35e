// States out of files, for commands.
#pragma once

#include <string>

#include "anser/model.h"
#include "anser/state.h"

namespace anser {

// Model::load_state, and say_if_unknown.
State load_state(const Model& model, const std::string& path);

// Says on stderr that a state leaves open which fine-tune it belongs to, if it does. `what`: names
// the state, at the beginning of the sentence.
void say_if_unknown(const State& state, const std::string& what);

}  // namespace anser
