// How far two states of one model are apart.
#pragma once

#include <optional>
#include <vector>

#include "anser/state.h"

namespace anser {

// |b - a| / |a|, Euclidean norms: 0 for equal, about 1.4 for unrelated ones of the same size. None
// where a is zero and b is not.
using RelativeChange = std::optional<double>;

struct LayerChange {
  RelativeChange att_shift, ffn_shift;
  RelativeChange wkv;                 // of all heads together
  std::vector<RelativeChange> heads;  // of each head's S
};

// Of every layer. Throws Error when the states are of different models.
std::vector<LayerChange> compare_states(const State& a, const State& b);

}  // namespace anser
