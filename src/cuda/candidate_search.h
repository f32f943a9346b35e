// Brings samplers the largest of rows of logits in device memory: one kernel for all rows, one
// upload before it and one download behind.
#pragma once

#include <span>
#include <vector>

#include "anser/sampling.h"
#include "cuda/kernels.h"
#include "cuda/runtime.h"

namespace anser {

class CandidateSearch {
 public:
  // Queues the search in logits[i] [vocab] for queries[i], and the download of what is found.
  void queue(cuda::Stream& stream, int vocab, std::span<const float* const> logits,
             std::span<const CandidateQuery> queries);
  // What the last queue() found, once its stream has been waited for. Valid until the next queue().
  std::span<const Candidates> found();

 private:
  // Memory of the device and its like on the host; grows.
  struct Pair {
    cuda::Buffer device;
    cuda::PinnedBuffer host;
    void reserve(size_t bytes);
  };
  Pair asked_;  // CandidateRow [rows], CandidateChange [..]
  Pair found_;  // FoundRow [rows], FoundCandidate [rows][stride_]
  int stride_ = 0, vocab_ = 0;
  std::vector<Candidates> results_;
};

}  // namespace anser
