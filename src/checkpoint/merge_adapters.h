// Adapters into weights, when a model is opened.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/adapter.h"
#include "model/weights.h"

namespace anser {

// The matrices that were changed.
using MergedBytes = std::list<std::unique_ptr<std::byte[]>>;

// Makes new matrices, in `merged`, of those that the adapters change; all others stay where they
// are. Adapters are applied in their order, a row at a time, by all cores.
//
// A changed matrix becomes F32, so that nothing of a small change is lost in rounding; that of a
// quantised base becomes F16, whose error (2^-12) is a sixteenth of its own (docs/decisions/0009).
// Throws Error when a number is not finite. `notes` gets a sentence about what that takes.
void merge_adapters(std::span<const OpenedAdapter> adapters, Weights& weights,
                    const Hyperparameters& h, MergedBytes& merged, std::vector<std::string>& notes);

}  // namespace anser
