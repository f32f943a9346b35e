// The dialects of RWKV-7 files, brought to the names and shapes of the original checkpoints.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/description.h"
#include "checkpoint/tensor_names.h"
#include "formats/tensor_file.h"

namespace anser {

struct Checkpoint {
  // By original name ("blocks.3.att.w1"). FileTensor::name stays the file's own, for messages.
  std::map<std::string, FileTensor> tensors;
  // How low-rank matrices are stored: [outputs][inputs], or as in the original files
  // [inputs][outputs].
  bool low_rank_out_in = false;

  // Tensors that are not part of an RWKV-7, by the file's name.
  std::vector<std::string> unknown;

  Description says;

  // One tensor is both, as tie_word_embeddings has it.
  bool head_is_embedding() const;

  bool gguf = false;
  TensorNames names;  // of other files than GGUF's
  // An original name as the file would spell it: for messages about a tensor that it does not have.
  std::string name_in_file(std::string_view original) const;
};

// Throws Error when the file is no RWKV-7, naming what it is where that can be told.
Checkpoint read_checkpoint(const TensorFile& file);

// The original name of a tensor that goes by the name of any dialect, behind any wrapper's prefix.
// A name that no dialect has is given back without the prefix.
std::string original_name(std::string_view name);

// In identify.cpp: throws an Error of one sentence when the file holds a model that is known not to
// be a plain RWKV-7 (RWKV-4, 5, 6, 7a, 7b, ARWKV, a transformer).
void refuse_other_models(const TensorFile& file);

// In identify.cpp: whether a file has a tensor of RWKV-7 alone, in all its spellings.
bool has_r_k(const TensorFile& file);

// In identify.cpp: what a file holds in which no RWKV-7 model was found: "a tuned state (24 tensors
// blocks.*.att.time_state)", "3 tensors: a, b, c".
std::string describe_contents(const TensorFile& file);

}  // namespace anser
