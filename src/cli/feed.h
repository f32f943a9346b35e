// Feeding long token sequences in pieces, so that Ctrl-C and the progress line get their turn. How
// a sequence is cut changes no result.
#pragma once

#include <span>

#include "anser/engine.h"

namespace anser {

constexpr int kFeedPiece = 256;  // tokens

// Feeds all tokens; the logits after the last one are in state.logits(). No tokens: does nothing.
// Throws Error when Ctrl-C was pressed under an InterruptGuard.
void feed(Engine& engine, State& state, std::span<const Token> tokens);

// log softmax(logits)[token], in nats. Summed in double.
double log_probability(std::span<const float> logits, Token token);
// The largest logit's index, the lowest on a tie.
Token argmax(std::span<const float> logits);

}  // namespace anser
