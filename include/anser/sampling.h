// From logits to a token.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "anser/constraint.h"
#include "anser/tokenizer.h"

namespace anser {

struct SamplingOptions {
  // Which of the two conventions of top-p and temperature is used.
  //   blinkdl       softmax at temperature 1, top-p, top-k, then p^(1/T) on what is left: top-p
  //                 cuts the model's own distribution (RWKV's PIPELINE.sample_logits)
  //   hugging_face  logits / T, top-k, softmax, top-p, min-p: the order of transformers
  enum class Order { blinkdl, hugging_face };
  Order order = Order::blinkdl;

  float temperature = 1.0f;  // >= 0; 0 is greedy: the largest logit, the lowest id on a tie
  float top_p = 0.85f;       // (0, 1]; 1 is off. 0 is greedy
  int top_k = 0;             // keep the k most probable; 0 is off
  float min_p = 0.0f;  // [0, 1): drop what is less probable than min_p times the best; 0 is off

  // Penalties count the tokens generated so far (see Sampler::accept):
  //   logit -= presence + frequency * count   for every token that has occurred
  // and every count is multiplied by penalty_decay at each step.
  float presence = 0.0f;
  float frequency = 0.0f;
  float penalty_decay = 0.996f;

  std::vector<Token> banned;  // never sampled
  // logit += bias, at every step; -100 to 100. Several of one token add up.
  struct Bias {
    Token id;
    float bias;
  };
  std::vector<Bias> biases;
  uint64_t seed = 0;

  // Throws Error that names the first value outside its range.
  void check() const;
};

// What a model's own file says of how to sample from it (docs/formats.md has the keys); what it
// does not say is absent.
struct SamplingDefaults {
  std::optional<float> temperature, top_p, min_p;
  std::optional<int> top_k;

  // `options` with these values in place of its own.
  SamplingOptions over(SamplingOptions options) const;
  bool empty() const { return *this == SamplingDefaults(); }
  bool operator==(const SamplingDefaults&) const = default;
};

// The presets of the command line: "chat" T 1.0, top-p 0.5, presence 2.0, frequency 0.1, decay
// 0.99; "creative" 0.6, 0.7, 2.0, 0.2, 0.99; "greedy". Throws Error for another name.
SamplingOptions sampling_preset(const std::string& name);

struct Candidate {
  Token id;
  float logit;  // after penalties and biases
  double p;
};

// For engines that leave the logits where they were computed and bring only the largest of them to
// the sampler. logit - minus takes a logit's place.
struct LogitChange {
  Token id;
  float minus;  // may be negative; infinity: the token is banned
};

// What a sampler wants to know of its next row of logits.
struct CandidateQuery {
  // Ids ascending. Valid until the sampler accepts a token or ends.
  std::span<const LogitChange> changes;
  int most;            // so many candidates at the most; 0: the best token alone is wanted
  double temperature;  // of the weights in Candidates::rest
};

// The answer: of the row after the changes, the tokens above a threshold of the engine's choice.
struct Candidates {
  struct Entry {
    Token id;
    float logit;
  };
  std::span<const Entry>
      above;                // ids ascending; any other token's logit is lower than all of these
  bool all = false;         // any other token's logit is -inf
  bool well_formed = true;  // no logit is NaN or +inf
  Token best = 0;           // of the largest logits the lowest id
  float max = 0;            // its logit
  double rest = 0;          // the sum of exp((logit - max) / temperature) of all others,
  double rest_error = 0;    // wrong by at most so much relative to itself
  size_t vocab = 0;
};

// For draws that no few candidates decide: a whole row after the changes. Drawing spends it.
struct WeighedRow {
  std::span<const float> logits;  // [V], each finite or -inf
  float max;                      // the largest
  std::span<double> weights;      // [V]: exp((logit - max) / CandidateQuery::temperature), wrong by
                                  // 1e-15 of itself at the most, and the same for equal logits
  double total;                   // their sum
};

// Samples from one sequence's logits. Holds the counts of the penalties and the random state; a
// value: copy it together with a State to fork or to go back.
class Sampler {
 public:
  explicit Sampler(SamplingOptions options);

