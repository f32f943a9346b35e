#include "cli/load_state.h"

#include "cli/console.h"

namespace anser {

State load_state(const Model& model, const std::string& path) {
  State state = model.load_state(path);
  say_if_unknown(state, path);
  return state;
}

void say_if_unknown(const State& state, const std::string& what) {
  if (state.identity_known()) return;
  say("anser: {} {}", what, kUnknownIdentity);
}

}  // namespace anser
