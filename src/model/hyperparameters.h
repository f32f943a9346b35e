// The sizes of a model, from the shapes of its tensors.
#pragma once

#include <string>

#include "anser/model.h"
#include "model/checkpoint.h"

namespace anser {

// Reads the sizes and checks them against each other and against what the file's metadata says.
// Throws Error naming the tensor, the expected and the found value. `path` is for messages.
Hyperparameters hyperparameters_from_shapes(const Checkpoint& checkpoint, const std::string& path);

}  // namespace anser
