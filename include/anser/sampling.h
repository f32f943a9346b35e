// From logits to a token.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "anser/tokenizer.h"

namespace anser {

struct SamplingOptions {
  // Which of the two conventions of top-p and temperature is used.
  //   blinkdl       softmax at temperature 1, top-p, top-k, then p^(1/T) on what is left: top-p
  //   cuts
  //                 the model's own distribution (RWKV's PIPELINE.sample_logits)
  //   hugging_face  logits / T, top-k, softmax, top-p, min-p: the order of transformers and
  //   llama.cpp
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
  uint64_t seed = 0;

  // Throws Error that names the first value outside its range.
  void check() const;
};

// The presets of the command line: "chat" T 1.0, top-p 0.5, presence 2.0, frequency 0.1, decay
// 0.99; "creative" 0.6, 0.7, 2.0, 0.2, 0.99; "greedy". Throws Error for another name.
SamplingOptions sampling_preset(const std::string& name);

struct Candidate {
  Token id;
  float logit;  // after penalties
  double p;
};

// Samples from one sequence's logits. Holds the counts of the penalties and the random state; a
// value: copy it together with a State to fork or to go back.
class Sampler {
 public:
  explicit Sampler(SamplingOptions options);

  // `logits` [V] is not changed. Deterministic: the same logits, history and seed give the same
  // token. Throws Error when no token can be sampled (all banned, or NaN).
  Token sample(std::span<const float> logits);

  // What sample() draws from: the tokens that are left, in the order of their ids, and their
  // probabilities, which add up to 1. Valid until the next call. Throws like sample().
  std::span<const Candidate> distribution(std::span<const float> logits);

  // Counts a generated token for the penalties. `text` is what it stands for: spaces, tabs and runs
  // of the digits as BlinkDL exempts them get an entry of count 0.
  void accept(Token token, std::string_view text);

  const SamplingOptions& options() const { return options_; }

 private:
  struct Occurrence {
    Token id;
    float count;
  };
  double uniform();  // [0, 1)
  Token prepare(std::span<const float> logits);
  double total_weight(double temperature) const;
  void gather(double floor);
  void keep_top_k();
  void keep_nucleus(double total);

  SamplingOptions options_;
  std::vector<Occurrence> occurrences_;
  uint64_t random_[4];
  // Scratch, kept to avoid allocating at every token.
  std::vector<float> logits_;  // [V], penalised
  float max_ = 0.0f;           // of logits_
  std::vector<Candidate> candidates_;
  std::vector<Candidate> ranked_;
};

}  // namespace anser
