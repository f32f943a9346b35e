// A model as a GGUF file of architecture rwkv7, which llama.cpp loads too.
#pragma once

#include <string>

#include "model/save_tensors.h"

namespace anser {

// Any type of can_quantize_to; matrix_type says which tensor gets it. The tokenizer goes into the
// file where the model has one, and what Model::kind and Model::sampling say. From a GGUF file its
// general.* texts and end-of-turn token are taken over; what tells the chat form is from any.
//
// A `time_state` is left out: llama.cpp refuses files with tensors that it does not expect.
void save_gguf(const Model& model, const std::string& path, const SaveOptions& options);

// The tokenizer of the published World models, whose conversations have fixed tokens.
bool is_world(const Tokenizer& tokenizer);

}  // namespace anser
