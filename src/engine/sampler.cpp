#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "anser/error.h"
#include "anser/sampling.h"
#include "base/splitmix64.h"

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
  for (const Bias& entry : biases) {
    expect(entry.id >= 0, "a biased token", entry.id, "0 or more");
    expect(std::abs(entry.bias) <= 100, "a token's bias", entry.bias, "between -100 and 100");
  }
}

SamplingOptions SamplingDefaults::over(SamplingOptions options) const {
  if (temperature) options.temperature = *temperature;
  if (top_p) options.top_p = *top_p;
  if (min_p) options.min_p = *min_p;
  if (top_k) options.top_k = *top_k;
  return options;
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
  list_fixed_changes();
  uint64_t seed = options_.seed;
  for (uint64_t& word : random_) word = splitmix64(seed);
}

void Sampler::constrain(std::shared_ptr<const Constraint> constraint, std::span<const Token> ends) {
  matcher_.emplace(std::move(constraint));
  ends_.clear();
  for (const Token end : ends) {
    if (matcher_->constraint().needs(end)) {
      throw Error(
          fmt::format("token {} cannot end a text that has a constraint: it is a character that "
                      "the constraint may need",
                      end));
    }
    const bool exists = end >= 0 && end < matcher_->constraint().vocab();
    if (exists && !is_banned(end)) ends_.push_back(end);
  }
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

void Sampler::list_fixed_changes() {
  for (const auto& [id, bias] : options_.biases) fixed_.push_back({id, -bias});
  for (const Token id : options_.banned) fixed_.push_back({id, kInfinity});
  std::ranges::stable_sort(fixed_, {}, &LogitChange::id);
  size_t kept = 0;
  for (size_t i = 0; i < fixed_.size(); ++i) {
    if (kept > 0 && fixed_[kept - 1].id == fixed_[i].id) {
      fixed_[kept - 1].minus += fixed_[i].minus;
    } else {
      fixed_[kept++] = fixed_[i];
    }
  }
  fixed_.resize(kept);
}

bool Sampler::is_banned(Token id) const {
  const auto found = std::ranges::lower_bound(fixed_, id, {}, &LogitChange::id);
  return found != fixed_.end() && found->id == id && found->minus == kInfinity;
}

// The penalties, and what is fixed.
void Sampler::list_changes(size_t vocab) {
  const auto check_id = [&](Token id, const char* what) {
    if (id >= 0 && size_t(id) < vocab) return;
    throw Error(fmt::format("{} {} is outside the vocabulary of {}", what, id, vocab));
  };
  // The last is the first to be outside.
  if (!occurrences_.empty()) check_id(occurrences_.back().id, "a generated token,");
  if (!fixed_.empty()) check_id(fixed_.back().id, "a banned or biased token,");
  changes_.clear();
  auto fixed = fixed_.begin();
  for (const Occurrence& occurrence : occurrences_) {
    while (fixed != fixed_.end() && fixed->id < occurrence.id) changes_.push_back(*fixed++);
    const float penalty = options_.presence + options_.frequency * occurrence.count;
    const bool both = fixed != fixed_.end() && fixed->id == occurrence.id;
    changes_.push_back({occurrence.id, both ? penalty + fixed++->minus : penalty});
  }
  changes_.insert(changes_.end(), fixed, fixed_.end());
}

// In logits_, with their changes. As with a ban, a NaN or infinity stays: the model is broken.
void Sampler::apply_constraint() {
  const std::span<const uint64_t> allowed = matcher_->allowed();
  if (size_t(matcher_->constraint().vocab()) != logits_.size()) {
    throw Error(fmt::format("the constraint was made for {} tokens, but there are {} logits",
                            matcher_->constraint().vocab(), logits_.size()));
  }
  std::vector<float> ends;  // an end that has text, too, is only an end
  for (const Token end : ends_) ends.push_back(logits_[size_t(end)]);
  for (size_t word = 0; word < allowed.size(); ++word) {
    if (allowed[word] == ~uint64_t{0}) continue;
    const size_t last = std::min(logits_.size(), (word + 1) * 64);
    for (size_t id = word * 64; id < last; ++id) {
      const bool may_come = (allowed[word] >> id % 64 & 1) != 0;
      if (!may_come && logits_[id] < kInfinity) logits_[id] = -kInfinity;
    }
  }
  for (size_t i = 0; i < ends_.size(); ++i) {
    float& logit = logits_[size_t(ends_[i])];
    if (matcher_->complete()) {
      logit = ends[i];
    } else if (logit < kInfinity) {
      logit = -kInfinity;
    }
  }
}

// Fills logits_ and max_.
void Sampler::change_logits(std::span<const float> logits, bool with_bans) {
  logits_.assign(logits.begin(), logits.end());
  for (const LogitChange& change : changes_) {
    if (change.minus == kInfinity && !with_bans) continue;
    // A NaN is not banned away: it means that the model is broken. Nor is infinity.
    float& logit = logits_[size_t(change.id)];
    if (logit < kInfinity) logit -= change.minus;
  }
  if (matcher_) apply_constraint();

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
}

// Fills logits_ and max_; returns the largest's id, the lowest on a tie.
Token Sampler::prepare(std::span<const float> logits) {
  list_changes(logits.size());
  change_logits(logits, true);
  // A grammar may leave nothing but what is banned. It must go on.
  if (matcher_ && max_ == -kInfinity) change_logits(logits, false);
  if (max_ == -kInfinity) {
    throw Error(
        fmt::format("cannot sample: all {} tokens are banned or impossible", logits_.size()));
  }
  return Token(std::find(logits_.begin(), logits_.end(), max_) - logits_.begin());
}

// At which the cuts are made.
double Sampler::cut_temperature() const {
  return options_.order == SamplingOptions::Order::blinkdl ? 1.0 : options_.temperature;
}

// Of the cuts. Then top-p is a share of what it leaves.
bool Sampler::top_k_is_first() const {
  return options_.order == SamplingOptions::Order::hugging_face && options_.top_k > 0;
}

// The best token's is 1.
double Sampler::weight(float logit) const {
  return std::exp((double(logit) - max_) / cut_temperature());
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

// From what candidates_ holds to what is left, and its probabilities. `total` is the weight of all
// tokens, for top-p where top-k is not first.
void Sampler::keep(double total) {
  if (top_k_is_first()) keep_top_k();
  double gathered = 0.0;
  for (Candidate& c : candidates_) gathered += c.p = weight(c.logit);
  keep_nucleus(top_k_is_first() ? gathered : total);
  if (!top_k_is_first()) keep_top_k();
  std::erase_if(candidates_, [&](const Candidate& c) { return c.p < options_.min_p; });

  if (options_.temperature != cut_temperature()) {
    for (Candidate& c : candidates_) {
      c.p = std::exp((double(c.logit) - max_) / options_.temperature);
    }
  }
  double sum = 0.0;
  for (const Candidate& c : candidates_) sum += c.p;
  for (Candidate& c : candidates_) c.p /= sum;
}

std::span<const Candidate> Sampler::distribution(std::span<const float> logits) {
  const Token best = prepare(logits);
  if (greedy()) {
    candidates_.assign(1, {best, max_, 1.0});
    return candidates_;
  }
  double total = 0.0;
  if (options_.top_p < 1 && !top_k_is_first()) {
    for (const float logit : logits_) total += weight(logit);
  }
  const double floor = floor_of(total, logits_.size());
  candidates_.clear();
  for (size_t id = 0; id < logits_.size(); ++id) {
    const float logit = logits_[id];
    if (logit >= floor && logit > -kInfinity) candidates_.push_back({Token(id), logit, 0.0});
  }
  keep(total);
  return candidates_;
}

Token Sampler::sample(std::span<const float> logits) {
  distribution(logits);
  return greedy() ? candidates_[0].id : draw();
}

Token Sampler::draw() {
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

CandidateQuery Sampler::query(size_t vocab) {
  list_changes(vocab);
  // More than are kept but for one draw in many; a nucleus of 0.85 has a few dozen tokens. Beyond
  // top-k some, for a threshold may not fall behind exactly k.
  constexpr int kMost = 512, kBeyondTopK = 32;
  const int k = options_.top_k;
  const int most = greedy() || matcher_ ? 0
                   : k > 0 && k < kMost ? std::min(k + kBeyondTopK, kMost)
                                        : kMost;
  return {changes_, most, cut_temperature()};
}

std::optional<Token> Sampler::sample(const Candidates& found) {
  // All logits are needed to say what is wrong.
  if (!found.well_formed || found.max == -kInfinity || matcher_) return std::nullopt;
  if (greedy()) return found.best;
  max_ = found.max;
  candidates_.clear();
  double total = 0.0;
  if (found.all) {
    // Step by step as from all logits: an impossible token weighs 0.
    if (options_.top_p < 1 && !top_k_is_first()) {
      for (const Candidates::Entry& c : found.above) total += weight(c.logit);
    }
    const double floor = floor_of(total, found.vocab);
    for (const Candidates::Entry& c : found.above) {
      if (c.logit >= floor) candidates_.push_back({c.id, c.logit, 0.0});
    }
  } else {
    for (const Candidates::Entry& c : found.above) candidates_.push_back({c.id, c.logit, 0.0});
    if (!decide(found, total)) return std::nullopt;
  }
  keep(total);
  return draw();
}

// Whether what is kept lies within candidates_, all that was found, whatever the other tokens are;
// then it is what keep(total) makes of candidates_, some of which are dropped here already.
//
// Each cut keeps tokens from the most probable down, so that it is enough that one of them ends
// within the candidates, and that it is known where. Of top-p it is not known exactly, for the
// others' weight was summed in fp32: it must end at the same token for all totals that are
// possible. In this interval lies the sum over all logits, too, which double precision rounds at
// every term.
bool Sampler::decide(const Candidates& found, double& total) {
  constexpr double kRounding = 1e-12;  // more than that of a few doubles, relative
  double sum = 0.0, lightest = 1.0;
  for (Candidate& c : candidates_) {
    c.p = weight(c.logit);
    sum += c.p;
    lightest = std::min(lightest, c.p);
  }
  const size_t count = candidates_.size();
  const bool top_k_ends = options_.top_k > 0 && size_t(options_.top_k) <= count;
  const bool min_p_ends = count > 0 && lightest < options_.min_p * (1 - kRounding);
  if (options_.top_p >= 1) return top_k_ends || min_p_ends;
  if (top_k_is_first()) return top_k_ends;

  total = sum + found.rest;
  const double doubt = found.rest * found.rest_error + total * double(found.vocab) * 0x1p-51;
  const double low = options_.top_p * (total - doubt), high = options_.top_p * (total + doubt);
  if (sum < low) return top_k_ends || min_p_ends;  // top-p ends beyond
  if (!(sum > high)) return false;
  // What top-p does not reach: as in floor_of().
  const double least = (sum - high) / double(count) * (1 - kRounding);
  std::erase_if(candidates_, [&](const Candidate& c) { return c.p < least; });
  ranked_ = candidates_;
  const Token end = nucleus_end(ranked_, low).id;
  return nucleus_end(ranked_, high).id == end;
}

void Sampler::accept(Token token, std::string_view text) {
  if (token < 0) throw Error(fmt::format("token {} does not exist", token));
  if (matcher_ && !matcher_->accept(text)) {
    throw Error(fmt::format("token {} is not what the constraint allows here", token));
  }
  for (Occurrence& occurrence : occurrences_) {
    occurrence.count *= options_.penalty_decay;
    // Far below what a logit can show; further down the numbers would become denormal, and slow.
    if (occurrence.count < 1e-20f) occurrence.count = 0.0f;
  }
  // BlinkDL's exemption, for numbers and indentation: what occurs in this string, the empty text
  // too. Such a token gets an entry, so the presence penalty still applies.
  const bool exempt = std::string_view(" \t0123456789").find(text) != std::string_view::npos;
  const float count = exempt ? 0.0f : 1.0f;
  const auto entry = std::lower_bound(occurrences_.begin(), occurrences_.end(), token,
                                      [](const Occurrence& o, Token id) { return o.id < id; });
  if (entry != occurrences_.end() && entry->id == token) {
    entry->count += count;
  } else {
    occurrences_.insert(entry, {token, count});
  }
}

}  // namespace anser