  // From now on only what the constraint allows is drawn, after penalties and before all cuts, and
  // of `ends` any exactly where the text may end. Where it may, and there are no ends, ended() says
  // so at once. A banned token is drawn only where the constraint allows no other. Throws Error for
  // an end that the constraint may need within a text.
  void constrain(std::shared_ptr<const Constraint> constraint, std::span<const Token> ends);
  // From now on until allow_ends() none of these tokens is sampled, as if they were banned; with a
  // constraint and no ends, ended() then waits until nothing else may follow, too.
  void postpone_ends(std::span<const Token> ends);
  void allow_ends();
  // Where the text is in its constraint; nullptr without one. For whoever prepares what is allowed
  // next ahead of sample().
  ConstraintMatcher* matcher() { return matcher_ ? &*matcher_ : nullptr; }
  // A constrained text is complete, and nothing but its end may follow.
  bool ended() const {
    if (!matcher_ || !matcher_->complete()) return false;
    return !matcher_->open() || (ends_.empty() && !postponing_);
  }

  // `logits` [V] is not changed. Deterministic: the same logits, history and seed give the same
  // token. Throws Error when no token can be sampled (all banned, or NaN).
  Token sample(std::span<const float> logits);

  // The same in two steps: what is to be found out about the row of `vocab` logits, and the draw.
  // No token, and nothing has happened, when what is kept may reach beyond these candidates, and
  // with a constraint always; then all logits are needed. Where there is a token it is the one that
  // sample() finds in all logits.
  CandidateQuery query(size_t vocab);
  std::optional<Token> sample(const Candidates& candidates);
  // The same from a whole row. There is no token, and but for the row nothing has happened, with
  // top-k, without a draw, with a constraint, and where rounding would decide, which is once in a
  // hundred thousand draws from a large vocabulary.
  std::optional<Token> sample(const WeighedRow& row);

  // What sample() draws from: the tokens that are left, in the order of their ids, and their
  // probabilities, which add up to 1. Valid until the next call. Throws like sample().
  std::span<const Candidate> distribution(std::span<const float> logits);

  // Counts a generated token, if there are penalties. `text` is what it stands for: spaces, tabs
  // and runs of the digits as BlinkDL exempts them get an entry of count 0. Throws Error for a text
  // that the constraint does not allow.
  void accept(Token token, std::string_view text);

  const SamplingOptions& options() const { return options_; }

 private:
  struct Occurrence {
    Token id;
    float count;
  };
  double uniform();  // [0, 1)
  bool greedy() const { return options_.temperature == 0 || options_.top_p == 0; }
  bool top_k_is_first() const;
  double cut_temperature() const;
  double weigh(std::span<const Candidates::Entry> entries);
  void list_fixed_changes();
  bool is_banned(Token id) const;
  void list_changes(size_t vocab);
  void apply_constraint();
  void change_logits(std::span<const float> logits, bool with_bans);
  Token prepare(std::span<const float> logits);
  double floor_of(double total, size_t vocab) const;
  std::optional<Candidate> nucleus_end_of(const WeighedRow& row, double doubt);
  bool keep_known_nucleus(const Candidates& found);
  double weigh_all();
  void gather(double floor);
  void gather_nucleus(double total, double floor);
  void drop_beyond(const Candidate& end);
  void keep_top_k();
  void keep_nucleus(double total);
  void keep_rest();
  void normalise();
  Token draw();

  SamplingOptions options_;
  std::vector<LogitChange> fixed_;  // bans, biases and postponed ends, ids ascending, each once
  std::vector<Occurrence> occurrences_;  // ids ascending
  std::array<uint64_t, 4> random_;
  std::optional<ConstraintMatcher> matcher_;
  std::vector<Token> ends_;
  std::vector<Token> postponed_;  // ids ascending
  bool postponing_ = false;
  // Scratch, kept to avoid allocating at every token.
  std::vector<LogitChange> changes_;
  std::vector<float> logits_;    // [V], changed
  float max_ = 0.0f;             // of logits_
  std::vector<double> weights_;  // [V]
  std::vector<int> ranges_;      // [V]
  std::vector<double> sums_;     // of pieces of a row
  std::vector<Token> ids_;       // [V]
  std::vector<Candidate> candidates_;
  std::vector<Candidate> ranked_;
};

}  // namespace anser
