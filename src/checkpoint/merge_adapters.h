// Adapters into weights, when a model is opened.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/adapter.h"
#include "model/weights.h"

namespace anser {

// The matrices that were changed.
using MergedBytes = std::list<std::unique_ptr<std::byte[]>>;

// What will be changed, by original name: to be loaded as the file has it, of whatever type.
std::set<std::string> changed_matrices(std::span<const OpenedAdapter> adapters);

// Makes new matrices, in `merged`, of those that the adapters change; all others stay where they
// are. Adapters are applied in their order, a row at a time, by all cores.
//
// A changed matrix becomes F32, so that nothing of a small change is lost in rounding; that of a
// quantised base, and with `to_f16` that of one of 16 bits, becomes F16 (docs/decisions/0009), but
// not with `exact`, for models that are written again: there a weight is rounded once, to what is
// written. Throws Error when a number is not finite. `notes` gets a sentence about what that takes.
void merge_adapters(std::span<const OpenedAdapter> adapters, Weights& weights,
                    const Hyperparameters& h, bool to_f16, bool exact, MergedBytes& merged,
                    std::vector<std::string>& notes);

}  // namespace anser
