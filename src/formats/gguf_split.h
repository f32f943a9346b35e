// GGUF models in several files, as llama.cpp's gguf-split writes them: NAME-00001-of-00003.gguf and
// so on. The first part has the model's metadata and may have no tensors; every part says which it
// is.
#pragma once

#include <span>
#include <string>

#include "formats/tensor_file.h"

namespace anser {

// Whether the file is one part of several. Throws Error when what it says of that is nonsense.
bool is_split_gguf(const TensorFile& file);

// The whole model, from any part of it: part.path names that part, and the others lie beside it.
// Throws Error that names the parts that are missing, are not the part that their name says, or
// disagree with the first.
TensorFile join_split_gguf(TensorFile part);

// Whether all these file names are those of one split model's parts.
bool are_parts_of_one_gguf(std::span<const std::string> names);

}  // namespace anser
