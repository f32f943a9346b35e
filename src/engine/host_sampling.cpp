#include "engine/host_sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "anser/error.h"

namespace anser {

namespace {

// Of Kernels::weigh(), relative: the rounding of the argument, up to 87 large, and of exp.
constexpr double kWeightError = 5e-5;
// And of its sums, in which a weight is part of 21 at the most
// (tests/cpu/sampling_kernels_test.cpp).
constexpr double kSumError = 21 * 0x1p-24;

// A nucleus of thousands of tokens is flat, and its end in doubt for all that single precision
// tells.
constexpr size_t kMost = 4096;

// As Sampler::sample(WeighedRow) does.
bool draws_from_all(const SamplingOptions& options) {
  return options.temperature > 0 && options.top_k == 0;
}

}  // namespace

std::span<const float> RowSampling::changed(std::span<const float> logits,
                                            const CandidateQuery& query) {
  if (query.changes.empty()) return logits;
  logits_.assign(logits.begin(), logits.end());
  for (const LogitChange& change : query.changes) {
    float& logit = logits_[size_t(change.id)];
    if (logit < std::numeric_limits<float>::infinity()) logit -= change.minus;
  }
  return logits_;
}

std::optional<Candidates> RowSampling::find(std::span<const float> logits, Sampler& sampler) {
  const SamplingOptions& options = sampler.options();
  const CandidateQuery query = sampler.query(logits.size());
  const size_t vocab = logits.size();
  logits = changed(logits, query);
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
  const bool top_p = options.top_p < 1;
  const double nucleus = top_p ? options.top_p : 0.95;  // of what min-p or top-k will end within
  // None weighs more than 1, so that the nucleus has as many tokens at the least.
  const double fewest = nucleus * total;
  if (draws_from_all(options) && fewest > std::max(256.0, double(vocab) / 64)) return std::nullopt;

  // Those that weigh more than the others could if there were so many of them.
  std::span<const Token> ids;
  double mass = 0;  // of those
  const auto list = [&](double others) {
    const double least = 0.99 * (1 - nucleus) * total / others;
    const float floor = float(double(found.max) + query.temperature * std::log(least));
    ids = std::span(ids_).first(size_t(kernels_.list_above(x, int64_t(vocab), floor, ids_.data())));
    mass = 0;
    for (const Token id : ids) mass += double(weights_[size_t(id)]);
  };
  // A few dozen mostly are the nucleus, and that can be seen, if no other cut comes before; a few
  // hundred nearly always. As many as the vocabulary has always contain it, as in
  // Sampler::floor_of().
  constexpr double kMargin = 1e-3;
  const bool alone =
      top_p && (options.order == SamplingOptions::Order::blinkdl || options.top_k == 0);
  bool contained = false;
  for (const double others : {64.0, 512.0}) {
    if (!alone || contained) break;
    list(others);
    contained = mass >= (nucleus + kMargin) * total;
  }
  if (!contained) list(double(vocab));
  if (ids.size() > kMost) return std::nullopt;
  if (draws_from_all(options) && ids.size() > vocab / 8) return std::nullopt;
  above_.clear();
  for (const Token id : ids) above_.push_back({id, x[id]});
  found.above = above_;
  found.rest = std::max(total - mass, kSumError * total);
  found.rest_error = kWeightError + kSumError * total / found.rest;
  return found;
}

std::optional<Token> RowSampling::draw_from_all(std::span<const float> logits, Sampler& sampler) {
  const CandidateQuery query = sampler.query(logits.size());
  if (query.most == 0) return std::nullopt;  // not a draw, or one with a constraint
  logits = changed(logits, query);
  const int64_t vocab = int64_t(logits.size());
  const Largest largest = kernels_.largest(logits.data(), vocab);
  if (!largest.well_formed || std::isinf(largest.value)) return std::nullopt;
  exact_weights_.resize(logits.size());
  const double total = kernels_.weigh_exactly(logits.data(), vocab, largest.value,
                                              1 / query.temperature, exact_weights_.data());
  return sampler.sample(WeighedRow{logits, largest.value, exact_weights_, total});
}

Token RowSampling::draw(std::span<const float> logits, Sampler& sampler) {
  const SamplingOptions& options = sampler.options();
  // Where nothing cuts, all logits are needed.
  if (options.top_p < 1 || options.top_k > 0 || options.min_p > 0) {
    const std::optional<Candidates> found = find(logits, sampler);
    const std::optional<Token> token = found ? sampler.sample(*found) : std::nullopt;
    if (token) return *token;
  }
  if (draws_from_all(options)) {
    if (const auto token = draw_from_all(logits, sampler)) return *token;
  }
  return sampler.sample(logits);
}

void HostSampling::sample(std::span<Draw> draws, ThreadPool& pool) {
  for (const Draw& draw : draws) {
    if (!draw.state->has_logits()) {
      throw Error("the state has no logits to sample from; feed it a token");
    }
  }
  while (rows_.size() < size_t(pool.size())) rows_.emplace_back(kernels_);
  samplers_.clear();
  for (const Draw& draw : draws) samplers_.push_back(draw.sampler);
  std::ranges::sort(samplers_);
  // What one sampler draws depends on what it has drawn before.
  const bool one_by_one =
      draws.size() < 2 || std::ranges::adjacent_find(samplers_) != samplers_.end();
  if (one_by_one) {
    for (Draw& draw : draws) draw.token = rows_[0].draw(draw.state->logits(), *draw.sampler);
    return;
  }
  pool.for_each(draws.size(), [&](size_t i, int worker) {
    Draw& draw = draws[i];
    draw.token = rows_[size_t(worker)].draw(draw.state->logits(), *draw.sampler);
  });
}

}  // namespace anser
