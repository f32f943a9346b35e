// Which tokens of a row are left by top-k, top-p and min-p, and with what probabilities.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "anser/sampling.h"
#include "base/exp_below_0.h"
#include "engine/ranking.h"

namespace anser {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

// At which the cuts are made.
double Sampler::cut_temperature() const {
  return options_.order == SamplingOptions::Order::blinkdl ? 1.0 : options_.temperature;
}

// Of the cuts. Then top-p is a share of what it leaves.
bool Sampler::top_k_is_first() const {
  return options_.order == SamplingOptions::Order::hugging_face && options_.top_k > 0;
}

// Fills candidates_; returns the sum of their weights.
double Sampler::weigh(std::span<const Candidates::Entry> entries) {
  const double max = max_, inverse = 1 / cut_temperature();
  weights_.resize(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    weights_[i] = exp_below_0((double(entries[i].logit) - max) * inverse);
  }
  candidates_.resize(entries.size());
  double sum = 0.0;
  for (size_t i = 0; i < entries.size(); ++i) {
    candidates_[i] = {entries[i].id, entries[i].logit, weights_[i]};
    sum += weights_[i];
  }
  return sum;
}

// Fills weights_, the best token's with 1; returns their sum.
double Sampler::weigh_all() {
  const double max = max_, inverse = 1 / cut_temperature();
  weights_.resize(logits_.size());
  for (size_t id = 0; id < logits_.size(); ++id) {
    weights_[id] = exp_below_0((double(logits_[id]) - max) * inverse);
  }
  double lanes[8] = {};
  const size_t whole = weights_.size() / 8 * 8;
  for (size_t i = 0; i < whole; i += 8) {
    for (size_t k = 0; k < 8; ++k) lanes[k] += weights_[i + k];
  }
  for (size_t i = whole; i < weights_.size(); ++i) lanes[0] += weights_[i];
  return std::accumulate(lanes, lanes + 8, 0.0);
}

// Most of the vocabulary is dropped before anything is stored: the logit under which neither top-p
// nor min-p can leave a token. For top-p: V tokens, each lighter than (1 - p) / V of the total,
// weigh less than 1 - p together, so the others reach p. Where top-k comes first the total is not
// known yet, and nothing can be dropped for top-p.
double Sampler::floor_of(double total, size_t vocab) const {
  double least = options_.min_p;
  if (options_.top_p < 1) {
    least =
        top_k_is_first() ? 0.0 : std::max(least, (1.0 - options_.top_p) * total / double(vocab));
  }
  // A little lower, for the rounding of log and exp; the exact cuts follow.
  return double(max_) + cut_temperature() * (std::log(least) - 1e-6);
}

void Sampler::keep_top_k() {
  const size_t k = size_t(options_.top_k);
  if (k == 0 || k >= candidates_.size()) return;
  ranked_ = candidates_;
  const auto last = ranked_.begin() + ptrdiff_t(k - 1);
  std::nth_element(ranked_.begin(), last, ranked_.end(), more_probable);
  std::erase_if(candidates_, [&](const Candidate& c) { return more_probable(*last, c); });
}

// To candidates_ from the whole row, whose weights are known: what top-p leaves, and some more if
// `floor` is lower. A nucleus may be half of a large vocabulary, so nothing is sorted: the row is
// counted into ranges of logits, and only the range in which top-p ends is looked at closely.
void Sampler::gather_nucleus(double total, double floor) {
  constexpr size_t kRanges = 1024;
  constexpr float kBelow = kRanges;  // the range of what is below the floor
  // The last range ends a little below the floor, for the rounding.
  const float max = max_, scale = float(std::min(kRanges / (1.0001 * (max_ - floor)), 1e30));
  const size_t vocab = logits_.size();
  ranges_.resize(vocab);
  for (size_t id = 0; id < vocab; ++id) {
    const float range = (max - logits_[id]) * scale;
    ranges_[id] = int(range < kBelow ? range : kBelow);
  }
  double masses[kRanges + 1] = {};
  for (size_t id = 0; id < vocab; ++id) masses[ranges_[id]] += weights_[id];
  double mass = options_.top_p * total;
  int last = 0;
  while (last + 1 < int(kRanges) && masses[last] < mass) mass -= masses[last++];

  ranked_.clear();
  for (size_t id = 0; id < vocab; ++id) {
    if (ranges_[id] == last) ranked_.push_back({Token(id), logits_[id], weights_[id]});
  }
  if (ranked_.empty()) return gather(floor);
  const Candidate end = nucleus_end(ranked_, mass);
  gather(end.logit);
  drop_beyond(end);
}

// To candidates_: the row's tokens from this logit up. Without a branch that nobody could foretell.
void Sampler::gather(double floor) {
  ids_.resize(logits_.size());
  size_t count = 0;
  for (size_t id = 0; id < logits_.size(); ++id) {
    ids_[count] = Token(id);
    count += logits_[id] >= floor && logits_[id] > -kInfinity ? 1 : 0;
  }
  candidates_.resize(count);
  for (size_t i = 0; i < count; ++i) {
    const size_t id = size_t(ids_[i]);
    candidates_[i] = {ids_[i], logits_[id], weights_[id]};
  }
}

// Behind the end of top-p. BlinkDL's cutoff is a probability: what ties with it survives.
void Sampler::drop_beyond(const Candidate& end) {
  const bool ties = options_.order == SamplingOptions::Order::blinkdl;
  std::erase_if(candidates_, [&](const Candidate& c) {
    return ties ? c.logit < end.logit : more_probable(end, c);
  });
}

// top-p. `total` is the weight of all tokens that candidates_ stands for.
void Sampler::keep_nucleus(double total) {
  if (options_.top_p >= 1) return;
  ranked_ = candidates_;
  drop_beyond(nucleus_end(ranked_, options_.top_p * total));
}

// What comes after top-p, or before it where top-k is first.
void Sampler::keep_rest() {
  if (top_k_is_first()) {
    keep_top_k();
    double total = 0.0;
    for (const Candidate& c : candidates_) total += c.p;
    keep_nucleus(total);
  } else {
    keep_top_k();
  }
  if (options_.min_p > 0) {
    std::erase_if(candidates_, [&](const Candidate& c) { return c.p < options_.min_p; });
  }
}

// From weights to probabilities.
void Sampler::normalise() {
  if (options_.temperature != cut_temperature()) {
    for (Candidate& c : candidates_) {
      c.p = exp_below_0((double(c.logit) - max_) * (1.0 / options_.temperature));
    }
  }
  double sum = 0.0;
  for (const Candidate& c : candidates_) sum += c.p;
  for (Candidate& c : candidates_) c.p /= sum;
}

// top-p where candidates_ is all that was found, and other tokens are known in sum alone. False: it
// cannot be said what is kept, for it may reach beyond.
//
// Each cut keeps tokens from the most probable down, so that it is enough that one of them ends
// within the candidates, and that it is known where. Of top-p it is not known exactly, for the
// others' weight was summed in fp32: it must end at the same token for all totals that are
// possible. In this interval lies the sum over all logits, too, which double precision rounds at
// every term.
bool Sampler::keep_known_nucleus(const Candidates& found) {
  constexpr double kRounding = 1e-12;  // more than that of a few doubles, relative
  double sum = 0.0, lightest = 1.0;
  for (const Candidate& c : candidates_) {
    sum += c.p;
    lightest = std::min(lightest, c.p);
  }
  const size_t count = candidates_.size();
  const bool top_k_ends = options_.top_k > 0 && size_t(options_.top_k) <= count;
  const bool min_p_ends = count > 0 && lightest < options_.min_p * (1 - kRounding);
  if (options_.top_p >= 1) return top_k_ends || min_p_ends;
  if (top_k_is_first()) return top_k_ends;

  const double total = sum + found.rest;
  const double doubt = found.rest * found.rest_error + total * double(found.vocab) * 0x1p-51;
  const double low = options_.top_p * (total - doubt), high = options_.top_p * (total + doubt);
  if (sum < low) return top_k_ends || min_p_ends;  // top-p ends beyond
  if (!(sum > high)) return false;
  // What top-p does not reach: as in floor_of().
  const double least = (sum - high) / double(count) * (1 - kRounding);
  std::erase_if(candidates_, [&](const Candidate& c) { return c.p < least; });
  ranked_ = candidates_;
  const Candidate end = nucleus_end(ranked_, low);
  double reached = 0;  // with the end itself
  for (const Candidate& c : candidates_) reached += more_probable(end, c) ? 0.0 : c.p;
  if (reached * (1 - kRounding) < high) return false;
  drop_beyond(end);
  return true;
}

}  // namespace anser
