#include "engine/host_sampling.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <exception>
#include <limits>
#include <optional>
#include <utility>

#include "anser/error.h"

namespace anser {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kLanes = 16;   // independent ones, so that the compiler can use vectors
constexpr size_t kBlock = 256;  // weights that are added in single precision

// e^x for -87 <= x <= 0; Cephes' polynomial. Relative error below 3e-7.
inline float exp_of(float x) {
  constexpr float kLog2E = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  const float shifted = x * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = x - n * kLn2High - n * kLn2Low;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t power = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound) + 127;
  return p * std::bit_cast<float>(power << 23);
}

// The rounding of the argument, up to 87 large, of exp_of() and of the sums of a block.
constexpr double kRestError = 5e-5;
// work(i, lane) for all.
template <class Work>
void in_lanes(size_t count, Work&& work) {
  const size_t whole = count / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    for (size_t k = 0; k < kLanes; ++k) work(i + k, k);
  }
  for (size_t i = whole; i < count; ++i) work(i, i - whole);
}

double sum_of(const float* x, size_t count) {
  double sum = 0;
  for (size_t begin = 0; begin < count; begin += kBlock) {
    float lanes[kLanes] = {};
    in_lanes(std::min(kBlock, count - begin),
             [&](size_t i, size_t k) { lanes[k] += x[begin + i]; });
    for (const float lane : lanes) sum += lane;
  }
  return sum;
}

}  // namespace

Candidates CandidateFinder::find(std::span<const float> logits, const CandidateQuery& query,
                                 double nucleus) {
  const size_t vocab = logits.size();
  logits_.assign(logits.begin(), logits.end());
  for (const LogitChange& change : query.changes) {
    float& logit = logits_[size_t(change.id)];
    if (logit < kInfinity) logit -= change.minus;
  }
  float largest[kLanes];
  int bad[kLanes] = {};
  std::fill_n(largest, kLanes, -kInfinity);
  in_lanes(vocab, [&bad, &largest, x = logits_.data()](size_t i, size_t k) {
    bad[k] |= !(x[i] < kInfinity);
    largest[k] = largest[k] > x[i] ? largest[k] : x[i];
  });
  Candidates found;
  found.vocab = vocab;
  found.well_formed = std::find(bad, bad + kLanes, 1) == bad + kLanes;
  found.max = *std::max_element(largest, largest + kLanes);
  if (!found.well_formed || found.max == -kInfinity) return found;
  found.best = Token(std::find(logits_.begin(), logits_.end(), found.max) - logits_.begin());
  if (query.most == 0) return found;

  weights_.resize(vocab);
  const float inverse = float(1 / query.temperature), max = found.max;
  const float* const x = logits_.data();
  float* const weight = weights_.data();
  // Two loops, for one that chooses and computes is not made into vectors.
  for (size_t i = 0; i < vocab; ++i) {
    const float exponent = (x[i] - max) * inverse;
    weight[i] = exponent > -87.0f ? exponent : -87.0f;
  }
  for (size_t i = 0; i < vocab; ++i) weight[i] = exp_of(weight[i]);
  // As in Sampler::floor_of(), a little lower for the rounding.
  const double total = sum_of(weight, vocab) * (1 - kRestError);
  const double least = 0.99 * (1 - nucleus) * total / double(vocab);
  const float floor = float(double(max) + query.temperature * std::log(least));
  for (size_t i = 0; i < vocab; ++i) weight[i] = x[i] < floor ? weight[i] : 0.0f;
  // Without a branch that nobody could foretell.
  above_.resize(vocab);
  size_t count = 0;
  for (size_t i = 0; i < vocab; ++i) {
    above_[count] = {Token(i), x[i]};
    count += x[i] < floor ? 0 : 1;
  }
  found.above = std::span(above_).first(count);
  found.rest = sum_of(weights_.data(), vocab);
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
    const double nucleus = options.top_p < 1 ? options.top_p : 0.95;
    const Candidates found = finder.find(logits, sampler.query(logits.size()), nucleus);
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
  finders_.resize(size_t(pool.size()));
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
