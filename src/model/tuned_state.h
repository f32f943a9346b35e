// Tuned initial states: what training has put in place of the zeros that a context begins with, in
// a file of their own or inside a model's.
//
//   blocks.N.att.time_state [H][N][N]   S of every head, row = value index, column = key index: as
//                                       the trainers write it, and as a State holds it
//   blocks.N.att.ts_state [D]           att_shift (of "full" state tuning; else zeros)
//
// Files that were converted for web-rwkv and ai00, which are safetensors, have the rows and columns
// of time_state exchanged: key index first.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "anser/model.h"
#include "formats/tensor_file.h"
#include "model/checkpoint.h"

namespace anser {

bool has_tuned_state(const TensorFile& file);

// The first tensor of a file that holds no model and is no part of a tuned state; null when there
// is none.
const FileTensor* find_beside_tuned_state(const TensorFile& file);

// From a file of tuned states, or one that holds a model, too. `to`: zeros of the model's shape.
// Throws Error when the file has not all layers' time_state, or a tensor is not as above.
void load_tuned_state(const TensorFile& file, const Hyperparameters& h, State& to);

// What a model's own file holds of them, which may be nothing.
void load_tuned_state_of_model(const TensorFile& file, const Checkpoint& checkpoint,
                               const Hyperparameters& h, State& to);

// The same tensors of Model::initial_state, for a file that is to be written; none when it is zero.
void visit_tuned_state(const Model& model,
                       const std::function<void(const std::string& name, std::vector<int64_t> shape,
                                                std::vector<float> values)>& visit);

}  // namespace anser
