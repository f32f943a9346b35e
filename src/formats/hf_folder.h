// A folder as Hugging Face models come: config.json, one file of tensors or shards with an index.
#pragma once

#include <string>

#include "formats/tensor_file.h"

namespace anser {

// The file of tensors is, in this order: the shards of model.safetensors.index.json or
// pytorch_model.bin.index.json; model.safetensors; pytorch_model.bin; the only model file there is.
// Several candidates are an error that lists them.
//
// With a config.json the format is hf_folder, and the config's entries join the metadata: scalars
// and lists of one kind as they are, objects as their JSON text; null is left out. Without one, and
// for a GGUF file, which describes itself, the format is that of the file.
TensorFile open_hf_folder(const std::string& folder);

}  // namespace anser
