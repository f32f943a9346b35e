// The dialects of RWKV-7 files, brought to the names and shapes of the original checkpoints.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "formats/tensor_file.h"

namespace anser {

struct Checkpoint {
  // By original name ("blocks.3.att.w1"). FileTensor::name stays the file's own, for messages.
  std::map<std::string, FileTensor> tensors;
  // How low-rank matrices are stored: [outputs][inputs], or as in the original files
  // [inputs][outputs]. Also tells whether a `time_state` is stored transposed.
  bool low_rank_out_in = false;

  // What the file says besides its shapes; absent where it says nothing.
  std::optional<int64_t> layers, width, vocab, ffn, head_size;
  std::optional<double> norm_eps, group_norm_eps;
};

// Throws Error when the file is no RWKV-7, naming what it is where that can be told.
Checkpoint read_checkpoint(const TensorFile& file);

// The original name of a tensor that goes by the name of any dialect, behind any wrapper's prefix.
// A name that no dialect has is given back without the prefix.
std::string original_name(std::string_view name);

// Only the `time_state` tensors of a file, by original name; empty when there are none.
std::map<std::string, FileTensor> time_states(const TensorFile& file);

// In identify.cpp: throws an Error of one sentence when the file holds a model that is known not to
// be a plain RWKV-7 (RWKV-4, 5, 6, 7a, 7b, ARWKV, a transformer).
void refuse_other_models(const TensorFile& file);

}  // namespace anser
