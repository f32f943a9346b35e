// A folder as Hugging Face models come: config.json, one file of tensors or shards with an index.
#pragma once

#include <optional>
#include <string>

#include "formats/tensor_file.h"

namespace anser {

// The file of tensors is, in this order: model.safetensors; the shards of its index,
// model.safetensors.index.json; pytorch_model.bin; the shards of its index; the only model file
// there is, or all the parts of one. An index of shards that are not there is passed over if
// something comes after it. Several candidates are an error that lists them.
//
// With a config.json the format is hf_folder, and the config's entries join the metadata: scalars
// and lists of one kind as they are, objects as their JSON text; null is left out. Without one, and
// for a GGUF file, which describes itself, the format is that of the file.
TensorFile open_hf_folder(const std::string& folder);

// All shards of the model that the file `path` is one shard of, by the index beside it or by their
// names (model-00001-of-00004.safetensors); nothing if it is no shard, or the only one.
std::optional<TensorFile> open_hf_shards(const std::string& path);

// Whether a file is called model.safetensors or pytorch_model.bin, with a config.json beside it.
bool is_usual_hf_file(const std::string& path);

// Adds the entries of the config.json beside the file `path`, if there is one.
void add_config_beside(const std::string& path, TensorFile& file);

}  // namespace anser
