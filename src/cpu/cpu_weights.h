// Weights as the CPU's kernels read them.
#pragma once

#include <cstddef>

#include "base/aligned_buffer.h"
#include "base/huge_block.h"
#include "base/thread_pool.h"
#include "model/weights.h"

namespace anser {

// The model's weights with every matrix but the embedding packed (cpu/packed.h): `data` of such a
// Matrix points to its packed bytes, all in one block of huge pages. The embedding, of which a step
// reads a line for each row, stays in the mapped file.
//
// Packing runs at the speed of memory on all threads of the pool, each packing what it will later
// compute. Pages of the file are
// given back as they are packed, so that memory never holds the weights twice.
struct CpuWeights {
  CpuWeights(const Weights& weights, const Hyperparameters& h, ThreadPool& pool);

  Weights weights;
  HugeBlock packed;
  AlignedBuffer<std::byte> emb;  // of files that store the embedding transposed
};

}  // namespace anser
