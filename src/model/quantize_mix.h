// Which tensor of a model gets which type.
#pragma once

#include <string>

#include "anser/model.h"
#include "base/dtype.h"

namespace anser {

// The type of a matrix in a GGUF file whose matrices are mostly of `type`. `name` is the original
// one, `cols` the elements of a row. Vectors are always F32 there.
DType matrix_type(const std::string& name, int cols, DType type);

// Throws Error when the rows of some matrix are no whole blocks of `type`.
void check_quantizable(const Hyperparameters& h, DType type, const std::string& path);

}  // namespace anser
