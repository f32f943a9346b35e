// A path that a user gave for a model -> its tensors and all that is said of them.
#pragma once

#include <string>

#include "formats/tensor_file.h"

namespace anser {

// As open_tensor_file(), and: a shard opens the whole model, and a file whose tensors have names of
// Hugging Face is read with the config.json beside it, as its folder is. Beside a file of original
// names, a config.json is another model's.
TensorFile open_checkpoint(const std::string& path);

}  // namespace anser
