#include "engine/host_sampling.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <optional>
#include <utility>

#include "anser/error.h"

namespace anser {

namespace {

// Of Kernels::weigh(), relative: the rounding of the argument, up to 87 large, of exp and of the
// sum.
constexpr double kRestError = 5e-5;

}  // namespace

Candidates CandidateFinder::find(std::span<const float> logits, const CandidateQuery& query,
                                 double nucleus, bool alone) {
  const size_t vocab = logits.size();
  if (!query.changes.empty()) {
    logits_.assign(logits.begin(), logits.end());
    for (const LogitChange& change : query.changes) {
      float& logit = logits_[size_t(change.id)];
      if (logit < std::numeric_limits<float>::infinity()) logit -= change.minus;
    }
    logits = logits_;
  }
  const float* const x = logits.data();
  const Largest largest = kernels_.largest(x, int64_t(vocab));
  Candidates found;
  found.vocab = vocab;
  found.well_formed = largest.well_formed;
  found.max = largest.value;
  if (!found.well_formed || std::isinf(found.max)) return found;
  if (query.most == 0) {
    found.best = Token(std::ranges::find(logits, found.max) - logits.begin());
    return found;
  }
  weights_.resize(vocab);
  ids_.resize(vocab);
  const float inverse = float(std::min(1 / query.temperature, 1e30));
  const double total = kernels_.weigh(x, int64_t(vocab), found.max, inverse, weights_.data());
  // Those that weigh more than the others could if there were so many of them.
  const auto part = [&](double others) {
    const double least = 0.99 * (1 - nucleus) * total / others;
    const float floor = float(double(found.max) + query.temperature * std::log(least));
    return kernels_.part(x, int64_t(vocab), floor, weights_.data(), ids_.data());
  };
  // A few dozen mostly are the nucleus, and that can be seen. As many as the vocabulary has always
  // contain it, as in Sampler::floor_of(); what was listed before is listed again.
  constexpr double kFewOthers = 64, kMargin = 1e-3;
  Parted parted = {};
  if (alone) parted = part(kFewOthers);
  if (!alone || total - parted.rest < (nucleus + kMargin) * total) parted = part(double(vocab));
  above_.clear();
  for (const Token id : std::span(ids_).first(size_t(parted.count))) {
    above_.push_back({id, x[id]});
  }
  found.above = above_;
  found.rest = parted.rest;
  found.rest_error = kRestError;
  return found;
}

namespace {

Token draw_one(const Draw& draw, CandidateFinder& finder) {
  const std::span<const float> logits = draw.state->logits();
  Sampler& sampler = *draw.sampler;
  const SamplingOptions& options = sampler.options();
  // Where nothing cuts, all logits are needed.
  if (options.top_p < 1 || options.top_k > 0 || options.min_p > 0) {
    const bool top_p = options.top_p < 1;
    const bool alone =
        top_p && (options.order == SamplingOptions::Order::blinkdl || options.top_k == 0);
    const Candidates found =
        finder.find(logits, sampler.query(logits.size()), top_p ? options.top_p : 0.95, alone);
    if (const auto token = sampler.sample(found)) return *token;
  }
  return sampler.sample(logits);
}

}  // namespace

void HostSampling::sample(std::span<Draw> draws, ThreadPool& pool) {
  for (const Draw& draw : draws) {
    if (!draw.state->has_logits()) {
      throw Error("the state has no logits to sample from; feed it a token");
    }
  }
  while (finders_.size() < size_t(pool.size())) finders_.emplace_back(kernels_);
  samplers_.clear();
  for (const Draw& draw : draws) samplers_.push_back(draw.sampler);
  std::ranges::sort(samplers_);
  // What one sampler draws depends on what it has drawn before.
  const bool one_by_one =
      draws.size() < 2 || std::ranges::adjacent_find(samplers_) != samplers_.end();
  if (one_by_one) {
    for (Draw& draw : draws) draw.token = draw_one(draw, finders_[0]);
    return;
  }
  errors_.assign(draws.size(), nullptr);
  pool.run([&](int worker) {
    const KeepDenormals keep;  // as on the caller's thread
    for (size_t i = size_t(worker); i < draws.size(); i += size_t(pool.size())) {
      try {
        draws[i].token = draw_one(draws[i], finders_[size_t(worker)]);
      } catch (...) {
        errors_[i] = std::current_exception();
      }
    }
  });
  for (const std::exception_ptr& error : errors_) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace anser
