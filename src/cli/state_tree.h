// The trees that states form by their parents, drawn with lines.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "store/state_info.h"

namespace anser {

// A line per state, which `describe` writes, under that of its parent; a fork begins a column of
// its own, and an empty line stands between trees. Parents that are gone are drawn where they were.
// `marked`: an id; only its tree is drawn, and a star stands in front of it. Empty: all trees.
// `states` must be in order of creation.
std::string draw_state_trees(const std::vector<StateInfo>& states, const std::string& marked,
                             const std::function<std::string(const StateInfo&)>& describe);

}  // namespace anser
