#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "anser/error.h"
#include "anser/sampling.h"

namespace anser {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A total order, so that every cut is determined: the lower id wins a tie.
bool more_probable(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

// The last of the most probable candidates that together reach `mass`. By bisection: the order is
// found only as far as it is needed, which is linear in the number of candidates; a sort is not.
Candidate nucleus_end(std::vector<Candidate>& ranked, double mass) {
  auto low = ranked.begin(), high = ranked.end();
  while (high - low > 1) {
    const auto middle = low + (high - low) / 2;
    std::nth_element(low, middle, high, more_probable);
    double upper = 0.0;
    for (auto i = low; i != middle; ++i) upper += i->p;
    if (upper >= mass) {
      high = middle;
    } else {
      mass -= upper;
      low = middle;
    }
  }
  return *low;
}

uint64_t splitmix64(uint64_t& state) {
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

void SamplingOptions::check() const {
  // Written so that NaN fails too.
  const auto expect = [](bool good, const char* name, double value, const char* range) {
    if (!good) throw Error(fmt::format("{} is {}, it must be {}", name, value, range));
  };
  expect(temperature >= 0 && temperature < kInfinity, "temperature", temperature, "0 or more");
  expect(top_p >= 0 && top_p <= 1, "top-p", top_p, "between 0 and 1");
  expect(top_k >= 0, "top-k", top_k, "0 (off) or more");
  expect(min_p >= 0 && min_p < 1, "min-p", min_p, "0 (off) or more, and less than 1");
  expect(std::isfinite(presence), "the presence penalty", presence, "a finite number");
  expect(std::isfinite(frequency), "the frequency penalty", frequency, "a finite number");
  expect(penalty_decay >= 0 && penalty_decay <= 1, "penalty decay", penalty_decay,
         "between 0 and 1");
  for (const Token id : banned) expect(id >= 0, "a banned token", id, "0 or more");
}

SamplingOptions sampling_preset(const std::string& name) {
  SamplingOptions options;
  if (name == "chat") {
    options.temperature = 1.0f;
    options.top_p = 0.5f;
    options.presence = 2.0f;
    options.frequency = 0.1f;
    options.penalty_decay = 0.99f;
  } else if (name == "creative") {
    options.temperature = 0.6f;
    options.top_p = 0.7f;
    options.presence = 2.0f;
    options.frequency = 0.2f;
    options.penalty_decay = 0.99f;
  } else if (name == "greedy") {
    options.temperature = 0.0f;
  } else {
    throw Error(
        fmt::format("no sampling preset is called '{}'; there are chat, creative, greedy", name));
  }
  return options;
}

Sampler::Sampler(SamplingOptions options) : options_(std::move(options)) {
  options_.check();
  uint64_t seed = options_.seed;
  for (uint64_t& word : random_) word = splitmix64(seed);
}

// xoshiro256**: our own, because the standard's distributions differ between libraries.
double Sampler::uniform() {
  const uint64_t result = std::rotl(random_[1] * 5, 7) * 9;
  const uint64_t shifted = random_[1] << 17;
  random_[2] ^= random_[0];
  random_[3] ^= random_[1];
  random_[1] ^= random_[2];
  random_[0] ^= random_[3];
  random_[2] ^= shifted;
  random_[3] = std::rotl(random_[3], 45);
  return double(result >> 11) * 0x1p-53;
}

// Fills logits_ and max_; returns the largest's id, the lowest on a tie.
Token Sampler::prepare(std::span<const float> logits) {
  const auto check_id = [&](Token id, const char* what) {
    if (id >= 0 && size_t(id) < logits.size()) return;
    throw Error(fmt::format("{} {} is outside the vocabulary of {}", what, id, logits.size()));
  };
  logits_.assign(logits.begin(), logits.end());
  for (const Occurrence& occurrence : occurrences_) {
    check_id(occurrence.id, "a generated token,");
    logits_[size_t(occurrence.id)] -= options_.presence + options_.frequency * occurrence.count;
  }
  for (const Token id : options_.banned) {
    check_id(id, "a banned token,");
    // A NaN is not banned away: it means that the model is broken.
    float& logit = logits_[size_t(id)];
    if (logit < kInfinity) logit = -kInfinity;
  }

  // Independent lanes, so that the compiler can use vectors.
  constexpr size_t kLanes = 16;
  float largest[kLanes];
  int bad[kLanes] = {};
  std::fill_n(largest, kLanes, -kInfinity);
  const size_t whole = logits_.size() / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    for (size_t k = 0; k < kLanes; ++k) {
      const float logit = logits_[i + k];
      bad[k] |= !(logit < kInfinity);
      largest[k] = largest[k] > logit ? largest[k] : logit;
    }
  }
  for (size_t i = whole; i < logits_.size(); ++i) {
    bad[0] |= !(logits_[i] < kInfinity);
    largest[0] = std::max(largest[0], logits_[i]);
  }
  if (std::find(bad, bad + kLanes, 1) != bad + kLanes) {
    const auto found = std::find_if_not(logits_.begin(), logits_.end(),
                                        [](float logit) { return logit < kInfinity; });
    throw Error(fmt::format("cannot sample: the logit of token {} is {}, not a finite number",
                            found - logits_.begin(), *found));
  }
  max_ = *std::max_element(largest, largest + kLanes);
  if (max_ == -kInfinity) {
    throw Error(
        fmt::format("cannot sample: all {} tokens are banned or impossible", logits_.size()));
  }
  return Token(std::find(logits_.begin(), logits_.end(), max_) - logits_.begin());
}

// The sum of exp((logit - max) / temperature) over the vocabulary, at least 1.
double Sampler::total_weight(double temperature) const {
  double total = 0.0;
  for (const float logit : logits_) total += std::exp((double(logit) - max_) / temperature);
  return total;
}

// The tokens whose logit is not below `floor`, in the order of their ids.
void Sampler::gather(double floor) {
  candidates_.clear();
  for (size_t id = 0; id < logits_.size(); ++id) {
    const float logit = logits_[id];
    if (logit >= floor && logit > -kInfinity) candidates_.push_back({Token(id), logit, 0.0});
  }
}

void Sampler::keep_top_k() {
  const size_t k = size_t(options_.top_k);
  if (k == 0 || k >= candidates_.size()) return;
  ranked_ = candidates_;
  const auto last = ranked_.begin() + ptrdiff_t(k - 1);
  std::nth_element(ranked_.begin(), last, ranked_.end(), more_probable);
  std::erase_if(candidates_, [&](const Candidate& c) { return more_probable(*last, c); });
}

// top-p. `total` is the weight of all tokens that candidates_ stands for.
void Sampler::keep_nucleus(double total) {
  if (options_.top_p >= 1) return;
  ranked_ = candidates_;
  const Candidate end = nucleus_end(ranked_, options_.top_p * total);
  // BlinkDL's cutoff is a probability: what ties with it survives.
  const bool ties = options_.order == SamplingOptions::Order::blinkdl;
  std::erase_if(candidates_, [&](const Candidate& c) {
    return ties ? c.logit < end.logit : more_probable(end, c);
  });
}

std::span<const Candidate> Sampler::distribution(std::span<const float> logits) {
  const Token best = prepare(logits);
  if (options_.temperature == 0 || options_.top_p == 0) {
    candidates_.assign(1, {best, max_, 1.0});
    return candidates_;
  }
  const bool blinkdl = options_.order == SamplingOptions::Order::blinkdl;
  // The temperature at which the cuts are made, and whether top-k is the first of them.
  const double temperature = blinkdl ? 1.0 : options_.temperature;
  const bool top_k_first = !blinkdl && options_.top_k > 0;

  // Most of the vocabulary is dropped before anything is stored, by a weight under which neither
  // cut can leave a token. For top-p: V tokens, each lighter than (1 - p) / V of the total, weigh
  // less than 1 - p together, so the others reach p.
  // When top-k comes first, top-p is a share of what top-k leaves, which is not known yet.
  double total = 0.0;
  double least = options_.min_p;
  if (options_.top_p < 1) {
    if (top_k_first) {
      least = 0.0;
    } else {
      total = total_weight(temperature);
      least = std::max(least, (1.0 - options_.top_p) * total / double(logits_.size()));
    }
  }
  // A little lower, for the rounding of log and exp; the exact cuts follow.
  gather(double(max_) + temperature * (std::log(least) - 1e-6));

  if (top_k_first) keep_top_k();
  double gathered = 0.0;
  for (Candidate& c : candidates_) {
    c.p = std::exp((double(c.logit) - max_) / temperature);
    gathered += c.p;
  }
  keep_nucleus(top_k_first ? gathered : total);
  if (!top_k_first) keep_top_k();
  // The best token has weight 1.
  std::erase_if(candidates_, [&](const Candidate& c) { return c.p < options_.min_p; });

  if (blinkdl && options_.temperature != 1) {
    for (Candidate& c : candidates_) {
      c.p = std::exp((double(c.logit) - max_) / options_.temperature);
    }
  }
  double sum = 0.0;
  for (const Candidate& c : candidates_) sum += c.p;
  for (Candidate& c : candidates_) c.p /= sum;
  return candidates_;
}

Token Sampler::sample(std::span<const float> logits) {
  distribution(logits);
  if (options_.temperature == 0 || options_.top_p == 0) return candidates_[0].id;
  const double target = uniform();
  double sum = 0.0;
  Token chosen = candidates_[0].id;
  for (const Candidate& c : candidates_) {
    if (c.p == 0) continue;  // underflow at a very low temperature
    chosen = c.id;           // the last one, should the sum stay below the target by rounding
    sum += c.p;
    if (sum > target) break;
  }
  return chosen;
}

void Sampler::accept(Token token, std::string_view text) {
  if (token < 0) throw Error(fmt::format("token {} does not exist", token));
  for (Occurrence& occurrence : occurrences_) {
    occurrence.count *= options_.penalty_decay;
    // Far below what a logit can show; further down the numbers would become denormal, and slow.
    if (occurrence.count < 1e-20f) occurrence.count = 0.0f;
  }
  // BlinkDL's exemption, for numbers and indentation: what occurs in this string, the empty text
  // too. Such a token gets an entry, so the presence penalty still applies.
  const bool exempt = std::string_view(" \t0123456789").find(text) != std::string_view::npos;
  const float count = exempt ? 0.0f : 1.0f;
  const auto entry = std::find_if(occurrences_.begin(), occurrences_.end(),
                                  [&](const Occurrence& o) { return o.id == token; });
  if (entry != occurrences_.end()) {
    entry->count += count;
  } else {
    occurrences_.push_back({token, count});
  }
}

}  // namespace anser
