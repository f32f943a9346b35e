// Random weights of the released sizes, made in memory: for measuring, not for reading.
#pragma once

#include "anser/model.h"
#include "formats/tensor_file.h"

namespace anser {

// Under the original names. The same numbers whatever machine and number of cores. Throws Error
// for a size or type that there is not.
TensorFile random_weights(const RandomWeights& options);

}  // namespace anser
