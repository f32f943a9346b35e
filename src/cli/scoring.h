// What `anser eval` measures. All sums in double; all losses in nats.
//
// Evaluation starts at the initial state, with token 0 (end of text) in front, as RWKV is trained.
// Where token 0 is an ordinary byte (byte-level vocabularies) nothing is put in front, and the
// first token of a text is read but not scored.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "anser/engine.h"

namespace anser {

struct Perplexity {
  int64_t tokens = 0;  // scored
  int64_t bytes = 0;   // that these tokens stand for
  double nats = 0;     // sum of -log p

  double loss() const;           // nats per token
  double perplexity() const;     // e^loss
  double bits_per_byte() const;  // does not depend on the tokenizer
};

// The text as one sequence, the state carried through. At most `limit` tokens are scored (0: all).
// Throws Error when there is nothing to score.
Perplexity score_text(Engine& engine, const std::string& text, int64_t limit);

struct Lambada {
  int64_t examples = 0;
  int64_t correct = 0;  // every token of the last word was the most probable one
  double nats = 0;      // sum over examples of -log p(last word)

  double perplexity() const;  // e^(nats per example)
  double accuracy() const;
};

// The texts of a LAMBADA file: {"text": "..."} per line. Throws Error naming the line.
std::vector<std::string> read_lambada(const std::string& path, int64_t limit);

// context = [0] + encode(all but the last word), target = encode(" " + last word). 16 texts at a
// time.
Lambada score_lambada(Engine& engine, const std::vector<std::string>& texts);

struct Divergence {
  int64_t tokens = 0;     // positions compared
  int64_t same_best = 0;  // where both models find the same token most probable
  double kl_sum = 0;      // of KL(base || model) per position
  double kl_max = 0;
  double difference = 0;  // sum over positions of mean |logit - base logit|

  double mean_kl() const { return kl_sum / double(tokens); }
  double agreement() const { return double(same_best) / double(tokens); }
  double mean_difference() const { return difference / double(tokens); }
};

// Next-token distributions after every token of the text, by two models with the same vocabulary.
// Throws Error when they have different ones.
Divergence compare_models(Engine& engine, Engine& base, const std::string& text, int64_t limit);

}  // namespace anser
