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

namespace anser {

// The candidates of a row. Keeps its memory from row to row.
class CandidateFinder {
 public:
  // So many that a nucleus of this mass, less than 1, lies within them. Valid until the next call.
  Candidates find(std::span<const float> logits, const CandidateQuery& query, double nucleus);

 private:
  std::vector<float> logits_, weights_;  // [V], changed; exp((logit - max) / temperature)
  std::vector<Candidates::Entry> above_;
};

class HostSampling {
 public:
  // As Engine::sample has it.
  void sample(std::span<Draw> draws, ThreadPool& pool);

 private:
  std::vector<CandidateFinder> finders_;    // one a thread
  std::vector<const Sampler*> samplers_;    // of the draws, sorted
  std::vector<std::exception_ptr> errors_;  // of each draw
};

}  // namespace anser
