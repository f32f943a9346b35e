// Draws from a whole row of weights: from distributions so flat that the nucleus is thousands of
// tokens. The token is the one that Sampler::distribution() and Sampler::draw() lead to, found in a
// few passes over the weights that compilers make vectors of; where the two may differ in rounding
// there is no token.
#include <algorithm>
#include <cmath>
#include <optional>

#include "anser/sampling.h"
#include "base/exp_below_0.h"
#include "engine/ranking.h"

namespace anser {

namespace {

constexpr size_t kPiece = 512;  // weights that have a sum of their own

// Of the weights of `least` and more.
double mass_from(std::span<const double> weights, double least) {
  constexpr size_t kLanes = 8;
  double lanes[kLanes] = {};
  const size_t whole = weights.size() / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    for (size_t k = 0; k < kLanes; ++k) {
      lanes[k] += weights[i + k] >= least ? weights[i + k] : 0.0;
    }
  }
  for (size_t i = whole; i < weights.size(); ++i) {
    lanes[0] += weights[i] >= least ? weights[i] : 0.0;
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

}  // namespace

// The last token of top-p, if that can be told.
std::optional<Candidate> Sampler::nucleus_end_of(const WeighedRow& row, double doubt) {
  const double mass = options_.top_p * row.total, vocab = double(row.weights.size());
  // As in floor_of(): from `low` up there is enough, from `high` up there is not.
  double low = (1.0 - options_.top_p) * row.total / vocab * 0.999, high = 1.001;
  double mass_low = mass_from(row.weights, low), mass_high = 0;
  if (mass_low < mass) return std::nullopt;
  for (int pass = 0; pass < 20 && mass_low - mass_high > row.total / 64; ++pass) {
    // Where it would be if the mass were a line over the logits between the two, or somewhat
    // inside.
    const double part = (mass_low - mass) / (mass_low - mass_high);
    const double middle = low * std::pow(high / low, std::clamp(part, 0.1, 0.9));
    const double mass_middle = mass_from(row.weights, middle);
    (mass_middle >= mass ? low : high) = middle;
    (mass_middle >= mass ? mass_low : mass_high) = mass_middle;
  }
  // Without a branch that nobody could foretell.
  ids_.resize(row.weights.size());
  size_t count = 0;
  for (size_t id = 0; id < row.weights.size(); ++id) {
    ids_[count] = Token(id);
    count += size_t(row.weights[id] >= low) & size_t(row.weights[id] < high);
  }
  if (count == 0) return std::nullopt;
  ranked_.clear();
  for (const Token id : std::span(ids_).first(count)) {
    ranked_.push_back({id, row.logits[size_t(id)], row.weights[size_t(id)]});
  }
  const Candidate end = nucleus_end(ranked_, mass - mass_high);
  double reached = mass_high;  // with the end itself
  for (const Candidate& c : ranked_) reached += more_probable(end, c) ? 0.0 : c.p;
  if (std::abs(reached - mass) <= doubt || std::abs(reached - end.p - mass) <= doubt) {
    return std::nullopt;
  }
  return end;
}

std::optional<Token> Sampler::sample(const WeighedRow& row) {
  if (matcher_ || greedy() || options_.top_k > 0) return std::nullopt;
  const std::span<double> weights = row.weights;
  const double rounding = double(weights.size()) * 0x1p-51;  // more than that of any sum, relative
  double least = options_.min_p;  // so much do those weigh at the least that are kept
  if (options_.top_p < 1) {
    const std::optional<Candidate> end = nucleus_end_of(row, row.total * rounding);
    if (!end) return std::nullopt;
    least = std::max(least, end->p);
    if (options_.order != SamplingOptions::Order::blinkdl) {
      for (const Candidate& c : ranked_) {
        if (more_probable(*end, c)) weights[size_t(c.id)] = 0;  // ties with the end that come later
      }
    }
  }
  if (options_.temperature != cut_temperature()) {
    for (size_t id = 0; id < weights.size(); ++id) {
      const double logit = double(row.logits[id]) - row.max;
      const double weight = exp_below_0(logit * (1.0 / options_.temperature));
      weights[id] = weights[id] >= least ? weight : 0.0;
    }
    least = 0;
  }

  sums_.clear();
  double total = 0;
  for (size_t at = 0; at < weights.size(); at += kPiece) {
    const size_t size = std::min(kPiece, weights.size() - at);
    sums_.push_back(mass_from(weights.subspan(at, size), least));
    total += sums_.back();
  }
  const std::array<uint64_t, 4> before = random_;
  const double target = uniform() * total, doubt = total * rounding;
  double sum = 0;
  size_t piece = 0;
  while (piece + 1 < sums_.size() && sum + sums_[piece] <= target) sum += sums_[piece++];
  const size_t begin = piece * kPiece, end = std::min(begin + kPiece, weights.size());
  for (size_t id = begin; id < end; ++id) {
    const double weight = weights[id];
    if (weight == 0 || weight < least) continue;
    sum += weight;
    if (sum <= target) continue;
    if (sum - target <= doubt || target - (sum - weight) <= doubt) break;
    return Token(id);
  }
  random_ = before;
  return std::nullopt;
}

}  // namespace anser
