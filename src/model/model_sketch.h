// What tells a model from others that have its sizes and norms: fine-tunes of the same base.
//
// A state must be accepted by every file of its model, whatever the type of the weights, and by no
// other model. What all files of a model have in common is the order of neighbouring weights: every
// type stores a weight as the nearest of the values that its block can have, so that of two weights
// in one block the larger may become equal to the smaller, and never the smaller one. That holds
// for fp16 and bf16, for all quantisations of GGUF that anser reads, whoever made them and with
// which importance matrix, for repeated quantisation, and for what is brought back to fp16 after
// it. Blocks, and the groups within them that have a scale of their own, are whole multiples of 16
// weights, so groups of 16 are compared.
//
// Changed weights change their order, however small the change: only more groups must be looked at.
// With noise of a share e of the weights' size, as a merged LoRA is, the share of groups with an
// exchanged pair is about (tools/measure_sketch.py)
//
//             both F16   F16, Q8_0   F16, Q4   Q8_0, Q4   both Q4
//   e = 1 %   3e-1       2e-1        1e-2      5e-3       1.5e-3
//   e = 2 %   5e-1       4e-1        5e-2      3e-2       1e-2
//   e = 5 %   9e-1       8e-1        3e-1      2e-1       8e-2
//
// A sum of weights times random signs would not do: its rounding error grows as the change does,
// and Q4's 8 % hide a change of 5 % whatever the number of sums.
//
// Some 8000 groups of all matrices and vectors are 64 KB. A few rows of each matrix are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "anser/model.h"
#include "model/weights.h"

namespace anser {

class ModelSketch {
 public:
  // A group of up to 16 weights: 4 bits for each, the first in the lowest, how many others of the
  // group are smaller. Weights that are not there count as equal to the first.
  using Group = uint64_t;

  // What a state file holds.
  explicit ModelSketch(std::vector<Group> groups) : groups_(std::move(groups)) {}
  // Looks at the weights when groups() is first called, by then at the latest they must be there.
  ModelSketch(const Weights& weights, const Hyperparameters& h) : weights_(&weights), h_(&h) {}

  // May be called from several threads.
  const std::vector<Group>& groups() const;

  // In how many groups two weights have changed places; all, where the number of groups differs. 0:
  // as far as can be told it is the same model.
  size_t changes(const ModelSketch& other) const;

 private:
  mutable std::once_flag once_;
  mutable std::vector<Group> groups_;
  const Weights* weights_ = nullptr;
  const Hyperparameters* h_ = nullptr;
};

}  // namespace anser
