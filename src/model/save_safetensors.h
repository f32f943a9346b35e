// A model as a safetensors file under the original names and in the original orientation.
#pragma once

#include <string>

#include "model/save_tensors.h"

namespace anser {

// `options.type` is F32, F16 or BF16. Vectors get it where it holds them exactly, else F32: they
// are small, and what a model is recognised by. A `time_state` is written too, and what Model::kind
// and Model::sampling say, as text.
void save_safetensors(const Model& model, const std::string& path, const SaveOptions& options);

// The vocabulary in the grammar of Tokenizer::from_vocabulary, for which safetensors has no place.
std::string vocabulary_text(const Tokenizer& tokenizer);

}  // namespace anser
