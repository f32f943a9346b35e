// Drawing tokens from logits that lie on the host, for many sequences at once, on all of an
// engine's threads. The tokens are those that Sampler::sample() finds in all logits.
//
// Most of the time of a draw is the exponentials of a whole vocabulary in double precision. Here
// they are taken in single precision, many at a time, and only to find out which tokens count and
// what the others weigh together; the sampler does the rest, or says that this does not suffice.
#pragma once

#include <exception>
#include <span>
#include <vector>

#include "anser/engine.h"
#include "base/thread_pool.h"
#include "cpu/dispatch.h"

namespace anser {

// The candidates of a row. Keeps its memory from row to row.
class CandidateFinder {
 public:
  explicit CandidateFinder(const Kernels& kernels) : kernels_(kernels) {}

  // So many that a nucleus of this mass, less than 1, lies within them; no more than that takes if
  // it is `alone`, and no other cut needs them. Candidates::best is there where no others are
  // wanted. Valid until the next call.
  Candidates find(std::span<const float> logits, const CandidateQuery& query, double nucleus,
                  bool alone);

 private:
  const Kernels& kernels_;
  std::vector<float> logits_;   // [V], changed
  std::vector<float> weights_;  // [V]
  std::vector<Token> ids_;      // [V], of which the first are used
  std::vector<Candidates::Entry> above_;
};

class HostSampling {
 public:
  explicit HostSampling(const Kernels& kernels = choose_kernels()) : kernels_(kernels) {}

  // As Engine::sample has it.
  void sample(std::span<Draw> draws, ThreadPool& pool);

 private:
  const Kernels& kernels_;
  std::vector<CandidateFinder> finders_;    // one a thread
  std::vector<const Sampler*> samplers_;    // of the draws, sorted
  std::vector<std::exception_ptr> errors_;  // of each draw
};

}  // namespace anser
