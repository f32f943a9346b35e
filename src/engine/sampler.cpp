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

void Sampler::postpone_ends(std::span<const Token> ends) {
  postponing_ = true;
  postponed_.assign(ends.begin(), ends.end());
  std::ranges::sort(postponed_);
  list_fixed_changes();
}

void Sampler::allow_ends() {
  postponing_ = false;
  postponed_.clear();
  list_fixed_changes();
}

void Sampler::list_fixed_changes() {
  fixed_.clear();
  for (const auto& [id, bias] : options_.biases) fixed_.push_back({id, -bias});
  for (const Token id : options_.banned) fixed_.push_back({id, kInfinity});
  for (const Token id : postponed_) fixed_.push_back({id, kInfinity});
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
  // An end that the model does not know is never sampled anyhow.
  while (!fixed_.empty() && size_t(fixed_.back().id) >= vocab &&
         std::ranges::binary_search(postponed_, fixed_.back().id)) {
    fixed_.pop_back();
  }
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

std::span<const Candidate> Sampler::distribution(std::span<const float> logits) {
  const Token best = prepare(logits);
  if (greedy()) {
    candidates_.assign(1, {best, max_, 1.0});
    return candidates_;
  }
  const double total = weigh_all(), floor = floor_of(total, logits_.size());
  if (options_.top_p < 1 && !top_k_is_first()) {
    gather_nucleus(total, floor);
  } else {
    gather(floor);
  }
  keep_rest();
  normalise();
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
  const double sum = weigh(found.above);
  if (found.all) {
    // Step by step as from all logits: an impossible token weighs 0.
    const double floor = floor_of(sum, found.vocab);
    std::erase_if(candidates_, [&](const Candidate& c) { return c.logit < floor; });
    if (!top_k_is_first()) keep_nucleus(sum);
  } else if (!keep_known_nucleus(found)) {
    return std::nullopt;
  }
  keep_rest();
  normalise();
  return draw();
}

void Sampler::accept(Token token, std::string_view text) {
  if (token < 0) throw Error(fmt::format("token {} does not exist", token));
  if (matcher_ && !matcher_->accept(text)) {
    throw Error(fmt::format("token {} is not what the constraint allows here", token));
  }
  if (options_.presence == 0 && options_.frequency == 0) return;  // nobody asks for counts
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
