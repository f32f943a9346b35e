// Weights as the CPU's kernels read them.
#pragma once

#include <list>

#include "base/aligned_buffer.h"
#include "model/weights.h"

namespace anser {

// The model's weights with every matrix stored as [outputs][inputs]. Matrices that are stored the
// other way round (the low-rank ones of the original formats, a few percent of a model) are copied
// into `copies`; all others stay in the mapped file.
struct CpuWeights {
  CpuWeights(const Weights& weights, const Hyperparameters& h);

  Weights weights;
  std::list<AlignedBuffer<std::byte>> copies;
};

}  // namespace anser
