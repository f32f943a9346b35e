// Adapters (LoRA, DoRA, PiSSA, MiSS, Bone): what is in their files, brought to the names of the
// original checkpoints and held against the base. merge_adapters.h puts it into the weights.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "anser/model.h"
#include "formats/tensor_file.h"
#include "model/checkpoint.h"

namespace anser {

// What an adapter does to a matrix W [out][in]. The tensors belong to the OpenedAdapter.
struct MatrixChange {
  enum class Form {
    none,             // nothing is known yet
    low_rank,         // W += scale B A, with A [r][in] and B [out][r]
    shards,           // W[o][k] += scale D[k mod r][o], with D [r][out]
    repeated_shards,  // the same with o mod the columns of D
    package,          // D [out][r]
    column_blocks,    // W_ab += scale (W_ab D_b + D_b), W_ab of [r][r], with D [in / r][r][r]
    row_blocks,       // W_ab += scale (W_ab D_a + D_a), with D [out / r][r][r]
  };
  Form form = Form::none;
  std::string module;  // as the file names it
  double scale = 1;
  bool embedding = false;         // low_rank: W is [in][out] of this A and B
  const FileTensor* a = nullptr;  // or D
  const FileTensor* b = nullptr;
  // PiSSA: W += scale (B A - initial B initial A).
  const FileTensor* init_a = nullptr;
  const FileTensor* init_b = nullptr;
  // Its file does not tell it from one of PiSSA.
  bool may_be_pissa = false;
  // DoRA: then every row of W gets this length.
  const FileTensor* magnitude = nullptr;
};

struct OpenedAdapter {
  std::string path;
  TensorFile file, init;                        // keep the bytes mapped
  std::map<std::string, MatrixChange> changes;  // by original name
  // Tensors that take the place of the base's, in its orientation, by original name.
  std::map<std::string, FileTensor> whole;
  // Initial states of all layers.
  bool has_states = false;
  std::string text;  // "LoRA of rank 8, alpha 16": for people
};

// Throws Error when a tensor of a file is not understood, has no counterpart in the base or does
// not fit it. `base` is the checkpoint that they will be merged into. `notes` get what a user
// should know.
//
// Whole tensors are put into `base` at once.
std::vector<OpenedAdapter> open_adapters(std::span<const Adapter> adapters, Checkpoint& base,
                                         const std::string& base_path,
                                         std::vector<std::string>& notes);

// Throws the Error of an adapter that was given as a model, or of a model that has one inside.
void refuse_adapter(const TensorFile& file);

}  // namespace anser
