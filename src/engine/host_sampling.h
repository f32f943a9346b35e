// Drawing tokens from logits that lie on the host, for many sequences at once, on all of an
// engine's threads. The tokens are those that Sampler::sample() finds in all logits.
//
// Most of the time of a draw is the exponentials of a whole vocabulary in double precision. Here
// they are taken in single precision, many at a time, and only to find out which tokens count and
// what the others weigh together; the sampler does the rest, or says that this does not suffice.
// Then it gets them in double precision, from kernels of the machine's instruction set, too.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "anser/engine.h"
#include "base/thread_pool.h"
#include "cpu/dispatch.h"

namespace anser {

// Draws from rows, one after the other, and keeps its memory in between.
class RowSampling {
 public:
  explicit RowSampling(const Kernels& kernels) : kernels_(kernels) {}

  // What sampler.sample(logits) draws.
  Token draw(std::span<const float> logits, Sampler& sampler);

  // So many that a nucleus of top_p, or of 0.95 where that is off, lies within them; no more than
  // that takes where no other cut needs them. Candidates::best is there where no others are wanted.
  // Valid until the next call. None where they are so many that draw_from_all() is faster.
  std::optional<Candidates> find(std::span<const float> logits, Sampler& sampler);

  // By Sampler::sample(WeighedRow), where that can tell.
  std::optional<Token> draw_from_all(std::span<const float> logits, Sampler& sampler);

 private:
  std::span<const float> changed(std::span<const float> logits, const CandidateQuery& query);

  const Kernels& kernels_;
  std::vector<float> logits_;   // [V], changed
  std::vector<float> weights_;  // [V]
  std::vector<Token> ids_;      // [V], of which the first are used
  std::vector<Candidates::Entry> above_;
  std::vector<double> exact_weights_;  // [V]
};

class HostSampling {
 public:
  explicit HostSampling(const Kernels& kernels = choose_kernels()) : kernels_(kernels) {}

  // As Engine::sample has it.
  void sample(std::span<Draw> draws, ThreadPool& pool);

 private:
  const Kernels& kernels_;
  std::vector<RowSampling> rows_;         // one a thread
  std::vector<const Sampler*> samplers_;  // of the draws, sorted
};

}  // namespace anser
